/**
 * Runs the compliance cases against interceptors and prints a table: `npm run compliance [-- nft …] [--only TEXT]`.
 * Ends with exit code 1 when a case fails, 7 when private hosts cannot be made here.
 */
import { parseArgs } from 'node:util';
import { WeirError } from '@weir/core';
import { reexecInUserNamespace, TCP_OUTPUT_CASES, TestNetwork, type ComplianceCase } from '@weir/core/testing';

async function outcomeOf(each: ComplianceCase, interceptor: string): Promise<Error | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Error>((resolve) => {
    timer = setTimeout(() => resolve(new Error(`not done after ${each.timeoutMs} ms`)), each.timeoutMs);
  });
  const outcome = each.run({ interceptor }).then(
    () => undefined,
    (error: unknown) => (error instanceof Error ? error : new Error(String(error))),
  );
  const result = await Promise.race([outcome, late]);
  clearTimeout(timer);
  return result;
}

async function table(interceptors: readonly string[], only: string): Promise<number> {
  const cases = TCP_OUTPUT_CASES.filter(({ name }) => name.includes(only));
  const failures: string[] = [];
  for (const interceptor of interceptors) {
    process.stdout.write(`${interceptor}\n`);
    for (const each of cases) {
      const started = performance.now();
      const error = await outcomeOf(each, interceptor);
      const seconds = ((performance.now() - started) / 1000).toFixed(1).padStart(6);
      process.stdout.write(`  ${error ? 'FAILED' : 'passed'} ${seconds} s  ${each.name}\n`);
      if (error) failures.push(`${interceptor}: ${each.name}\n${error.message}`);
    }
  }
  for (const failure of failures) process.stdout.write(`\n${failure}\n`);
  const total = cases.length * interceptors.length;
  process.stdout.write(`\n${total - failures.length} passed, ${failures.length} failed, 0 skipped\n`);
  return failures.length === 0 ? 0 : 1;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    options: { only: { type: 'string', default: '' } },
    allowPositionals: true,
  });
  const nested = await reexecInUserNamespace();
  if (nested !== undefined) return nested;
  await (await TestNetwork.create())[Symbol.asyncDispose]();
  return table(positionals.length > 0 ? positionals : ['nft'], values.only);
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof WeirError)) throw error;
  process.stderr.write(`${error.problem}\n${error.remedy}\n`);
  process.exitCode = error.code === 'WEIR_UNSUPPORTED' ? 7 : 1;
}
