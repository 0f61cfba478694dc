/** What commands share that list much, or print what comes until they are stopped. */
import { DEFAULT_FLOWS, type Lost, MAX_FLOWS } from '../admin/protocol.ts';
import { UsageError } from '../api/errors.ts';
import { type CommandContext, paint } from './context.ts';
import { EXIT } from './exit-code.ts';

/** @throws UsageError when `--limit` is no number, or out of range. */
export function limitOf(text: string | undefined): number {
  if (text === undefined) return DEFAULT_FLOWS;
  const limit = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (limit >= 1 && limit <= MAX_FLOWS) return limit;
  throw new UsageError({
    problem: `--limit ${text} is out of range.`,
    remedy: `Give a number from 1 to ${MAX_FLOWS}.`,
  });
}

/** Says on standard error that there may be more than what was listed. */
export function noteLimit({ stderr }: CommandContext, listed: readonly unknown[], limit: number, what: string): void {
  if (listed.length < limit) return;
  const more = limit < MAX_FLOWS ? `; --limit shows more, up to ${MAX_FLOWS}` : '';
  stderr.write(paint(stderr, 'yellow', `… not more than ${limit} ${what} are listed${more}\n`));
}

/**
 * Prints what comes until SIGINT or SIGTERM, or until the instance stops.
 * @param what what comes, in the plural
 * @param textOf absent: for programs, one object per line; JSON of a stream is never spread over lines
 */
export async function printStream<Item extends object>(
  context: CommandContext,
  stream: (signal: AbortSignal) => AsyncIterable<Item | Lost>,
  what: string,
  textOf?: (item: Item) => string,
): Promise<number> {
  const { stdout, stderr } = context;
  const abort = new AbortController();
  const undo = (['SIGINT', 'SIGTERM'] as const).map((signal) => context.onSignal(signal, () => abort.abort()));
  try {
    for await (const item of stream(abort.signal)) {
      if (textOf === undefined) stdout.write(`${JSON.stringify(item)}\n`);
      else if ('lost' in item) stderr.write(paint(stderr, 'yellow', `… ${item.lost} ${what} were left out\n`));
      else stdout.write(textOf(item));
    }
  } finally {
    for (const off of undo) off();
  }
  return EXIT.done;
}
