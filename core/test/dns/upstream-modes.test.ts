/** Whom the resolver asks: modes, health, split names; and what it keeps, shares and refuses of the answers. */
import packet from 'dns-packet';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { UpstreamMode } from '../../src/config/model.ts';
import { createDnsCounters } from '../../src/dns/counters.ts';
import { encodeQuery } from '../../src/dns/upstream-message.ts';
import { serverName } from '../../src/dns/upstream-health.ts';
import { Upstreams, type UpstreamServer, type UpstreamsOptions } from '../../src/dns/upstreams.ts';
import { dig, FakeUpstream, responseTo } from './fixtures.ts';
import { fake, serviceOf } from './service.ts';

type React = Parameters<typeof FakeUpstream.open>[0];

const answering =
  (data: string, more: { ttl?: number; after?: number } = {}): React =>
  (query, reply) => {
    const name = packet.decode(query).questions[0]?.name ?? '';
    const response = responseTo(query, { answers: [{ type: 'A', name, ttl: more.ttl ?? 60, data }] });
    setTimeout(() => reply(response), more.after ?? 0);
  };

const of = (upstream: FakeUpstream, more: Partial<UpstreamServer> = {}): UpstreamServer => ({
  protocol: 'udp',
  endpoint: upstream.endpoint,
  ...more,
});

function upstreamsOf(servers: readonly UpstreamServer[], options: Partial<UpstreamsOptions> = {}) {
  const counters = createDnsCounters();
  const upstreams = new Upstreams({
    servers: () => servers,
    mark: 0,
    isOwn: () => false,
    counters,
    timings: { attemptMs: 200, totalMs: 1200, restMs: 300 },
    ...options,
  });
  onTestFinished(() => upstreams.close());
  const ask = async (name = 'a.example') => {
    const query = encodeQuery(name, 'A', true);
    const signal = AbortSignal.timeout(10_000);
    return packet.decode(await upstreams.ask(query, query.subarray(12), { transport: 'udp', signal })).answers[0]?.data;
  };
  const states = () => upstreams.reports().map(({ state }) => state);
  return { upstreams, counters, ask, states };
}

describe('the order in which upstreams are asked', () => {
  const silent: React = () => {};

  test('serial: as listed, each time, whatever happened before', async () => {
    const [dead, good] = [await fake(silent), await fake(answering('192.0.2.2'))];
    const { ask } = upstreamsOf([of(dead), of(good)], { mode: 'serial' });
    for (let i = 0; i < 3; i++) expect(await ask(`a${i}.example`)).toBe('192.0.2.2');
    expect(new Set(dead.ports).size).toBe(3);
  });

  test('failover: one that failed last, until it answers again, and no client waits for that', async () => {
    let alive = false;
    const first = await fake((query, reply) => alive && answering('192.0.2.1')(query, reply));
    const second = await fake(answering('192.0.2.2'));
    const { ask, states } = upstreamsOf([of(first), of(second)]);
    expect(await ask()).toBe('192.0.2.2');
    expect(states()).toEqual(['resting', 'good']);
    alive = true;
    // While it rests it is left alone.
    expect(await ask()).toBe('192.0.2.2');
    expect(new Set(first.ports).size).toBe(1);
    await sleep(400);
    const begun = performance.now();
    expect(await ask()).toBe('192.0.2.2');
    expect(performance.now() - begun).toBeLessThan(150);
    await expect.poll(states).toEqual(['good', 'good']);
    expect(await ask()).toBe('192.0.2.1');
  });

  test('a server that fails again and again rests longer and longer', async () => {
    const [dead, good] = [await fake(silent), await fake(answering('192.0.2.2'))];
    const { ask } = upstreamsOf([of(dead), of(good)], { timings: { attemptMs: 30, totalMs: 500, restMs: 100 } });
    const until = Date.now() + 2500;
    while (Date.now() < until) {
      await ask();
      await sleep(10);
    }
    // 100, 200, 400, 800, 1600 ms: a handful of attempts and not eighty.
    expect(new Set(dead.ports).size).toBeGreaterThanOrEqual(3);
    expect(new Set(dead.ports).size).toBeLessThanOrEqual(7);
  });

  test('random: any of them', async () => {
    const servers = [
      await fake(answering('192.0.2.1')),
      await fake(answering('192.0.2.2')),
      await fake(answering('192.0.2.3')),
    ];
    const { ask } = upstreamsOf(
      servers.map((one) => of(one)),
      { mode: 'random' },
    );
    for (let i = 0; i < 40; i++) await ask();
    for (const { queries } of servers) expect(queries.length).toBeGreaterThan(0);
  });

  test('parallel: all at once, and the first useful answer counts', async () => {
    const refusing: React = (query, reply) => reply(responseTo(query, { rcode: 5 }));
    const servers = [
      await fake(silent),
      await fake(refusing),
      await fake(answering('192.0.2.3', { after: 100 })),
      await fake(answering('192.0.2.4', { after: 20 })),
    ];
    const { ask, upstreams } = upstreamsOf(
      servers.map((one) => of(one)),
      { mode: 'parallel' },
    );
    const begun = performance.now();
    expect(await ask()).toBe('192.0.2.4');
    expect(performance.now() - begun).toBeLessThan(190);
    for (const { queries } of servers) expect(queries.length).toBeGreaterThan(0);
    expect(upstreams.inFlight).toBe(0);
    const none = upstreamsOf([of(servers[0] as FakeUpstream), of(servers[1] as FakeUpstream)], { mode: 'parallel' });
    await expect(none.ask()).resolves.toBeUndefined();
  });

  test('parallel with nobody alive says why', async () => {
    const { ask } = upstreamsOf([of(await fake(silent)), of(await fake(silent))], { mode: 'parallel' });
    await expect(ask()).rejects.toThrow(/No upstream answered: .*no answer within.*; .*no answer within/);
  });

  test.each(['failover', 'serial', 'random', 'parallel'] as const satisfies readonly UpstreamMode[])(
    '%s: with half of them dead every query is answered',
    async (mode) => {
      const servers = [
        await fake(silent),
        await fake(answering('192.0.2.1')),
        await fake(silent),
        await fake(answering('192.0.2.1')),
      ];
      const { ask } = upstreamsOf(
        servers.map((one) => of(one)),
        { mode },
      );
      const answers = await Promise.all(Array.from({ length: 30 }, (_, i) => ask(`a${i}.example`)));
      expect(new Set(answers)).toEqual(new Set(['192.0.2.1']));
    },
  );
});

describe('split names', () => {
  test('go to the servers of the longest suffix and to nobody else', async () => {
    const [all, corp, lab] = [
      await fake(answering('192.0.2.1')),
      await fake(answering('192.0.2.2')),
      await fake(answering('192.0.2.3')),
    ];
    const { ask, upstreams } = upstreamsOf([
      of(all),
      of(corp, { suffixes: ['corp.example', 'other'] }),
      of(lab, { suffixes: ['lab.corp.example'] }),
    ]);
    expect(await ask('www.example')).toBe('192.0.2.1');
    expect(await ask('notcorp.example')).toBe('192.0.2.1');
    for (const name of ['corp.example', 'a.b.CORP.example', 'x.other']) expect(await ask(name)).toBe('192.0.2.2');
    expect(await ask('x.lab.corp.example')).toBe('192.0.2.3');
    expect(upstreams.suffixFor('x.lab.corp.example')).toBe('lab.corp.example');
    await lab[Symbol.asyncDispose]();
    // What is meant for one server is not told to another.
    await expect(ask('y.lab.corp.example')).rejects.toMatchObject({ responseCode: 'SERVFAIL' });
    expect(corp.queries).toHaveLength(3);
  });

  test('without a server for all others say so', async () => {
    const { ask } = upstreamsOf([of(await fake(answering('192.0.2.1')), { suffixes: ['corp.example'] })]);
    await expect(ask('www.example')).rejects.toThrow(/no upstream to ask/);
  });
});

test('an answer with an address of another name is not believed', async () => {
  const poisoning: React = (query, reply) =>
    reply(
      responseTo(query, {
        answers: [
          { type: 'A', name: 'a.example', ttl: 60, data: '192.0.2.1' },
          { type: 'A', name: 'bank.example', ttl: 60, data: '6.6.6.6' },
        ],
      }),
    );
  const { ask, counters } = upstreamsOf([of(await fake(poisoning)), of(await fake(answering('192.0.2.2')))]);
  expect(await ask()).toBe('192.0.2.2');
  expect(counters.upstreamMismatched).toBe(1);
});

test('reports say who is asked, how it does, and how long it takes', async () => {
  const good = await fake(answering('192.0.2.1', { after: 30 }));
  const { ask, upstreams } = upstreamsOf([of(good, { suffixes: ['example'] })]);
  for (let i = 0; i < 3; i++) await ask();
  const [report] = upstreams.reports();
  expect(report).toMatchObject({ suffixes: ['example'], state: 'good', answers: 3, timeouts: 0, errors: 0 });
  expect(report?.latency.reduce((sum, { count }) => sum + count, 0)).toBe(3);
  expect(report?.totalMs).toBeGreaterThanOrEqual(85);
  expect(serverName({ protocol: 'tls', endpoint: { address: '2001:db8::1', port: 853 }, serverName: 'x.y' })).toBe(
    'tls://[2001:db8::1]:853#x.y',
  );
  expect(serverName({ protocol: 'https', endpoint: { address: 'x.y', port: 443 }, path: '/q' })).toBe(
    'https://x.y:443/q',
  );
});

describe('what clients ask for', () => {
  test('is asked upstream once while the answer holds, and given with what is left of its TTL', async () => {
    const upstream = await fake(answering('192.0.2.1', { ttl: 3 }));
    const { port, service } = await serviceOf({ resolver: { upstreams: [of(upstream)] } });
    for (const way of ['+nocookie', '+nocookie', '+cookie']) {
      expect(await dig(port, way, 'www.example', 'A', '+short')).toBe('192.0.2.1\n');
    }
    expect(upstream.queries).toHaveLength(1);
    expect(service.counters()).toMatchObject({ cacheHits: 2, cacheMisses: 1, answeredForwarded: 3 });
    expect(service.status().cache).toMatchObject({ entries: 1 });
    await sleep(3100);
    await dig(port, '+nocookie', 'www.example', 'A');
    expect(upstream.queries).toHaveLength(2);
  });

  test('is asked upstream once when many ask at the same time', async () => {
    const upstream = await fake(answering('192.0.2.1', { ttl: 0, after: 400 }));
    const { port, service } = await serviceOf({
      resolver: { upstreams: [of(upstream)] },
      upstreamTimings: { attemptMs: 3000, totalMs: 3000 },
    });
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, i) => dig(port, '+nocookie', i % 2 ? 'WWW.example' : 'www.example', 'A', '+short')),
    );
    expect(new Set(answers)).toEqual(new Set(['192.0.2.1\n']));
    expect(new Set(upstream.ports).size).toBe(1);
    expect(service.counters()).toMatchObject({ queriesCoalesced: 7 });
  });

  test('is not kept where the cache is off', async () => {
    const upstream = await fake(answering('192.0.2.1'));
    const { port } = await serviceOf({ resolver: { upstreams: [of(upstream)], cache: 0 } });
    for (let i = 0; i < 2; i++) await dig(port, '+nocookie', 'www.example', 'A');
    expect(upstream.queries).toHaveLength(2);
  });

  test('may be answered after its time when nobody answers any more, where that is configured', async () => {
    let alive = true;
    const upstream = await fake((query, reply) => alive && answering('192.0.2.1', { ttl: 1 })(query, reply));
    const { port, service } = await serviceOf({ resolver: { upstreams: [of(upstream)], serveStale: 60_000 } });
    await dig(port, '+nocookie', 'www.example', 'A');
    alive = false;
    await sleep(1100);
    expect(await dig(port, '+nocookie', 'www.example', 'A')).toMatch(/www\.example\.\s+30\s+IN\s+A\s+192\.0\.2\.1/);
    expect(service.counters()).toMatchObject({ cacheStale: 1 });
    expect(await dig(port, '+nocookie', 'other.example', 'A')).toMatch(/REFUSED/);
  });

  test('has no private address where rebinding is blocked, but where it is allowed', async () => {
    const rebinding = await fake(answering('10.0.0.1'));
    const internal = await fake(answering('10.0.0.2'));
    const { port, service } = await serviceOf({
      resolver: {
        rebinding: 'block',
        rebindingAllow: ['home.example'],
        upstreams: [of(rebinding), of(internal, { suffixes: ['corp.example'] })],
      },
    });
    for (let i = 0; i < 2; i++) {
      expect(await dig(port, '+nocookie', 'evil.example', 'A')).toMatch(/status: REFUSED/);
      expect(await dig(port, '+nocookie', 'nas.home.example', 'A', '+short')).toBe('10.0.0.1\n');
      expect(await dig(port, '+nocookie', 'www.corp.example', 'A', '+short')).toBe('10.0.0.2\n');
    }
    expect(service.counters()['rebindingBlocked']).toBe(2);
    const trusting = await serviceOf({ resolver: { upstreams: [of(rebinding)] } });
    expect(await dig(trusting.port, 'evil.example', 'A', '+short')).toBe('10.0.0.1\n');
  });
});
