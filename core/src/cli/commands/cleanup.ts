/** `weir cleanup`: removes what a killed instance left on the host. Refuses while that instance lives. */
import { UsageError } from '../../api/errors.ts';
import { createLogger } from '../../observe/logger.ts';
import { type CommandContext, writeJson } from '../context.ts';
import { EXIT } from '../exit-code.ts';

export interface CleanupOptions {
  readonly owner?: string;
  readonly all?: boolean;
  readonly json?: boolean;
}

export async function cleanup(context: CommandContext, options: CleanupOptions): Promise<number> {
  if (options.all === true && options.owner !== undefined) {
    throw new UsageError({ problem: '--all and --owner exclude each other.', remedy: 'Give one of them.' });
  }
  const owner = options.owner ?? context.environment['WEIR_OWNER'];
  const log = createLogger({
    level: context.environment['WEIR_DEBUG'] === '1' ? 'debug' : 'warn',
    format: 'auto',
    terminal: context.stderr.isTerminal,
    colour: context.stderr.colour,
    write: (line) => context.stderr.write(line),
  });
  const { cleanUp } = await import('../../engine/cleanup.ts');
  const removed = await cleanUp({
    ...(options.all === true ? { all: true } : {}),
    ...(options.all === true || owner === undefined || owner === '' ? {} : { owner }),
    log,
  });
  if (options.json === true) writeJson(context.stdout, { removed });
  else if (removed.length === 0) context.stdout.write('nothing was left\n');
  else for (const line of removed) context.stdout.write(`removed ${line}\n`);
  return EXIT.done;
}
