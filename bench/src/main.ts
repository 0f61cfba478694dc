/**
 * `npm run bench`: Weir's backends, no interception, and other programs, under the same load on hosts of their own.
 *
 * Ends with exit code 0 when everything that could be measured was, 1 when a measurement failed, 2 for wrong arguments,
 * 7 when private hosts cannot be made here, 130 when it was interrupted.
 */
import { UnsupportedError, UsageError, WeirError } from '@weir/core';
import { missingFor, reexecInUserNamespace, TestNetwork } from '@weir/core/testing';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArguments, USAGE, type BenchArguments } from './arguments.ts';
import { candidatesFor } from './candidates/catalogue.ts';
import { loadsFor } from './loads/catalogue.ts';
import { Measurement } from './measurement.ts';
import { renderTable } from './table.ts';

const RESULTS = fileURLToPath(new URL('../results', import.meta.url));

const say = (text: string) => void process.stdout.write(`${text}\n`);

async function compare(args: BenchArguments): Promise<number> {
  const candidates = candidatesFor(args.interceptors, args.peers, args.against);
  const loads = loadsFor(args.only, args.quick);
  const nested = await reexecInUserNamespace();
  if (nested !== undefined) return nested;
  const missing = missingFor('namespaces');
  if (missing !== undefined) {
    throw new UnsupportedError({ problem: 'The benchmark cannot make private hosts here.', remedy: missing });
  }

  let interrupted = false;
  const net = await TestNetwork.create();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      // In the middle of things there is nothing to finish: the private hosts go, and what runs in them.
      interrupted = true;
      void net[Symbol.asyncDispose]();
    });
  }
  try {
    say(`seed ${args.seed}`);
    const result = await Measurement.run(net, candidates, loads, args, { say });
    if (interrupted) throw new Error('interrupted');
    say(`\n${renderTable(result)}`);
    const file = args.json ?? join(RESULTS, `${result.startedAt.replaceAll(':', '-')}.json`);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `${JSON.stringify(result, undefined, 2)}\n`);
    say(`\n${result.seconds} s; the result as JSON: ${file}`);
    return result.failures.length === 0 ? 0 : 1;
  } catch (error) {
    if (!interrupted) throw error;
    say('\ninterrupted; the private hosts are gone, and nothing else was changed');
    return 130;
  } finally {
    await net[Symbol.asyncDispose]();
  }
}

async function main(): Promise<number> {
  const args = parseArguments(process.argv.slice(2));
  if (args.help) {
    say(USAGE);
    return 0;
  }
  if (!args.micro) return compare(args);
  const { runMicro } = await import('../micro/main.ts');
  await runMicro(say);
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
