import {
  arrival,
  attempt,
  enterFreshNamespace,
  requires,
  shell,
  SILENT,
  TEST_NUMBERS,
  type TestService,
} from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import { ebpfSklookup } from '../src/index.ts';
import { Instance, signal, state } from './instance.ts';

const PREFIXES = Array.from({ length: 10_000 }, (_, i) => `20.${i >> 8}.${i & 255}.0/24`);

/** Ten thousand prefixes, in three ways of dividing them among services. */
const WORLDS: ReadonlyArray<readonly [name: string, services: readonly TestService[]]> = [
  ['one service', [{ prefixes: PREFIXES, ports: [[443, 443]] }]],
  [
    '2,000 services with a port and a prefix each',
    Array.from({ length: 2000 }, (_, i) => ({ prefixes: [PREFIXES[i] ?? ''], ports: [[1000 + i, 1000 + i]] })),
  ],
  [
    '2,000 services of five prefixes with one of 12 ports',
    Array.from({ length: 2000 }, (_, i) => ({
      prefixes: PREFIXES.slice(5 * i, 5 * i + 5),
      ports: [[1000 + (i % 12), 1000 + (i % 12)]],
    })),
  ],
];

async function timed(what: string, times: string[], work: () => Promise<unknown>): Promise<void> {
  const before = performance.now();
  await work();
  times.push(`${what} ${Math.round(performance.now() - before)} ms`);
}

describe.skipIf(requires('namespaces', 'bpf', 'ipv6'))('many prefixes and services', () => {
  for (const [name, services] of WORLDS) {
    test(`${name}: installed, one more, one less, cleaned up`, { timeout: 120_000 }, async () => {
      enterFreshNamespace({ uplink: true });
      const before = state();
      const times: string[] = [];
      const first = services[0];
      const last = services.at(-1);
      const target = {
        address: last?.prefixes.at(-1)?.replace('0/24', '7') ?? '',
        port: last?.ports?.[0]?.[0] ?? 0,
      };
      const added = { address: '21.0.0.7', port: first?.ports?.[0]?.[0] ?? 0 };
      const more = [...services, { prefixes: ['21.0.0.0/24'], ports: first?.ports ?? [] }];
      await using weir = new Instance();
      await timed('install', times, () => weir.start(weir.input(services)));
      expect(await weir.interceptor.verify(signal)).toEqual([]);
      expect(arrival(weir.listeners[4], target)).toEqual(target);
      expect(attempt({ ...target, port: 1 })).toBe('pending');
      expect(attempt(added)).toBe('pending');
      const next = weir.input(more, {}, { generation: 2 });
      await timed('one more', times, () => weir.interceptor.update(next, signal));
      expect(arrival(weir.listeners[4], added)).toEqual(added);
      const fewer = weir.input(services, {}, { generation: 3 });
      await timed('one less', times, () => weir.interceptor.update(fewer, signal));
      expect(attempt(added)).toBe('pending');
      expect(await weir.interceptor.verify(signal)).toEqual([]);
      await timed('clean up', times, () =>
        ebpfSklookup.cleanUp({ owner: 'default', numbers: TEST_NUMBERS, log: SILENT }),
      );
      expect(shell('ip rule; ip -6 rule')).not.toContain('proto 87');
      await weir.interceptor.stop();
      expect(state()).toBe(before);
      process.stderr.write(`ebpf-sklookup, ${name}: ${times.join(', ')}\n`);
    });
  }
});
