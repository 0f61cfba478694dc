/** What users have: 10,000 prefixes in 2,000 services. Times are printed, and bounded only against the absurd. */
import { arrival, enterFreshNamespace, requires, type TestService } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import { instance, saved, signal, state, VARIANTS } from './variants.ts';

const SERVICES = 2000;
const PREFIXES = 10_000;

/** Five prefixes a service, every fifth of them IPv6, each service on a port of its own. */
function services(): readonly TestService[] {
  return Array.from({ length: SERVICES }, (_, n) => ({
    prefixes: Array.from({ length: PREFIXES / SERVICES }, (__, k) => {
      const place = n * (PREFIXES / SERVICES) + k;
      return k === 4 ? `2001:db8:${(n * 2).toString(16)}::/48` : `20.${place >> 8}.${place & 255}.${place % 7}/32`;
    }),
    ports: [[1000 + n, 1000 + n]] as const,
    name: `service-${n}`,
  }));
}

describe.skipIf(requires('namespaces', 'iptables-nft', 'iptables-legacy', 'ipv6'))(
  '10,000 prefixes, 2,000 services',
  () => {
    for (const variant of VARIANTS) {
      test(`${variant}: install, change one, clean up`, { timeout: 120_000 }, async () => {
        enterFreshNamespace({ uplink: true });
        const before = state();
        await using weir = instance(variant);
        const times: Record<string, number> = {};
        const timed = async (name: string, work: () => Promise<unknown>) => {
          const begun = performance.now();
          await work();
          times[name] = Math.round(performance.now() - begun);
        };
        const all = services();
        const input = weir.input(all);
        await timed('install', () => weir.start(input));
        expect(saved(variant).match(/--comment service-\d+ /g)).toHaveLength(PREFIXES);
        await timed('verify', () => weir.interceptor.verify(signal));
        expect(await weir.interceptor.verify(signal)).toEqual([]);
        const last = { address: '20.39.14.2', port: 2999 };
        expect(arrival(weir.listeners[4], last)).toEqual(last);
        expect(arrival(weir.listeners[4], { ...last, port: 2998 })).toBe('pending');

        const more = weir.input([...all, { prefixes: ['21.0.0.1/32'], name: 'one-more' }], {}, { generation: 2 });
        await timed('add one', () => weir.interceptor.update(more, signal));
        const less = weir.input(
          all.filter((_, n) => n !== 7),
          {},
          { generation: 3 },
        );
        await timed('remove one', () => weir.interceptor.update(less, signal));
        expect(await weir.interceptor.verify(signal)).toEqual([]);
        expect(saved(variant)).not.toMatch(/one-more|--comment service-7 /);
        await timed('clean up', () => weir.interceptor.stop());
        expect(state()).toBe(before);
        process.stderr.write(`tproxy-iptables ${variant}, ms: ${JSON.stringify(times)}\n`);
        for (const [name, time] of Object.entries(times)) expect(time, name).toBeLessThan(20_000);
      });
    }
  },
);
