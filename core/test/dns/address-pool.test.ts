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
      "ipv4": "100.116.205.254",
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

describe('the two halves of an IPv4 range', () => {
  function hostWith(configured: readonly string[], asked: readonly string[] = []): AddressPool {
    const pool = poolOf('10.0.0.0/24', 'fd64::/64');
    for (const name of asked.slice(0, asked.length / 2)) pool.assign(name);
    pool.configure(configured);
    for (const name of configured.toSorted()) pool.assign(name);
    for (const name of asked.slice(asked.length / 2)) pool.assign(name);
    return pool;
  }

  test('hosts agree on every configured name, whatever clients ask for, and whenever', () => {
    fc.assert(
      fc.property(names, names, (configured, others) => {
        const asked = others.filter((name) => !configured.includes(name));
        const quiet = hostWith(configured);
        const busy = hostWith(configured, asked);
        for (const name of configured) expect(busy.get(name)).toEqual(quiet.get(name));
        const addresses = [...busy.assignments()].map(({ ipv4 }) => ipv4);
        expect(new Set(addresses).size).toBe(addresses.length);
      }),
    );
  });

  test('a name that comes into the configuration goes where all hosts expect it, and keeps its former address', () => {
    const pool = poolOf('10.0.0.0/24', 'fd64::/64');
    const before = pool.assign('web.internal');
    pool.configure(['web.internal']);
    const after = pool.assign('web.internal');
    expect(after).toEqual({ ...hostWith(['web.internal']).get('web.internal'), former: [before.ipv4] });
    expect(after.ipv6).toBe(before.ipv6);
    expect(pool.nameOf(before.ipv4 as string)).toBe('web.internal');
    expect(pool.nameOf(after.ipv4 as string)).toBe('web.internal');
    // And back again.
    pool.configure([]);
    expect(pool.assign('web.internal')).toEqual({ ...before, former: [after.ipv4] });
    expect(pool.use).toEqual([
      { range: '10.0.0.0/24', taken: 2, size: 239 },
      { range: 'fd64::/64', taken: 1, size: expect.any(Number) },
    ]);
  });

  test('a name whose hash another one has is listed', () => {
    const pool = poolOf('10.0.0.0/25');
    for (let i = 0; i < 40; i++) pool.assign(`n${i}.internal`);
    const displaced = [...pool.assignments()].filter((one) => one.displaced);
    expect(displaced.length).toBeGreaterThan(0);
    expect(displaced.length).toBeLessThan(40);
  });
});

test('two hosts with the same configuration of 10,000 names agree on all of them, in either order of the file', () => {
  const configured = Array.from({ length: 10_000 }, (_, i) => `host-${i}.dc-${i % 7}.internal`);
  const hosts = [configured, configured.toReversed()].map((list, host) => {
    const pool = new AddressPool({ ranges: RANGES, families: [4, 6], names: 65_536 });
    for (let i = 0; i < 500 * host; i++) pool.assign(`asked-${i}.apps.internal`);
    pool.configure(list);
    for (const name of list.toSorted()) pool.assign(name);
    return pool;
  });
  const [a, b] = hosts as [AddressPool, AddressPool];
  for (const name of configured) expect(a.get(name)).toEqual(b.get(name));
});

test('a secret changes all addresses, and the same secret gives the same', () => {
  const of = (secret: string) =>
    new AddressPool({ ranges: RANGES, families: [4, 6], names: 9, secret }).assign('web.internal');
  expect(of('x')).toEqual(of('x'));
  expect(of('x').ipv4).not.toBe(of('y').ipv4);
  expect(of('x').ipv6).not.toBe(of('').ipv6);
});

describe('addresses that are taken back', () => {
  test('belong to nobody, and may be given to others', () => {
    const pool = poolOf('10.0.0.0/29');
    const given = Array.from({ length: 6 }, (_, i) => pool.assign(`n${i}`).ipv4 as string);
    expect(() => pool.assign('late')).toThrow(/10\.0\.0\.0\/29/);
    expect(pool.release('n3')).toMatchObject({ name: 'n3' });
    expect(pool.nameOf(given[3] as string)).toBeUndefined();
    expect(pool.assign('late').ipv4).toBe(given[3]);
    expect(pool.release('nobody')).toBeUndefined();
  });

  test('of an earlier run come back only where they are free and in the ranges', () => {
    const pool = poolOf('10.0.0.0/24', 'fd64::/64');
    const whole = { name: 'a', ipv4: '10.0.0.77', ipv6: 'fd64::77' };
    expect(pool.restore(whole, false)).toBe(true);
    expect(pool.assign('a')).toBe(whole);
    expect(pool.nameOf('10.0.0.77')).toBe('a');
    for (const wrong of [
      whole,
      { ...whole, name: 'b' },
      { name: 'b', ipv4: '10.0.1.1', ipv6: 'fd64::78' },
      { name: 'b', ipv4: '10.0.0.3', ipv6: 'fd64::78' },
      { name: 'b', ipv4: '10.0.0.78' },
      { name: 'b', ipv4: 'nonsense', ipv6: 'fd64::78' },
      { name: 'b', ipv4: '10.0.0.78', ipv6: 'fd64::78', former: ['10.0.0.78'] },
    ]) {
      expect(pool.restore(wrong, false)).toBe(false);
    }
    expect(pool.size).toBe(1);
  });
});
