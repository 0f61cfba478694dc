/** `weir reload`: the running instance reads its configuration again. A bad file keeps the old state. */
import { type CommandContext, writeJson } from '../context.ts';
import { EXIT } from '../exit-code.ts';
import { runningInstance, type RunningOptions } from '../running.ts';

export async function reload(context: CommandContext, options: RunningOptions): Promise<number> {
  const report = await runningInstance(context, options).reload();
  if (options.json === true) {
    writeJson(context.stdout, report);
    return EXIT.done;
  }
  const parts = (['added', 'changed', 'removed'] as const)
    .filter((key) => report[key].length > 0)
    .map((key) => `${key} ${report[key].join(', ')}`);
  context.stdout.write(`${parts.length > 0 ? parts.join('; ') : 'no service changed'}\n`);
  return EXIT.done;
}
