/** `weir logs`: the last lines of a running instance's log, and each new one. */
import { prettyLine } from '../../observe/pretty-line.ts';
import type { CommandContext } from '../context.ts';
import { EXIT } from '../exit-code.ts';
import { limitOf, printStream } from '../listing.ts';
import { runningInstance, type RunningOptions } from '../running.ts';

export interface LogsOptions extends RunningOptions {
  readonly follow?: boolean;
  readonly limit?: string;
}

export async function logs(context: CommandContext, options: LogsOptions): Promise<number> {
  const limit = limitOf(options.limit);
  const { stdout } = context;
  const client = runningInstance(context, options);
  const textOf = (entry: object) => prettyLine(JSON.stringify(entry), stdout.colour);
  if (options.follow === true) {
    const stream = (signal: AbortSignal) => client.followLogs(limit, signal);
    return printStream(context, stream, 'lines', options.json === true ? undefined : textOf);
  }
  // One object per line, as in the log itself: what reads logs goes by lines.
  for (const entry of await client.logs(limit)) {
    stdout.write(options.json === true ? `${JSON.stringify(entry)}\n` : textOf(entry));
  }
  return EXIT.done;
}
