import { describe, expect, test } from 'vitest';
import type { Question } from '../../src/api/resolver.ts';
import { AddressPool } from '../../src/dns/address-pool.ts';
import { createDnsCounters } from '../../src/dns/counters.ts';
import { AssignedResolver, type AssignedOptions, type NameAssignment } from '../../src/resolvers/assigned.ts';
import { matcherOf, RANGES } from './fixtures.ts';

function question(name: string, type = 'A'): Question {
  return { name, type, class: 'IN', transport: 'udp', raw: Buffer.alloc(0) };
}

function resolverOf(options: Partial<AssignedOptions> = {}) {
  const counters = createDnsCounters();
  const announced: NameAssignment[] = [];
  const resolver = new AssignedResolver({
    matcher: matcherOf('web.internal', '*.apps.internal'),
    pool: new AddressPool({ ranges: RANGES, families: [4, 6], names: 100 }),
    counters,
    onAssign: (assignment) => {
      announced.push(assignment);
    },
    ...options,
  });
  return { resolver, counters, announced };
}

describe('a name that a service wants', () => {
  test('has an address of each family, for 60 seconds, announced once before it is answered', async () => {
    const { resolver, announced } = resolverOf();
    const a = await resolver.answer(question('x.apps.internal'));
    expect(announced).toEqual([
      { name: 'x.apps.internal', patternIndex: 1, ipv4: expect.any(String), ipv6: expect.any(String) },
    ]);
    expect(a).toMatchObject({ authoritative: true, records: [{ type: 'A', ttl: 60, data: announced[0]?.ipv4 }] });
    const aaaa = await resolver.answer(question('x.apps.internal', 'AAAA'));
    expect(aaaa).toMatchObject({ records: [{ type: 'AAAA', ttl: 60, data: announced[0]?.ipv6 }] });
    expect(announced).toHaveLength(1);
  });

  test('has no other records, and says for how long that holds', async () => {
    const { resolver, announced } = resolverOf();
    for (const type of ['TXT', 'MX', 'HTTPS', 'SVCB', 'TYPE259']) {
      const answer = await resolver.answer(question('web.internal', type));
      expect(answer).toMatchObject({ records: [], authority: [{ type: 'SOA', name: 'web.internal', ttl: 60 }] });
    }
    // All of them at once is what nobody needs (RFC 8482).
    const any = await resolver.answer(question('web.internal', 'ANY'));
    expect(any).toMatchObject({ records: [{ type: 'HINFO', data: { cpu: 'RFC8482' } }] });
    expect(announced).toEqual([]);
  });

  test('has no IPv6 address where the host has no IPv6', async () => {
    const { resolver } = resolverOf({ pool: new AddressPool({ ranges: RANGES, families: [4], names: 9 }) });
    expect(await resolver.answer(question('web.internal', 'AAAA'))).toMatchObject({ records: [] });
    expect(await resolver.answer(question('web.internal', 'A'))).toMatchObject({ records: [{ type: 'A' }] });
  });

  test('that could break a request in two does not exist', async () => {
    const { resolver, announced } = resolverOf();
    const answer = await resolver.answer(question('a\\013\\010host.apps.internal'));
    expect(answer).toMatchObject({ responseCode: 'NXDOMAIN', records: [] });
    expect(announced).toEqual([]);
  });
});

test('the records of a service that is reached elsewhere are none below a known name either', async () => {
  const { resolver } = resolverOf();
  for (const name of ['_8443._https.web.internal', '_dns.web.internal']) {
    expect(await resolver.answer(question(name, 'HTTPS'))).toMatchObject({ records: [], authority: [{ type: 'SOA' }] });
    expect(await resolver.answer(question(name, 'TXT'))).toBeUndefined();
  }
  expect(await resolver.answer(question('_8443._https.example.org', 'HTTPS'))).toBeUndefined();
});

test('other records of a name are left to upstreams where the service says so, but none that lead past it', async () => {
  const { resolver } = resolverOf({ resolvesUpstream: (pattern) => pattern === 1 });
  expect(await resolver.answer(question('x.apps.internal', 'MX'))).toBeUndefined();
  expect(await resolver.answer(question('x.apps.internal', 'A'))).toMatchObject({ records: [{ type: 'A' }] });
  expect(await resolver.answer(question('x.apps.internal', 'HTTPS'))).toMatchObject({ records: [] });
  expect(await resolver.answer(question('x.apps.internal', 'ANY'))).toMatchObject({ records: [{ type: 'HINFO' }] });
  expect(await resolver.answer(question('web.internal', 'MX'))).toMatchObject({ records: [] });
});

test('a pattern table that is full is SERVFAIL, counted, with what to do', async () => {
  const { resolver, counters } = resolverOf({
    matcher: {
      match: () => {
        throw new RangeError('too many combinations');
      },
    },
  });
  await expect(resolver.answer(question('web.internal'))).rejects.toMatchObject({ responseCode: 'SERVFAIL' });
  expect(counters.poolExhausted).toBe(1);
});

test('a name that no service wants falls through', async () => {
  const { resolver, counters } = resolverOf();
  expect(await resolver.answer(question('www.example.org'))).toBeUndefined();
  expect(await resolver.answer(question('apps.internal'))).toBeUndefined();
  expect(counters.answeredAssigned).toBe(0);
});

test('the answer waits for the announcement, and queries at the same time share it', async () => {
  const order: string[] = [];
  let release: () => void = () => {};
  const gate = new Promise<void>((resolve) => (release = resolve));
  const { resolver } = resolverOf({
    onAssign: async () => {
      order.push('announced');
      await gate;
      order.push('known');
    },
  });
  const answers = [question('web.internal'), question('web.internal', 'AAAA'), question('web.internal')].map(
    async (one) => {
      await resolver.answer(one);
      order.push('answered');
    },
  );
  await new Promise((resolve) => setImmediate(resolve));
  expect(order).toEqual(['announced']);
  release();
  await Promise.all(answers);
  expect(order).toEqual(['announced', 'known', 'answered', 'answered', 'answered']);
});

test('an announcement that fails is tried again by the next query', async () => {
  let calls = 0;
  const { resolver } = resolverOf({
    onAssign: () => {
      if (++calls === 1) throw new Error('the table is full');
    },
  });
  await expect(resolver.answer(question('web.internal'))).rejects.toThrow('the table is full');
  expect(await resolver.answer(question('web.internal'))).toMatchObject({ records: [{ type: 'A' }] });
  expect(calls).toBe(2);
});

test('a new matcher ends and begins names, keeps addresses and announces the new pattern', async () => {
  const { resolver, announced } = resolverOf();
  await resolver.answer(question('web.internal'));
  const before = await resolver.answer(question('x.apps.internal'));
  resolver.replace(matcherOf('*.apps.internal', 'new.internal'));
  expect(await resolver.answer(question('web.internal'))).toBeUndefined();
  expect(resolver.patternOf('web.internal')).toBe(-1);
  expect(await resolver.answer(question('x.apps.internal'))).toEqual(before);
  expect(announced.at(-1)).toMatchObject({ name: 'x.apps.internal', patternIndex: 0 });
  expect(await resolver.answer(question('new.internal'))).toMatchObject({ records: [{ type: 'A' }] });
  resolver.replace(matcherOf('web.internal'));
  const back = await resolver.answer(question('web.internal'));
  expect(back).toMatchObject({ records: [{ data: announced[0]?.ipv4 }] });
});

test('a matcher replaced while a name is being announced is the one that is announced in the end', async () => {
  const indexes: number[] = [];
  let release: () => void = () => {};
  const gate = new Promise<void>((resolve) => (release = resolve));
  const { resolver } = resolverOf({
    onAssign: async ({ patternIndex }) => {
      indexes.push(patternIndex);
      if (indexes.length === 1) await gate;
    },
  });
  const answer = resolver.answer(question('web.internal'));
  resolver.replace(matcherOf('other.internal', '*.x', 'web.internal'));
  release();
  await answer;
  expect(indexes).toEqual([0, 2]);
});

test('names without an address are counted and told SERVFAIL; the others stay answered', async () => {
  const { resolver, counters } = resolverOf({ pool: new AddressPool({ ranges: RANGES, families: [4], names: 1 }) });
  await resolver.answer(question('a.apps.internal'));
  await expect(resolver.answer(question('b.apps.internal'))).rejects.toMatchObject({ responseCode: 'SERVFAIL' });
  expect(await resolver.answer(question('a.apps.internal'))).toMatchObject({ records: [{ type: 'A' }] });
  expect(counters).toMatchObject({ assigned: 1, poolExhausted: 1 });
});
