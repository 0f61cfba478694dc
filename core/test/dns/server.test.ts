import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import packet from 'dns-packet';
import { afterEach, describe, expect, test } from 'vitest';
import { NotPermittedError, WeirError } from '../../src/api/errors.ts';
import type { Protocol } from '../../src/api/flow.ts';
import { createDnsCounters } from '../../src/dns/counters.ts';
import { encodeAnswer, parseQuery } from '../../src/dns/message.ts';
import { DnsServer, type DnsServerOptions } from '../../src/dns/server.ts';
import { frame, MessageReader } from '../../src/dns/stream-framing.ts';
import { encodeQuery } from '../../src/dns/upstream-message.ts';
import { dig, freePort, listenOn } from './fixtures.ts';

const open: DnsServer[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()));
});

/** Answers every A query with 192.0.2.1. */
function refuse(message: Buffer): Buffer | undefined {
  const parsed = parseQuery(message);
  if (parsed.kind === 'reject') return parsed.response;
  const { name, type } = parsed.query;
  const records = type === 'A' ? [{ name, type, ttl: 5, data: '192.0.2.1' }] : [];
  return encodeAnswer(parsed.query, { code: 'NOERROR', records }, 65_535);
}

async function serve(options: Partial<DnsServerOptions> = {}) {
  const counters = createDnsCounters();
  const server = new DnsServer({
    listen: listenOn(0),
    mark: 0,
    counters,
    respond: (message) => Promise.resolve(refuse(message)),
    ...options,
  });
  open.push(server);
  await server.start();
  const port = (protocol: Protocol): number =>
    server.listening.find((one) => one.protocol === protocol)?.endpoint.port ?? 0;
  return { server, counters, udp: port('udp'), tcp: port('tcp') };
}

function queryWithId(id: number, name = 'a.example'): Buffer {
  const query = encodeQuery(name, 'A', true);
  query.writeUInt16BE(id, 0);
  return query;
}

async function client(port: number): Promise<{ socket: Socket; next: () => Promise<Buffer | undefined> }> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  socket.on('error', () => {});
  await once(socket, 'connect');
  const reader = new MessageReader();
  const waiting: Array<() => void> = [];
  const wake = () => waiting.splice(0).forEach((one) => one());
  socket.on('data', (chunk: Buffer) => {
    reader.push(chunk);
    wake();
  });
  let ended = false;
  const finish = () => {
    ended = true;
    wake();
  };
  socket.on('end', finish).on('close', finish);
  return {
    socket,
    async next() {
      for (;;) {
        const message = reader.next();
        if (message !== undefined || ended) return message;
        await new Promise<void>((resolve) => waiting.push(resolve));
      }
    },
  };
}

test('dig is answered over UDP and TCP, IPv4 and IPv6, with the letters it sent', async () => {
  const { udp, tcp } = await serve({ listen: [...listenOn(0), ...listenOn(0, '::1')] });
  expect(await dig(udp, 'WwW.eXample', 'A')).toMatch(/WwW\.eXample\.\s+5\s+IN\s+A\s+192\.0\.2\.1/);
  expect(await dig(tcp, '+tcp', 'www.example', 'A')).toMatch(/192\.0\.2\.1/);
  const server = open[0];
  const six = server?.listening.find(({ protocol, endpoint }) => protocol === 'udp' && endpoint.address === '::1');
  expect(await dig(0, '@::1', '-p', String(six?.endpoint.port), 'www.example', 'A')).toMatch(/192\.0\.2\.1/);
});

test('noise on the UDP port gets no answer and does no harm', async () => {
  const { udp } = await serve();
  const socket = createSocket('udp4');
  for (let length = 0; length < 12; length++) socket.send(Buffer.alloc(length, 0xff), udp, '127.0.0.1');
  socket.send(queryWithId(7), udp, '127.0.0.1');
  const [answer] = (await once(socket, 'message')) as [Buffer];
  expect(answer.readUInt16BE(0)).toBe(7);
  socket.close();
});

test('clients that ask in turn, from two addresses and two ports, each get the answers to their own queries', async () => {
  const { udp } = await serve({ listen: listenOn(0, '0.0.0.0') });
  const got: number[][] = [[], [], []];
  const sockets = ['127.0.0.1', '127.0.0.2', '127.0.0.2'].map((address, n) => {
    const socket = createSocket('udp4').bind(0, address);
    socket.on('message', (message) => got[n]?.push(message.readUInt16BE(0)));
    return { socket };
  });
  for (let id = 0; id < 30; id++) {
    const { socket } = sockets[id % 3] ?? {};
    socket?.send(queryWithId(id), udp, '127.0.0.1');
  }
  await expect.poll(() => got.flat().length).toBe(30);
  for (const [n, ids] of got.entries()) expect(ids.every((id) => id % 3 === n)).toBe(true);
  for (const { socket } of sockets) socket.close();
});

test.each(['127.0.0.1', '::1'])(
  'a burst at %s: answers at once and later, each to its own query and client',
  async (host) => {
    const shared = Buffer.alloc(512);
    const { udp } = await serve({
      listen: listenOn(0, host),
      // Bytes that hold until the next query, as the table of known answers gives them.
      respondAtOnce: (message) => {
        if (message.readUInt16BE(0) % 2 === 1) return undefined;
        const answer = refuse(message) ?? Buffer.alloc(0);
        return shared.subarray(0, answer.copy(shared));
      },
      respond: async (message) => {
        await sleep(1);
        return refuse(message);
      },
    });
    const got: number[][] = [[], []];
    const sockets = got.map((ids) => {
      const socket = createSocket(host === '::1' ? 'udp6' : 'udp4').bind(0, host);
      socket.on('message', (message) => {
        const { id, questions } = packet.decode(message);
        if (questions?.[0]?.name === `q${id}.example`) ids.push(id ?? -1);
      });
      return socket;
    });
    for (let id = 0; id < 200; id++) {
      const socket = sockets[id % 4 < 2 ? 0 : 1];
      socket?.send(queryWithId(id, `q${id}.example`), udp, host);
      if (id % 10 === 0) socket?.send(Buffer.alloc(9000, 0xff), udp, host);
    }
    await expect.poll(() => got.flat().length).toBe(200);
    for (const [n, ids] of got.entries()) expect(ids.every((id) => (id % 4 < 2 ? 0 : 1) === n)).toBe(true);
    for (const socket of sockets) socket.close();
  },
);

test('over the limit of queries in flight UDP queries are dropped and counted', async () => {
  const release: Array<() => void> = [];
  const { server, counters, udp } = await serve({
    limits: { inFlight: 2 },
    respond: async (message) => {
      await new Promise<void>((resolve) => release.push(resolve));
      return refuse(message);
    },
  });
  const socket = createSocket('udp4');
  const ids: number[] = [];
  socket.on('message', (message) => ids.push(message.readUInt16BE(0)));
  for (let id = 1; id <= 5; id++) socket.send(queryWithId(id), udp, '127.0.0.1');
  await expect.poll(() => counters.inFlightLimitHits).toBe(3);
  expect(server.inFlight).toBe(2);
  release.splice(0).forEach((one) => one());
  await expect.poll(() => ids.toSorted((x, y) => x - y)).toEqual([1, 2]);
  expect(server.inFlight).toBe(0);
  socket.close();
});

describe('a TCP connection', () => {
  test('carries many queries at once, split and joined as they come, answered as they are ready', async () => {
    const { tcp } = await serve({
      respond: async (message) => {
        if (message.readUInt16BE(0) % 2 === 0) await sleep(50);
        return refuse(message);
      },
    });
    const { socket, next } = await client(tcp);
    const all = Buffer.concat(Array.from({ length: 100 }, (_, id) => frame(queryWithId(id))));
    for (let at = 0; at < all.length; at += 97) socket.write(all.subarray(at, at + 97));
    const ids = new Set<number>();
    while (ids.size < 100) ids.add((await next())?.readUInt16BE(0) ?? -1);
    expect(ids.has(-1)).toBe(false);
    socket.destroy();
  });

  test('whose client closes its side after the query still gets the answer, then ends', async () => {
    const { tcp } = await serve({ respond: (message) => sleep(50).then(() => refuse(message)) });
    const { socket, next } = await client(tcp);
    socket.end(Buffer.concat([frame(queryWithId(1)), frame(queryWithId(2)), Buffer.from([0])]));
    expect((await next())?.readUInt16BE(0)).toBe(1);
    expect((await next())?.readUInt16BE(0)).toBe(2);
    expect(await next()).toBeUndefined();
  });

  test('with a message too short for a header is closed', async () => {
    const { tcp } = await serve();
    const { socket, next } = await client(tcp);
    socket.write(Buffer.from([0, 3, 1, 2, 3]));
    expect(await next()).toBeUndefined();
  });

  test('that says nothing, or says it byte by byte, is closed when it has been idle', async () => {
    const { tcp, counters } = await serve({ limits: { tcpIdleMs: 300 } });
    const [quiet, slow] = [await client(tcp), await client(tcp)];
    const drip = setInterval(() => slow.socket.write(Buffer.from([0])), 60);
    slow.socket.write(Buffer.from([1, 0]));
    expect(await quiet.next()).toBeUndefined();
    expect(await slow.next()).toBeUndefined();
    clearInterval(drip);
    expect(counters.tcpIdleClosed).toBe(2);
  });

  test('beyond the limit is closed at once and counted; the others work on', async () => {
    const { tcp, counters } = await serve({ limits: { tcpConnections: 2 } });
    const clients = [await client(tcp), await client(tcp), await client(tcp)];
    expect(await clients[2]?.next()).toBeUndefined();
    clients[0]?.socket.write(frame(queryWithId(9)));
    expect((await clients[0]?.next())?.readUInt16BE(0)).toBe(9);
    expect(counters).toMatchObject({ tcpConnectionLimitHits: 1, tcpConnections: 2 });
    clients.forEach(({ socket }) => socket.destroy());
  });

  test('whose client never reads its answers is not read any further', async () => {
    let asked = 0;
    const filler = Array.from({ length: 900 }, (_, i) => ({
      name: 'x',
      type: 'A',
      ttl: 1,
      data: `10.0.${i >> 8}.${i & 255}`,
    }));
    const { tcp } = await serve({
      limits: { tcpIdleMs: 60_000 },
      respond: (message) => {
        asked++;
        const parsed = parseQuery(message);
        if (parsed.kind === 'reject') return Promise.resolve(parsed.response);
        return Promise.resolve(encodeAnswer(parsed.query, { code: 'NOERROR', records: filler }, 65_535));
      },
    });
    const socket = connect({ port: tcp, host: '127.0.0.1' });
    await once(socket, 'connect');
    socket.pause();
    const burst = Buffer.concat(Array.from({ length: 5000 }, (_, id) => frame(queryWithId(id))));
    socket.write(burst);
    let before = -1;
    while (asked !== before) {
      before = asked;
      await sleep(200);
    }
    // 5000 answers of 16 KiB would be 80 MB; what the kernel and 256 KiB hold is far less.
    expect(asked).toBeGreaterThan(0);
    expect(asked).toBeLessThan(2500);
    socket.destroy();
  });
});

describe('an endpoint that cannot be had', () => {
  test.each(['udp', 'tcp'] as const)(
    'because another holds it (%s) is named, with the way to find out who',
    async (protocol) => {
      const port = await freePort();
      await serve({ listen: listenOn(port) });
      const second = new DnsServer({
        listen: [{ protocol, endpoint: { address: '127.0.0.1', port } }],
        mark: 0,
        counters: createDnsCounters(),
        respond: () => Promise.resolve(undefined),
      });
      const failure = await second.start().then(
        () => undefined,
        (error: unknown) => error,
      );
      expect(failure).toBeInstanceOf(WeirError);
      expect(failure).toMatchObject({ code: 'WEIR_LISTEN' });
      expect(String(failure)).toMatch(
        new RegExp(`${protocol}://127\\.0\\.0\\.1:${port}.*ss -lntup 'sport = :${port}'`),
      );
    },
  );

  test('leaves none of the others open', async () => {
    const [taken, free] = [await freePort(), await freePort()];
    await serve({ listen: listenOn(taken) });
    await expect(serve({ listen: [...listenOn(free), ...listenOn(taken)] })).rejects.toThrow(/another process holds/);
    const again = await serve({ listen: listenOn(free) });
    expect(again.udp).toBe(free);
  });

  test('because the host does not have the address says so', async () => {
    await expect(serve({ listen: listenOn(0, '192.0.2.77') })).rejects.toThrow(/does not have that address/);
  });
});

test('the error for a port without permission says what is needed', async () => {
  const { listenFailure } = await import('../../src/dns/listen-failure.ts');
  const cause = new NotPermittedError({ problem: 'bind() was refused with EACCES.', remedy: 'x' });
  const failure = listenFailure({ protocol: 'udp', endpoint: { address: '127.0.0.1', port: 53 } }, cause);
  expect(failure).toBeInstanceOf(NotPermittedError);
  expect(failure.remedy).toMatch(/CAP_NET_BIND_SERVICE/);
});

test('closing ends connections, frees the ports and may be done twice', async () => {
  const { server, udp, tcp } = await serve();
  const { next } = await client(tcp);
  await server.close();
  await server.close();
  expect(await next()).toBeUndefined();
  const again = await serve({
    listen: [
      { protocol: 'udp', endpoint: { address: '127.0.0.1', port: udp } },
      { protocol: 'tcp', endpoint: { address: '127.0.0.1', port: tcp } },
    ],
  });
  expect([again.udp, again.tcp]).toEqual([udp, tcp]);
});

test('dns-packet reads what the server sends over TCP', async () => {
  const { tcp } = await serve();
  const { socket, next } = await client(tcp);
  socket.write(frame(queryWithId(77)));
  expect(packet.decode((await next()) ?? Buffer.alloc(0))).toMatchObject({ id: 77, answers: [{ data: '192.0.2.1' }] });
  socket.destroy();
});
