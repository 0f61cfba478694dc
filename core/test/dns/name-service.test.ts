import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import packet from 'dns-packet';
import { describe, expect, test } from 'vitest';
import { LoopError } from '../../src/api/errors.ts';
import { encodeQuery } from '../../src/dns/upstream-message.ts';
import type { NameService } from '../../src/resolvers/name-service.ts';
import { dig, freePort, listenOn, matcherOf } from './fixtures.ts';
import { dnsmasq, fake, serviceOf, signal } from './service.ts';

describe('the service', () => {
  test('answers its own names, forwards the others, and tells the client the same over UDP and TCP', async () => {
    const { service, port, announced } = await serviceOf({ resolver: { upstreams: [await dnsmasq()] } });
    expect(announced).toMatchObject([{ name: 'web.internal', patternIndex: 0 }]);
    const { ipv4 = '', ipv6 = '' } = announced[0] ?? {};
    for (const tcp of ['+notcp', '+tcp']) {
      expect(await dig(port, tcp, 'Web.Internal', 'A')).toMatch(
        new RegExp(`Web\\.Internal\\.\\s+60\\s+IN\\s+A\\s+${ipv4.replaceAll('.', '\\.')}`),
      );
      expect(await dig(port, tcp, 'web.internal', 'AAAA', '+short')).toBe(`${ipv6}\n`);
      const mx = await dig(port, tcp, 'web.internal', 'MX');
      expect(mx).toMatch(/status: NOERROR/);
      expect(mx).toMatch(/ANSWER: 0, AUTHORITY: 1/);
      expect(await dig(port, tcp, 'real.example', 'A', '+short')).toBe('192.0.2.80\n');
      expect(await dig(port, tcp, 'real.example', 'TXT', '+short')).toBe('"hello"\n');
      expect(await dig(port, tcp, 'nowhere.example', 'A')).toMatch(/status: NXDOMAIN/);
    }
    expect(service.nameOf(ipv4)).toEqual({ name: 'web.internal', patternIndex: 0 });
    expect(service.nameOf(ipv6)).toEqual({ name: 'web.internal', patternIndex: 0 });
    expect(service.nameOf('192.0.2.80')).toBeUndefined();
    expect(service.counters()).toMatchObject({
      answeredForwarded: 6,
      answeredAssigned: 6,
      resolverErrors: 0,
      malformed: 0,
    });
  });

  test('cuts a long answer for a UDP client, which then gets it whole over TCP', async () => {
    const long = Array.from({ length: 12 }, (_, i) => `--txt-record=long.example,${String(i).repeat(200)}`);
    const { service, port } = await serviceOf({
      resolver: { upstreams: [await dnsmasq('--edns-packet-max=4096', ...long)] },
    });
    const cut = await dig(port, '+notcp', '+ignore', '+bufsize=4096', 'long.example', 'TXT');
    expect(cut).toMatch(/flags:[^;]* tc[ ;]/);
    expect((await dig(port, '+bufsize=4096', '+short', 'long.example', 'TXT')).trim().split('\n')).toHaveLength(12);
    expect(service.counters()['truncated']).toBeGreaterThanOrEqual(2);
  });

  test.each([
    ['refused', 'REFUSED'],
    ['servfail', 'SERVFAIL'],
    ['nxdomain', 'NXDOMAIN'],
  ] as const)(
    'says %s as configured when nobody can answer, without upstreams and with dead ones',
    async (unanswerable, word) => {
      const silentOne = await fake(() => {});
      for (const upstreams of [[], [{ protocol: 'udp', endpoint: silentOne.endpoint } as const]]) {
        const { port, service } = await serviceOf({ resolver: { unanswerable, upstreams } });
        expect(await dig(port, 'www.example', 'A')).toMatch(new RegExp(`status: ${word}`));
        expect(await dig(port, 'web.internal', 'A')).toMatch(/status: NOERROR/);
        expect(service.counters()).toMatchObject({ answeredUnanswerable: 1 });
      }
    },
  );

  test('says nothing at all for unanswerable: timeout', async () => {
    const { port } = await serviceOf({ resolver: { unanswerable: 'timeout' } });
    expect(await dig(port, '+time=1', 'www.example', 'A')).toMatch(/timed out|no servers could be reached/);
  });

  test('gives a name that has no address left SERVFAIL, and keeps the others', async () => {
    const { port, service } = await serviceOf({ limits: { names: 2 } });
    expect(await dig(port, 'a.apps.internal', 'A')).toMatch(/status: NOERROR/);
    expect(await dig(port, 'b.apps.internal', 'A')).toMatch(/status: SERVFAIL/);
    expect(await dig(port, 'a.apps.internal', 'A')).toMatch(/status: NOERROR/);
    expect(service.counters()).toMatchObject({ poolExhausted: 1 });
  });

  test('answers EDNS version 1, class CH and a zone transfer as the RFCs say', async () => {
    const { port } = await serviceOf();
    expect(await dig(port, '+edns=1', '+noednsneg', 'web.internal', 'A')).toMatch(/status: BADVERS/);
    expect(await dig(port, 'version.bind', 'CH', 'TXT')).toMatch(/status: REFUSED/);
    expect(await dig(port, 'web.internal', 'AXFR')).toMatch(/Transfer failed/);
    expect(await dig(port, '+opcode=notify', 'web.internal', 'SOA')).toMatch(/status: NOTIMP/);
  });

  test('does not start when an upstream is its own listener, and leaves nothing open', async () => {
    const port = await freePort();
    const loop = {
      listen: listenOn(port),
      upstreams: [{ protocol: 'udp', endpoint: { address: '127.0.0.1', port } }],
    } as const;
    await expect(serviceOf({ resolver: loop })).rejects.toBeInstanceOf(LoopError);
    const any = {
      listen: listenOn(port, '0.0.0.0'),
      upstreams: [{ protocol: 'tcp', endpoint: { address: '127.3.2.1', port } }],
    } as const;
    await expect(serviceOf({ resolver: any })).rejects.toThrow(/one of Weir's own listeners/);
    await serviceOf({ resolver: { listen: listenOn(port) } });
  });
});

test(
  '10,000 fresh wildcard names asked for at once are all answered, each with its own address',
  { timeout: 60_000 },
  async () => {
    const { port, service, announced } = await serviceOf();
    const socket = createSocket({ type: 'udp4', recvBufferSize: 32 * 1024 * 1024 });
    const addresses = new Map<number, string>();
    socket.on('message', (message) => {
      const { id, answers } = packet.decode(message);
      addresses.set(id, String(answers[0]?.data));
    });
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    // Only root may have a receive queue that holds all of them; for others, a client that asks again is part of the plan.
    for (let round = 0; round < 20 && addresses.size < 10_000; round++) {
      for (let id = 0; id < 10_000; id++) {
        if (addresses.has(id)) continue;
        const query = encodeQuery(`h${id}.apps.internal`, 'A', true);
        query.writeUInt16BE(id, 0);
        socket.send(query, port, '127.0.0.1');
      }
      let seen = -1;
      while (seen !== addresses.size) {
        seen = addresses.size;
        await sleep(300);
      }
    }
    socket.close();
    expect(new Set(addresses.values()).size).toBe(10_000);
    expect(announced).toHaveLength(10_001);
    expect(service.status().names).toBe(10_001);
    for (const [id, address] of addresses) expect(service.nameOf(address)?.name).toBe(`h${id}.apps.internal`);
  },
);

describe('a reload', () => {
  test('ends names, keeps their addresses, and begins new ones; two services agree on configured names', async () => {
    const first = await serviceOf();
    const { ipv4 = '' } = first.announced[0] ?? {};
    await first.service.replaceMatcher(matcherOf('b.internal', 'a.internal'), ['b.internal', 'a.internal']);
    expect(await dig(first.port, 'web.internal', 'A')).toMatch(/status: REFUSED/);
    expect(first.service.nameOf(ipv4)).toEqual({ name: 'web.internal', patternIndex: -1 });
    expect(first.announced.slice(1)).toMatchObject([
      { name: 'a.internal', patternIndex: 1 },
      { name: 'b.internal', patternIndex: 0 },
    ]);
    const second = await serviceOf({
      matcher: matcherOf('a.internal', 'b.internal'),
      configuredNames: ['b.internal', 'a.internal'],
    });
    const of = (service: NameService) =>
      service
        .assignments()
        .filter(({ patternIndex }) => patternIndex >= 0)
        .map(({ name, ipv4: v4, ipv6: v6 }) => [name, v4, v6]);
    expect(of(second.service)).toEqual(of(first.service));
  });
});

describe('a look-up for a dial', () => {
  test('takes literals, the hosts file, then upstreams; never its own zone', async () => {
    const upstream = await dnsmasq('--host-record=web.internal,192.0.2.99,50', '--host-record=b.host,192.0.2.9');
    const { service, hostsPath } = await serviceOf({
      resolver: { upstreams: [upstream] },
      hosts: '192.0.2.7 B.host other # note\n2001:DB8::7\tother\nnonsense x\n',
    });
    const lookup = (name: string, family: 4 | 6 = 4) => service.lookup(name, family, { signal });
    expect(await lookup('192.0.2.1')).toMatchObject({ addresses: ['192.0.2.1'] });
    expect(await lookup('192.0.2.1', 6)).toMatchObject({ addresses: [] });
    expect(await lookup('2001:DB8:0::1', 6)).toMatchObject({ addresses: ['2001:db8::1'] });
    expect(await lookup('b.HOST.')).toEqual({ addresses: ['192.0.2.7'], ttl: 0 });
    expect(await lookup('other', 6)).toEqual({ addresses: ['2001:db8::7'], ttl: 0 });
    expect(await lookup('localhost', 6)).toEqual({ addresses: ['::1'], ttl: 0 });
    expect(await lookup('web.internal')).toEqual({ addresses: ['192.0.2.99'], ttl: 50 });
    expect(await lookup('real.example')).toEqual({ addresses: ['192.0.2.80'], ttl: 90 });
    await expect(lookup('bad name\r\n')).rejects.toMatchObject({ responseCode: 'FORMERR' });
    writeFileSync(hostsPath, '192.0.2.8 b.host\n192.0.2.88 real.example\n');
    expect((await lookup('b.host')).addresses).toEqual(['192.0.2.8']);
    expect((await lookup('real.example')).addresses).toEqual(['192.0.2.88']);
  });

  test('names of the hosts file are answered to clients too, after names of services', async () => {
    const { port, announced } = await serviceOf({ hosts: '192.0.2.7 box web.internal\n' });
    expect(await dig(port, 'box', 'A', '+short')).toBe('192.0.2.7\n');
    expect(await dig(port, 'box', 'AAAA')).toMatch(/status: NOERROR.*\n.*ANSWER: 0/);
    expect(await dig(port, 'web.internal', 'A', '+short')).toBe(`${announced[0]?.ipv4}\n`);
  });
});

describe('the self-test', () => {
  test('passes when the listeners answer, and leaves no trace of its name', async () => {
    const { service, port } = await serviceOf();
    expect(service.status().selfTest).toBe('off');
    await service.selfTest(signal);
    expect(service.status()).toMatchObject({ selfTest: 'passed', names: 1, reach: 'none' });
    expect(await dig(port, 'x.self-test.weir.internal', 'A')).toMatch(/status: REFUSED/);
  });

  test('fails with reason and remedy within its time when a listener is not Weir', async () => {
    const { service } = await serviceOf({ resolver: { ranges: [] } });
    await expect(service.selfTest(signal)).rejects.toThrow(/no range of a family/);
    expect(service.status()).toMatchObject({ selfTest: 'failed', selfTestReason: expect.stringMatching(/no range/) });
  });
});

test('the status tells where it listens, whom it asks, and what it has counted', async () => {
  const upstream = await dnsmasq();
  const { service, port } = await serviceOf({ resolver: { upstreams: ['system', upstream] } });
  await service.claimSystem(signal);
  const status = service.status();
  expect(status).toMatchObject({
    listen: [`udp://127.0.0.1:${port}`, `tcp://127.0.0.1:${port}`],
    reach: 'none',
    reachReason: 'the configuration says so',
    names: 1,
  });
  expect(status.upstreams.map(({ address }) => address)).toEqual(['192.0.2.53', '127.0.0.1']);
  expect(Object.values(status.counters).every((value) => Number.isSafeInteger(value))).toBe(true);
});
