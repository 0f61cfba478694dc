import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ResolveError } from '../../src/api/errors.ts';
import { addressToNumber, parsePrefix, prefixContains } from '../../src/capture/address.ts';
import { AddressPool, reservedAddresses } from '../../src/dns/address-pool.ts';
import { RANGES } from './fixtures.ts';

const names = fc.uniqueArray(fc.domain(), { minLength: 1, maxLength: 60 });

function poolOf(...ranges: readonly string[]): AddressPool {
  return new AddressPool({ ranges: ranges.map(parsePrefix), families: [4, 6], names: 1000 });
}

test('hosts with the same ranges agree on all names that are assigned in the same order, collisions included', () => {
  fc.assert(
    fc.property(names, (list) => {
      // 254 addresses for up to 60 names: collisions are the rule.
      const [a, b] = [poolOf('10.0.0.0/24'), poolOf('10.0.0.0/24')];
      for (const name of list.toSorted()) expect(a.assign(name)).toEqual(b.assign(name));
    }),
  );
});

test('in a large range the order does not matter but for collisions, in IPv6 never', () => {
  fc.assert(
    fc.property(names, (list) => {
      const [a, b] = [poolOf('fd64:7765:6972::/64'), poolOf('fd64:7765:6972::/64')];
      for (const name of list) a.assign(name);
      for (const name of list.toReversed()) expect(b.assign(name)).toEqual(a.get(name));
    }),
  );
});

test('no two names share an address, none changes its own, and every address leads back to its name', () => {
  fc.assert(
    fc.property(names, (list) => {
      const pool = poolOf('10.0.0.0/25', 'fd00::/120');
      const first = list.map((name) => pool.assign(name));
      const again = list.map((name) => pool.assign(name));
      expect(again).toEqual(first);
      expect(new Set(first.map((one) => one.ipv4)).size).toBe(list.length);
      expect(new Set(first.map((one) => one.ipv6)).size).toBe(list.length);
      for (const { name, ipv4 = '', ipv6 = '' } of first) {
        expect(pool.nameOf(ipv4)).toBe(name);
        expect(pool.nameOf(ipv6)).toBe(name);
      }
    }),
  );
});

describe.each([
  '10.0.0.0/24',
  '10.9.8.128/26',
  '10.0.0.0/29',
  '10.0.0.0/30',
  '10.0.0.0/31',
  '10.0.0.7/32',
  'fd00::/122',
])('a range %s', (text) => {
  test('is used up to its last address, none of which is network, broadcast or reserved; then it says no', () => {
    const prefix = parsePrefix(text);
    const pool = poolOf(text);
    const given: string[] = [];
    let failure: unknown;
    for (let i = 0; failure === undefined; i++) {
      try {
        const { ipv4, ipv6 } = pool.assign(`name-${i}.internal`);
        given.push(ipv4 ?? ipv6 ?? '');
      } catch (error) {
        failure = error;
      }
    }
    expect(failure).toBeInstanceOf(ResolveError);
    expect(failure).toMatchObject({ responseCode: 'SERVFAIL', remedy: expect.stringMatching(/resolver\.ranges/) });
    const size = 2 ** ((prefix.family === 4 ? 32 : 128) - prefix.length);
    expect(given).toHaveLength(size <= 2 ? size : size >= 64 ? size - 17 : size - 2);
    for (const address of given) {
      expect(prefixContains(prefix, prefix.family, addressToNumber(address))).toBe(true);
      expect(reservedAddresses(prefix)).not.toContain(address);
    }
    expect(size > 2 && given.map(addressToNumber).includes(prefix.address)).toBe(false);
    // The names that have an address keep it.
    expect(pool.nameOf(given[0] ?? '')).toBe('name-0.internal');
    expect(pool.size).toBe(given.length);
  });
});

test('reserved are the first addresses after the network address', () => {
  const reserved = reservedAddresses(parsePrefix('100.64.0.0/10'));
  expect(reserved).toHaveLength(15);
  expect(reserved[0]).toBe('100.64.0.1');
  expect(reserved.at(-1)).toBe('100.64.0.15');
  expect(reservedAddresses(parsePrefix('10.0.0.0/28'))).toEqual([]);
});

test('limits.names holds for all names together, and says so', () => {
  const pool = new AddressPool({ ranges: RANGES, families: [4, 6], names: 2 });
  pool.assign('a');
  pool.assign('b');
  expect(() => pool.assign('c')).toThrow(/limits\.names/);
  expect(pool.assign('a').name).toBe('a');
});

test('names get addresses of the families that the host speaks only', () => {
  const pool = new AddressPool({ ranges: RANGES, families: [4], names: 10 });
  expect(pool.assign('a')).toEqual({ name: 'a', ipv4: expect.stringMatching(/^100\./) });
});

test('the address of a name is what it was in every release', () => {
  const pool = new AddressPool({ ranges: RANGES, families: [4, 6], names: 10 });
  expect(pool.assign('web.internal')).toMatchInlineSnapshot(`
    {
      "ipv4": "100.95.49.47",
      "ipv6": "fd64:7765:6972:0:af10:a721:38f2:1742",
      "name": "web.internal",
    }
  `);
});

test('60,000 names are assigned in a moment', () => {
  const pool = new AddressPool({ ranges: RANGES, families: [4, 6], names: 65_536 });
  const begun = performance.now();
  for (let i = 0; i < 60_000; i++) pool.assign(`host-${i}.apps.internal`);
  expect(pool.size).toBe(60_000);
  expect(performance.now() - begun).toBeLessThan(10_000);
});
