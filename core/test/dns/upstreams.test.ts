import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import packet from 'dns-packet';
import { afterEach, describe, expect, test } from 'vitest';
import type { Protocol } from '../../src/api/flow.ts';
import { createDnsCounters } from '../../src/dns/counters.ts';
import { Lookups, type LookupsOptions } from '../../src/dns/lookup.ts';
import { frame, MessageReader } from '../../src/dns/stream-framing.ts';
import { encodeQuery, readResponse } from '../../src/dns/upstream-message.ts';
import { Upstreams, type UpstreamServer, type UpstreamsOptions } from '../../src/dns/upstreams.ts';
import { Dnsmasq, FakeUpstream, freePort, responseTo } from './fixtures.ts';

const disposables: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of disposables.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});
function keep<T extends AsyncDisposable>(one: T): T {
  disposables.push(one);
  return one;
}

type React = Parameters<typeof FakeUpstream.open>[0];
const fake = async (react: React): Promise<FakeUpstream> => keep(await FakeUpstream.open(react));

function server(endpoint: UpstreamServer['endpoint'], protocol: Protocol = 'udp'): UpstreamServer {
  return { protocol, endpoint };
}

function upstreamsOf(servers: readonly UpstreamServer[], options: Partial<UpstreamsOptions> = {}) {
  const counters = createDnsCounters();
  const timings = { attemptMs: 300, totalMs: 1500, restMs: 60_000 };
  const upstreams = new Upstreams({
    servers: () => servers,
    mark: 0,
    isOwn: () => false,
    counters,
    timings,
    ...options,
  });
  const ask = (transport: Protocol = 'udp', name = 'a.example', signal = AbortSignal.timeout(10_000)) => {
    const query = encodeQuery(name, 'A', true);
    return upstreams.ask(query, query.subarray(12), { transport, signal });
  };
  return { upstreams, counters, ask };
}

const a = (data: string, ttl = 60, name = 'a.example') => ({ type: 'A', name, ttl, data });
const answersWith =
  (data: string, ttl = 60): React =>
  (query, reply) =>
    reply(responseTo(query, { answers: [a(data, ttl, packet.decode(query).questions[0]?.name)] }));

function addressIn(response: Buffer): string | undefined {
  const { data } = readResponse(response, encodeQuery('a.example', 'A', true).length - 12)?.answers[0] ?? {};
  return data?.join('.');
}

/** A server that answers over TCP; its UDP side is a FakeUpstream's. */
async function tcpServer(port: number, react: (query: Buffer) => Buffer | undefined): Promise<Server> {
  const tcp = createServer((socket) => {
    const reader = new MessageReader();
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      reader.push(chunk);
      const query = reader.next();
      const response = query && react(query);
      if (response !== undefined) socket.write(frame(response));
      else if (query !== undefined) socket.destroy();
    });
  }).listen(port, '127.0.0.1');
  await once(tcp, 'listening');
  keep({ [Symbol.asyncDispose]: () => new Promise((resolve) => tcp.close(() => resolve())) });
  return tcp;
}

describe('asking upstreams', () => {
  test('uses another port and another id for each query', async () => {
    const upstream = await fake(answersWith('192.0.2.1'));
    const { ask } = upstreamsOf([server(upstream.endpoint)]);
    for (let i = 0; i < 12; i++) await ask();
    expect(new Set(upstream.ports).size).toBeGreaterThan(8);
    expect(new Set(upstream.queries.map((query) => query.readUInt16BE(0))).size).toBeGreaterThan(8);
  });

  test('waits past answers with a wrong id, question or without the response bit, and counts them', async () => {
    const upstream = await fake((query, reply) => {
      const good = responseTo(query, { answers: [a('192.0.2.1')] });
      const forge = (spoil: (copy: Buffer) => void): void => {
        const copy = responseTo(query, { answers: [a('6.6.6.6')] });
        spoil(copy);
        reply(copy);
      };
      forge((copy) => copy.writeUInt16BE(copy.readUInt16BE(0) ^ 1, 0));
      forge((copy) => copy.write('b', 13));
      forge((copy) => copy.writeUInt16BE(0x0100, 2));
      reply(Buffer.alloc(3));
      reply(good);
    });
    const { ask, counters } = upstreamsOf([server(upstream.endpoint)]);
    expect(addressIn(await ask())).toBe('192.0.2.1');
    expect(counters.upstreamMismatched).toBe(4);
  });

  test('takes no answer from another source, although id and question are right', async () => {
    const other = await fake(() => {});
    const upstream = await fake((query, reply) => {
      // The same answer, forged, from a second socket to the same client port; then the true one.
      const [port = 0] = upstream.ports.slice(-1);
      void other
        .send(responseTo(query, { answers: [a('6.6.6.6')] }), { address: '127.0.0.1', port })
        .then(() => setTimeout(() => reply(responseTo(query, { answers: [a('192.0.2.1')] })), 50));
    });
    const { ask } = upstreamsOf([server(upstream.endpoint)]);
    expect(addressIn(await ask())).toBe('192.0.2.1');
  });

  test('goes on to the next server when one is silent, closed or useless, and asks the silent one last from then on', async () => {
    const silent = await fake(() => {});
    const closed = await freePort();
    const useless = await fake((query, reply) => reply(responseTo(query, { rcode: 5 })));
    const good = await fake(answersWith('192.0.2.1'));
    const servers = [silent.endpoint, { address: '127.0.0.1', port: closed }, useless.endpoint, good.endpoint].map(
      (one) => server(one),
    );
    const { ask, counters } = upstreamsOf(servers);
    expect(addressIn(await ask())).toBe('192.0.2.1');
    expect(counters).toMatchObject({ upstreamTimeouts: 1, upstreamErrors: 1 });
    expect(addressIn(await ask())).toBe('192.0.2.1');
    expect(new Set(silent.ports).size).toBe(1);
  });

  test('sends again when a datagram was lost, from the same port and with the same id', async () => {
    let seen = 0;
    const upstream = await fake((query, reply) => ++seen > 1 && answersWith('192.0.2.1')(query, reply));
    const { ask, counters } = upstreamsOf([server(upstream.endpoint)], { timings: { attemptMs: 3000, totalMs: 3000 } });
    expect(addressIn(await ask())).toBe('192.0.2.1');
    expect(counters.upstreamTimeouts).toBe(0);
    expect(upstream.queries[1]).toEqual(upstream.queries[0]);
    expect(upstream.ports[1]).toBe(upstream.ports[0]);
  });

  test('gives the useless answer when there is no better one', async () => {
    const useless = await fake((query, reply) => reply(responseTo(query, { rcode: 2 })));
    const silent = await fake(() => {});
    const { ask } = upstreamsOf([server(useless.endpoint), server(silent.endpoint)]);
    expect(packet.decode(await ask()).rcode).toBe('SERVFAIL');
    expect(useless.queries).toHaveLength(1);
  });

  test('says who did not answer, and why, within the time', async () => {
    const silent = await fake(() => {});
    const closed = await freePort();
    const { ask } = upstreamsOf([server(silent.endpoint), server({ address: '127.0.0.1', port: closed })], {
      timings: { attemptMs: 100, totalMs: 400 },
    });
    const begun = performance.now();
    const failure = await ask().then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(performance.now() - begun).toBeLessThan(3000);
    expect(failure).toMatchObject({ responseCode: 'SERVFAIL' });
    expect(String(failure)).toMatch(
      new RegExp(`127\\.0\\.0\\.1:${silent.endpoint.port}: no answer within .*:${closed}: .*ECONNREFUSED`),
    );
  });

  test('to which there is no way is an error like any other', async () => {
    const good = await fake(answersWith('192.0.2.1'));
    for (const protocol of ['udp', 'tcp'] as const) {
      // connect() to the broadcast address is refused with EACCES, whatever routes there are.
      const { ask, counters } = upstreamsOf([
        server({ address: '255.255.255.255', port: 53 }, protocol),
        server(good.endpoint),
      ]);
      expect(addressIn(await ask())).toBe('192.0.2.1');
      expect(counters.upstreamErrors).toBe(1);
    }
  });

  test('without servers, and with none but its own listeners, says so', async () => {
    await expect(upstreamsOf([]).ask()).rejects.toThrow(/no upstream to ask.*resolver\.upstreams/);
    const own = await fake(answersWith('192.0.2.1'));
    const { ask } = upstreamsOf([server(own.endpoint)], { isOwn: ({ port }) => port === own.endpoint.port });
    await expect(ask()).rejects.toThrow(/no upstream to ask/);
    expect(own.queries).toHaveLength(0);
  });

  test('refuses more than its limit at a time, and counts that', async () => {
    const silent = await fake(() => {});
    const { ask, counters, upstreams } = upstreamsOf([server(silent.endpoint)], { inFlight: 2 });
    const waiting = [ask(), ask()].map((one) => one.catch((error: unknown) => error));
    await expect(ask()).rejects.toMatchObject({ responseCode: 'REFUSED' });
    expect(counters.forwardLimitHits).toBe(1);
    await Promise.all(waiting);
    expect(upstreams.inFlight).toBe(0);
  });

  test('gives up at once when it is aborted', async () => {
    const silent = await fake(() => {});
    const { ask, upstreams } = upstreamsOf([server(silent.endpoint)], {
      timings: { attemptMs: 60_000, totalMs: 60_000 },
    });
    const abort = new AbortController();
    const answer = ask('udp', 'a.example', abort.signal);
    setTimeout(() => abort.abort(), 30);
    await expect(answer).rejects.toMatchObject({ failure: 'aborted' });
    expect(upstreams.inFlight).toBe(0);
  });

  test('asks over TCP for a TCP client, and a tcp:// server always', async () => {
    const udp = await fake(answersWith('192.0.2.1'));
    await tcpServer(udp.endpoint.port, (query) => responseTo(query, { answers: [a('192.0.2.2')] }));
    expect(addressIn(await upstreamsOf([server(udp.endpoint)]).ask('tcp'))).toBe('192.0.2.2');
    expect(addressIn(await upstreamsOf([server(udp.endpoint)]).ask('udp'))).toBe('192.0.2.1');
    expect(addressIn(await upstreamsOf([server(udp.endpoint, 'tcp')]).ask('udp'))).toBe('192.0.2.2');
  });

  test('falls back to UDP for a TCP client of a server that refuses TCP, unless the answer is cut', async () => {
    const udp = await fake(answersWith('192.0.2.1'));
    expect(addressIn(await upstreamsOf([server(udp.endpoint)]).ask('tcp'))).toBe('192.0.2.1');
    const cut = await fake((query, reply) => reply(responseTo(query, { flags: 0x0200 })));
    await expect(upstreamsOf([server(cut.endpoint)]).ask('tcp')).rejects.toThrow(/needs TCP/);
  });

  test('a TCP server that closes without an answer, or answers something else first, is no end', async () => {
    const port = await freePort();
    await tcpServer(port, () => undefined);
    const good = await fake(answersWith('192.0.2.1'));
    const { ask } = upstreamsOf([server({ address: '127.0.0.1', port }, 'tcp'), server(good.endpoint)]);
    expect(addressIn(await ask())).toBe('192.0.2.1');
  });

  test('500 queries at once get 500 answers', async () => {
    const upstream = await fake(answersWith('192.0.2.1'));
    const { ask } = upstreamsOf([server(upstream.endpoint)], { timings: { attemptMs: 2000, totalMs: 8000 } });
    const answers = await Promise.all(Array.from({ length: 500 }, () => ask()));
    expect(answers.map(addressIn)).toEqual(Array.from({ length: 500 }, () => '192.0.2.1'));
  });
});

describe('a look-up', () => {
  function lookupsOf(servers: readonly UpstreamServer[], options: Partial<LookupsOptions> = {}) {
    const { upstreams, counters } = upstreamsOf(servers);
    const lookups = new Lookups({ upstreams, counters, ...options });
    const lookup = (name: string, family: 4 | 6 = 4) => lookups.lookup(name, family, AbortSignal.timeout(10_000));
    return { lookups, lookup, counters };
  }

  test('finds addresses, follows aliases and honours TTLs with a real server', async () => {
    const dnsmasq = keep(
      await Dnsmasq.start(
        '--local=/example/',
        '--host-record=a.example,192.0.2.1,2001:db8::1,100',
        '--cname=www.example,a.example,40',
        '--local-ttl=30',
      ),
    );
    const { lookup, counters } = lookupsOf([server(dnsmasq.endpoint)]);
    expect(await lookup('a.example')).toEqual({ addresses: ['192.0.2.1'], ttl: 100 });
    expect(await lookup('a.example', 6)).toEqual({ addresses: ['2001:db8::1'], ttl: 100 });
    expect(await lookup('www.example')).toEqual({ addresses: ['192.0.2.1'], ttl: 40 });
    expect((await lookup('nowhere.example')).addresses).toEqual([]);
    const { forwarded } = counters;
    await lookup('www.example');
    expect(counters).toMatchObject({ forwarded, lookupCacheHits: 1 });
  });

  test('keeps an answer for its TTL and not longer, a TTL of 0 not at all', async () => {
    let now = 0;
    let ttl = 10;
    const upstream = await fake((query, reply) => answersWith(`192.0.2.${upstream.queries.length}`, ttl)(query, reply));
    const { lookup } = lookupsOf([server(upstream.endpoint)], { now: () => now });
    expect(await lookup('a.example')).toEqual({ addresses: ['192.0.2.1'], ttl: 10 });
    now = 4000;
    expect(await lookup('a.example')).toEqual({ addresses: ['192.0.2.1'], ttl: 6 });
    now = 10_000;
    ttl = 0;
    expect(await lookup('a.example')).toEqual({ addresses: ['192.0.2.2'], ttl: 0 });
    expect(await lookup('a.example')).toEqual({ addresses: ['192.0.2.3'], ttl: 0 });
  });

  test('keeps "does not exist" as long as the SOA says, and without one not at all', async () => {
    let now = 0;
    const soa = { mname: 'm', rname: 'r', serial: 1, refresh: 2, retry: 3, expire: 4, minimum: 20 };
    const upstream = await fake((query, reply) => {
      const [question] = packet.decode(query).questions;
      const authorities = question?.name === 'a.example' ? [{ type: 'SOA', name: 'example', ttl: 90, data: soa }] : [];
      reply(responseTo(query, { rcode: 3, authorities }));
    });
    const { lookup } = lookupsOf([server(upstream.endpoint)], { now: () => now });
    expect(await lookup('a.example')).toEqual({ addresses: [], ttl: 20 });
    await lookup('a.example');
    expect(upstream.queries).toHaveLength(1);
    now = 20_000;
    await lookup('a.example');
    expect(upstream.queries).toHaveLength(2);
    expect(await lookup('b.example')).toEqual({ addresses: [], ttl: 0 });
  });

  test('asks for the end of an alias that the answer does not give, and stops at a circle', async () => {
    const cname = (name: string, data: string) => ({ type: 'CNAME', name, ttl: 7, data });
    const upstream = await fake((query, reply) => {
      const name = packet.decode(query).questions[0]?.name ?? '';
      const answers =
        name === 'a.example'
          ? [cname(name, 'b.example')]
          : name === 'b.example'
            ? [a('192.0.2.9', 60, name)]
            : [cname(name, name === 'x.example' ? 'y.example' : 'x.example')];
      reply(responseTo(query, { answers }));
    });
    const { lookup } = lookupsOf([server(upstream.endpoint)]);
    expect(await lookup('a.example')).toEqual({ addresses: ['192.0.2.9'], ttl: 7 });
    await expect(lookup('x.example')).rejects.toThrow(/alias of an alias/);
    expect(upstream.queries.length).toBeLessThan(40);
  });

  test('at the same time as an equal one shares its query, and one that gives up does not end the other', async () => {
    const upstream = await fake((query, reply) => void sleep(100).then(() => answersWith('192.0.2.1')(query, reply)));
    const { lookups, lookup, counters } = lookupsOf([server(upstream.endpoint)]);
    const abort = new AbortController();
    const given = lookups.lookup('a.example', 4, abort.signal);
    const others = Array.from({ length: 20 }, () => lookup('a.example'));
    abort.abort(new Error('no longer wanted'));
    await expect(given).rejects.toThrow('no longer wanted');
    for (const result of await Promise.all(others)) expect(result.addresses).toEqual(['192.0.2.1']);
    expect(new Set(upstream.ports).size).toBe(1);
    expect(counters).toMatchObject({ lookupsCoalesced: 20, forwarded: 1 });
  });

  test('that nobody waits for any more is ended', async () => {
    const upstream = await fake(() => {});
    const { upstreams, counters } = upstreamsOf([server(upstream.endpoint)], {
      timings: { attemptMs: 60_000, totalMs: 60_000 },
    });
    const lookups = new Lookups({ upstreams, counters });
    const abort = new AbortController();
    const given = lookups.lookup('a.example', 4, abort.signal);
    await expect.poll(() => upstream.queries.length).toBe(1);
    abort.abort(new Error('no longer wanted'));
    await expect(given).rejects.toThrow('no longer wanted');
    await expect.poll(() => upstreams.inFlight).toBe(0);
  });

  test('asks again over TCP when the answer was cut', async () => {
    const cut = await fake((query, reply) => reply(responseTo(query, { flags: 0x0200 })));
    await tcpServer(cut.endpoint.port, (query) => responseTo(query, { answers: [a('192.0.2.5')] }));
    const { lookup } = lookupsOf([server(cut.endpoint)]);
    expect((await lookup('a.example')).addresses).toEqual(['192.0.2.5']);
  });

  test('asks without EDNS a server that does not know it', async () => {
    const old = await fake((query, reply) =>
      query.readUInt16BE(10) > 0 ? reply(responseTo(query, { rcode: 1 })) : answersWith('192.0.2.6')(query, reply),
    );
    const { lookup } = lookupsOf([server(old.endpoint)]);
    expect((await lookup('a.example')).addresses).toEqual(['192.0.2.6']);
  });

  test('whose servers all fail is an error with the reason, and is not kept', async () => {
    let broken = true;
    const upstream = await fake((query, reply) =>
      broken ? reply(responseTo(query, { rcode: 2 })) : answersWith('192.0.2.7')(query, reply),
    );
    const { lookup, counters } = lookupsOf([server(upstream.endpoint)]);
    await expect(lookup('a.example')).rejects.toThrow(/could not resolve a\.example: SERVFAIL/);
    broken = false;
    expect((await lookup('a.example')).addresses).toEqual(['192.0.2.7']);
    expect(counters.lookupsFailed).toBe(1);
  });

  test('keeps a bounded number of answers', async () => {
    const upstream = await fake(answersWith('192.0.2.1'));
    const { lookup } = lookupsOf([server(upstream.endpoint)], { cacheEntries: 2 });
    for (const name of ['a.example', 'b.example', 'c.example', 'c.example', 'a.example']) await lookup(name);
    expect(upstream.queries).toHaveLength(4);
  });
});
