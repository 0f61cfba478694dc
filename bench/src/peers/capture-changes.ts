/**
 * One interceptor without an engine, in the network namespace that the script runs in: `capture-changes.ts ID COUNT`. How
 * long it takes to install COUNT prefixes, and to change one of them; reading a configuration and telling workers is not in
 * it. Prints `report` and JSON, times in milliseconds.
 */
import type { InterceptorDefinition } from '@weir/core';
import { InterceptorInstance } from '@weir/core/testing';
import { manyPrefixes, OTHER_PREFIX } from '../many-prefixes.ts';

const [, , id = '', count = ''] = process.argv;
/** One that is slow for another reason must not count. */
const REPEATS = 5;
const { signal } = new AbortController();

const { default: plugin } = (await import(`@weir/${id}`)) as {
  readonly default: { readonly interceptors: ReadonlyArray<InterceptorDefinition<never>> };
};
const definition = plugin.interceptors.find((each) => each.id === id);
if (definition === undefined) throw new Error(`@weir/${id} has no interceptor ${id}`);

const instance = new InterceptorInstance(definition);
await instance.provision(signal);
await instance.interceptor.start(instance.input([{ prefixes: [OTHER_PREFIX], port: 80 }]), signal);

async function update(prefixes: readonly string[]): Promise<number> {
  const input = instance.input([{ prefixes, port: 80 }]);
  const begun = performance.now();
  await instance.interceptor.update(input, signal);
  return performance.now() - begun;
}

const prefixes = manyPrefixes(Number(count));
const install = await update(prefixes);
const changes: number[] = [];
for (let n = 0; n < REPEATS; n++) changes.push(await update(prefixes.with(1234 + n, OTHER_PREFIX)));
changes.sort((a, b) => a - b);
await instance[Symbol.asyncDispose]();
process.stdout.write(`report ${JSON.stringify({ install, change: changes[REPEATS >> 1] })}\n`);
process.exit(0);
