// oxlint-disable vitest/expect-expect, vitest/valid-title -- the cases bring their assertions and names along
import type { Interceptor, InterceptorDefinition } from '@weir/core';
import { HOOK_CASES, requires } from '@weir/core/testing';
import nftPlugin from '@weir/nft';
import { describe, expect, test } from 'vitest';

const nft = nftPlugin.interceptors[0] as InterceptorDefinition<never>;

/** nft with another behaviour of some hooks. */
function withHooks(change: (real: Interceptor) => Partial<Interceptor>): InterceptorDefinition<never> {
  return {
    ...nft,
    create(context, options) {
      const real = nft.create(context, options);
      const bound: Interceptor = {
        probe: (signal) => real.probe(signal),
        provision: (signal, listeners) => real.provision(signal, listeners),
        start: (input, signal) => real.start(input, signal),
        update: (input, signal) => real.update(input, signal),
        verify: (signal) => real.verify(signal),
        repair: (drift, signal) => real.repair(drift, signal),
        drain: (signal) => real.drain(signal),
        stop: () => real.stop(),
      };
      return { ...bound, ...change(real) };
    },
  };
}

/** Faults that an author could make, and the case that must find each. */
const FAULTY: ReadonlyArray<
  readonly [fault: string, definition: InterceptorDefinition<never>, found: RegExp, said: RegExp]
> = [
  ['stop forgets everything', withHooks(() => ({ stop: async () => {} })), /^after start/, /stop left something/],
  [
    'stop is not idempotent',
    withHooks((real) => {
      let stopped = false;
      return {
        async stop() {
          if (stopped) throw new Error('stopped already');
          stopped = true;
          await real.stop();
        },
      };
    }),
    /^stop works twice/,
    /stopped already/,
  ],
  ['start steers nothing', withHooks(() => ({ start: async () => {} })), /^after start/, /start changes something/],
  [
    'update does nothing',
    withHooks(() => ({ update: async () => {} })),
    /^an aborted update/,
    /update went on after its signal was aborted/,
  ],
  [
    'start does not look at its signal',
    withHooks((real) => ({ start: (input) => real.start(input, new AbortController().signal) })),
    /^an aborted signal/,
    /start went on after its signal was aborted/,
  ],
  [
    'verify sees drift where there is none',
    withHooks(() => ({ verify: async () => [{ object: 'x', expected: 'y', found: 'z' }] })),
    /^after a drain/,
    /after a drain verify found .*"object":"x"/,
  ],
  ['points are not foretold', { ...nft, points: () => [] }, /^provision/, /deep-equal/],
  [
    'the plan is not pure',
    { ...nft, plan: () => ({ interceptor: 'nft', steps: [{ tool: 'nft', text: String(Math.random()) }] }) },
    /^a plan/,
    /plan differs for the same input/,
  ],
  [
    'unknown options pass',
    { ...nft, options: { '~standard': { ...nft.options['~standard'], validate: (value) => ({ value }) } } },
    /^an unknown option/,
    /the schema says of the option/,
  ],
];

describe.skipIf(requires('namespaces', 'nft', 'ipv6'))('the hooks of nft', () => {
  for (const { name, timeoutMs, run } of HOOK_CASES) {
    test(name, { timeout: timeoutMs }, () => run({ definition: nft }));
  }
});

describe.skipIf(requires('namespaces', 'nft', 'ipv6'))('the hook cases find that', () => {
  for (const [fault, definition, found, said] of FAULTY) {
    test(fault, async () => {
      const finder = HOOK_CASES.find(({ name }) => found.test(name));
      await expect(finder?.run({ definition })).rejects.toThrow(said);
    });
  }
});
