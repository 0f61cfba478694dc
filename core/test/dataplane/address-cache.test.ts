/** What a worker keeps of addresses to dial, and how much of it. */
import { expect, test } from 'vitest';
import { AddressCache, dialAddress } from '../../src/dataplane/address-cache.ts';

const literal = (n: number): string => `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`;

test('an address is its own answer, for ever and without asking', () => {
  const asked: unknown[] = [];
  const cache = new AddressCache((key) => asked.push(key));
  for (const host of ['192.0.2.7', '2001:db8::7']) {
    expect(cache.get(host, 0)?.addresses).toEqual([dialAddress(host)]);
    expect(cache.get(host, Number.MAX_SAFE_INTEGER)).toBe(cache.last(host));
  }
  expect(cache.get('web.internal', 0)).toBeUndefined();
  expect(asked).toEqual([]);
});

test('a dialer whose addresses change without end does not make it grow without end, and costs no name its answer', () => {
  const cache = new AddressCache(() => undefined);
  cache.resolved('web.internal', ['192.0.2.7'], 1000);
  for (let n = 0; n < 20_000; n++) cache.get(literal(n), 0);
  for (const n of [0, 19_999]) expect(cache.get(literal(n), 0)?.addresses).toEqual([dialAddress(literal(n))]);
  expect(cache.size).toBeLessThanOrEqual(2 * 8192);
  expect(cache.get('web.internal', 0)?.addresses).toEqual([dialAddress('192.0.2.7')]);
  for (let n = 0; n < 20_000; n++) cache.resolved(n, ['192.0.2.8'], 1000);
  expect(cache.size).toBeLessThanOrEqual(2 * 8192);
});
