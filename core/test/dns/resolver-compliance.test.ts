/** The compliance suite over every resolver that ships with Weir, over one of a plugin, and over ones that break the rules. */
import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Resolver } from '../../src/api/resolver.ts';
import { AddressPool } from '../../src/dns/address-pool.ts';
import { createDnsCounters } from '../../src/dns/counters.ts';
import { Upstreams } from '../../src/dns/upstreams.ts';
import { AssignedResolver } from '../../src/resolvers/assigned.ts';
import { DohCanaryResolver } from '../../src/resolvers/doh-canary.ts';
import { HostsResolver } from '../../src/resolvers/hosts.ts';
import { ReverseResolver } from '../../src/resolvers/reverse.ts';
import { UpstreamResolver } from '../../src/resolvers/upstream.ts';
import { RESOLVER_CASES, type ResolverSubject } from '../../src/testing/resolver-compliance.ts';
import { FakeUpstream, matcherOf, RANGES, responseTo, silent, TemporaryDirectory } from './fixtures.ts';

const directory = new TemporaryDirectory();
let upstream: FakeUpstream;
beforeAll(async () => {
  writeFileSync(directory.file('hosts'), '192.0.2.7 box\n');
  // Knows one name. All others are asked of a port that nobody listens on: the resolver has to give up, and does so at once.
  upstream = await FakeUpstream.open((query, reply) => {
    const answers = [{ type: 'A', name: 'known.example', ttl: 60, data: '192.0.2.1' }];
    reply(responseTo(query, { answers }));
  });
});
afterAll(async () => {
  await upstream[Symbol.asyncDispose]();
  directory[Symbol.dispose]();
});

const counters = createDnsCounters();

const SUBJECTS: Readonly<Record<string, ResolverSubject>> = {
  assigned: {
    create: () =>
      new AssignedResolver({
        matcher: matcherOf('web.internal', '*.apps.internal'),
        pool: new AddressPool({ ranges: RANGES, families: [4, 6], names: 100 }),
        counters,
        onAssign: () => {},
      }),
    known: { name: 'web.internal', type: 'A' },
    unknown: 'www.example',
  },
  reverse: {
    create: () =>
      new ReverseResolver({
        ranges: RANGES,
        nameOf: (address) => (address === '100.64.0.99' ? 'web.internal' : undefined),
        ttl: 60,
        counters,
      }),
    known: { name: '99.0.64.100.in-addr.arpa', type: 'PTR' },
    unknown: '1.2.0.192.in-addr.arpa',
  },
  hosts: {
    create: () => new HostsResolver(directory.file('hosts'), counters),
    known: { name: 'box', type: 'A' },
    unknown: 'www.example',
  },
  'doh-canary': {
    create: () => new DohCanaryResolver(60),
    known: { name: 'use-application-dns.net', type: 'A' },
    unknown: 'www.example',
  },
  upstream: {
    create: () =>
      new UpstreamResolver({
        upstreams: new Upstreams({
          servers: () => [
            { protocol: 'udp', endpoint: upstream.endpoint, suffixes: ['known.example'] },
            { protocol: 'udp', endpoint: { address: '127.0.0.1', port: 1 } },
          ],
          mark: 0,
          isOwn: () => false,
          counters,
        }),
        counters,
        log: silent,
        cacheEntries: 100,
      }),
    known: { name: 'known.example', type: 'A' },
    unknown: 'nobody.example',
  },
  'a plugin’s': {
    create: () => ({
      answer: async ({ name, type }) =>
        name === 'static.example'
          ? { records: type === 'A' ? [{ name, type, ttl: 5, data: '192.0.2.5' }] : [] }
          : undefined,
    }),
    known: { name: 'static.example', type: 'A' },
    unknown: 'www.example',
  },
};

describe.each(Object.entries(SUBJECTS))('the resolver %s', (_, subject) => {
  // oxlint-disable-next-line vitest/expect-expect -- the cases bring their assertions along
  test.each(RESOLVER_CASES.map((one) => [one.name, one] as const))('%s', async (_name, one) => {
    await one.run(subject);
  });
});

describe('a resolver that breaks the rules is found', () => {
  const good = { name: 'static.example', type: 'A', ttl: 5, data: '192.0.2.5' };
  const broken: Readonly<Record<string, Resolver['answer']>> = {
    'says nothing about what it knows': async () => undefined,
    'answers about what it does not know': async () => ({ records: [] }),
    'throws what no client can be told': async ({ name }) => {
      if (name.includes('\\')) throw new TypeError('a bug');
      return name === 'static.example' ? { records: [good] } : undefined;
    },
    'changes the question': async ({ name, raw }) => {
      raw[0] = (raw[0] as number) ^ 1;
      return name === 'static.example' ? { records: [good] } : undefined;
    },
    'gives a TTL that is none': async ({ name }) =>
      name === 'static.example' ? { records: [{ ...good, ttl: -1 }] } : undefined,
    'says NXDOMAIN and has records': async ({ name }) =>
      name === 'static.example' ? { records: [good], responseCode: 'NXDOMAIN' } : undefined,
    'gives half a message': async ({ name }) => (name === 'static.example' ? { raw: new Uint8Array(5) } : undefined),
  };

  test.each(Object.entries(broken))('when it %s', async (_, answer) => {
    const subject: ResolverSubject = {
      create: () => ({ answer }),
      known: { name: 'static.example', type: 'A' },
      unknown: 'www.example',
    };
    const failures: string[] = [];
    for (const one of RESOLVER_CASES) {
      await one.run(subject).catch(() => failures.push(one.name));
    }
    expect(failures).not.toEqual([]);
  });
});
