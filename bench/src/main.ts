/**
 * `npm run bench`: Weir's backends, no interception, and other programs, under the same load on hosts of their own.
 *
 * Ends with exit code 0 when everything that could be measured was, 1 when a measurement failed, 2 for wrong arguments,
 * 7 when private hosts cannot be made here, 130 when it was interrupted.
 */
import { UnsupportedError, UsageError, WeirError } from '@weir/core';
import { parseArguments, USAGE } from './arguments.ts';

const say = (text: string) => void process.stdout.write(`${text}\n`);

async function main(): Promise<number> {
  const args = parseArguments(process.argv.slice(2));
  if (args.help) {
    say(USAGE);
    return 0;
  }
  if (args.render !== undefined) (await import('./render.ts')).render(args.render, args.json, say);
  else if (args.micro) await (await import('../micro/main.ts')).runMicro(say);
  else if (args.scale) return (await import('./scale.ts')).measureScale(args, say);
  else return (await import('./compare.ts')).compare(args, say);
  return 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  const known = error instanceof WeirError;
  process.stderr.write(
    known
      ? `${error.problem}\n${error.remedy}\n`
      : `${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
  );
  process.exitCode = error instanceof UsageError ? 2 : error instanceof UnsupportedError ? 7 : 1;
}
