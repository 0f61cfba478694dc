/** Upstreams over TLS and HTTPS, and through dialers. */
import { createServer, type Server, type Socket } from 'node:net';
import { connect } from 'node:net';
import packet from 'dns-packet';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { Dialer } from '../../src/api/dialer.ts';
import type { Endpoint } from '../../src/api/flow.ts';
import type { UpstreamConfiguration } from '../../src/config/model.ts';
import { createDnsCounters } from '../../src/dns/counters.ts';
import { frame, MessageReader } from '../../src/dns/stream-framing.ts';
import { encodeQuery } from '../../src/dns/upstream-message.ts';
import { Upstreams, type UpstreamsOptions } from '../../src/dns/upstreams.ts';
import { directDialer } from '../../src/dialers/direct.ts';
import { socks5Dialer } from '../../src/dialers/socks5.ts';
import { responseTo, silent } from './fixtures.ts';
import { certificateFor, httpsServer, tlsServer, type Certificate } from './secure-servers.ts';

let certificate: Certificate;
beforeAll(() => {
  certificate = certificateFor('DNS:dns.example,IP:127.0.0.1');
});

function upstreamsOf(servers: readonly UpstreamConfiguration[], options: Partial<UpstreamsOptions> = {}) {
  const counters = createDnsCounters();
  const upstreams = new Upstreams({
    servers: () => servers,
    mark: 0,
    isOwn: () => false,
    counters,
    timings: { attemptMs: 1000, totalMs: 2500, restMs: 60_000 },
    ...options,
  });
  onTestFinished(() => upstreams.close());
  const ask = async (name = 'a.example', signal = AbortSignal.timeout(10_000)) => {
    const query = encodeQuery(name, 'A', true);
    const response = await upstreams.ask(query, query.subarray(12), { transport: 'udp', signal });
    return packet.decode(response).answers[0]?.data;
  };
  return { upstreams, counters, ask };
}

/** The address says which name was asked for: `a7.example` is 192.0.2.7. */
function answer(query: Buffer): Buffer {
  const name = packet.decode(query).questions[0]?.name ?? '';
  const last = /\d+/.exec(name)?.[0] ?? '1';
  return responseTo(query, { answers: [{ type: 'A', name, ttl: 60, data: `192.0.2.${last}` }] });
}
const reply = (query: Buffer) => ({ body: answer(query) });

const tls = (endpoint: Endpoint, more: Partial<UpstreamConfiguration> = {}): UpstreamConfiguration => ({
  protocol: 'tls',
  endpoint,
  ca: certificate.ca,
  ...more,
});
const https = (endpoint: Endpoint, more: Partial<UpstreamConfiguration> = {}): UpstreamConfiguration => ({
  ...tls(endpoint, more),
  protocol: 'https',
  path: '/q',
});

describe('over TLS', () => {
  test('an upstream answers many queries at a time on one connection, in any order', async () => {
    let first = true;
    const { endpoint, connections } = await tlsServer(certificate, async (query) => {
      if (first) {
        first = false;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      return answer(query);
    });
    const { ask, upstreams } = upstreamsOf([tls(endpoint)]);
    const wanted = Array.from({ length: 60 }, (_, i) => i + 1);
    const got = await Promise.all(wanted.map((i) => ask(`a${i}.example`)));
    expect(got).toEqual(wanted.map((i) => `192.0.2.${i}`));
    expect(connections).toHaveLength(1);
    expect(upstreams.reports()).toMatchObject([
      { server: `tls://127.0.0.1:${endpoint.port}`, state: 'good', answers: 60 },
    ]);
  });

  test('the certificate must be of the name behind #, or of the address, and of a known authority', async () => {
    const { endpoint } = await tlsServer(certificate, answer);
    expect(await upstreamsOf([tls(endpoint, { serverName: 'dns.example' })]).ask()).toBe('192.0.2.1');
    expect(await upstreamsOf([tls(endpoint)]).ask()).toBe('192.0.2.1');
    await expect(upstreamsOf([tls(endpoint, { serverName: 'other.example' })]).ask()).rejects.toThrow(
      /tls:\/\/127\.0\.0\.1:\d+#other\.example: .*altnames/,
    );
    const { ca: _, ...trusting } = tls(endpoint);
    await expect(upstreamsOf([trusting]).ask()).rejects.toThrow(/certificate \(is its authority named in "ca"\?\)\./);
    await expect(upstreamsOf([tls(endpoint, { ca: '/nowhere.pem' })]).ask()).rejects.toThrow(
      /nowhere\.pem cannot be read/,
    );
  });

  test('a connection that the server ended is made anew, and what was under way fails over', async () => {
    const { endpoint, connections } = await tlsServer(certificate, answer);
    const { ask, counters } = upstreamsOf([tls(endpoint)]);
    await ask();
    connections[0]?.destroy();
    expect(await ask('a2.example')).toBe('192.0.2.2');
    expect(connections).toHaveLength(2);
    expect(counters.upstreamErrors).toBe(0);
  });

  test('a server that is silent, speaks nonsense or closes is an error in time, and the next one is asked', async () => {
    const mute = createServer(() => {});
    const babbling = createServer((socket) => socket.on('error', () => {}).end('HTTP/1.0 200 OK\r\n\r\n'));
    const good = await tlsServer(certificate, answer);
    for (const server of [mute, babbling]) {
      const endpoint = await listening(server);
      const { ask, upstreams } = upstreamsOf([tls(endpoint), tls(good.endpoint)], {
        timings: { attemptMs: 300, totalMs: 2000 },
      });
      expect(await ask()).toBe('192.0.2.1');
      expect(upstreams.reports()[0]).toMatchObject({ state: 'resting', answers: 0 });
    }
  });

  test('an answer to another question is not taken', async () => {
    const { endpoint } = await tlsServer(certificate, (query) => {
      const other = answer(query);
      other[13] = (other[13] as number) ^ 1;
      return other;
    });
    const { ask, counters } = upstreamsOf([tls(endpoint)], { timings: { attemptMs: 200, totalMs: 500 } });
    await expect(ask()).rejects.toThrow(/no answer within 200 ms/);
    expect(counters.upstreamMismatched).toBeGreaterThan(0);
  });

  test('who gives up takes nobody along', async () => {
    const { endpoint } = await tlsServer(certificate, async (query) => {
      await new Promise((resolve) => setTimeout(resolve, 150));
      return answer(query);
    });
    const { ask } = upstreamsOf([tls(endpoint)]);
    const abort = new AbortController();
    const given = ask('a1.example', abort.signal);
    const kept = ask('a2.example');
    setTimeout(() => abort.abort(), 20);
    await expect(given).rejects.toMatchObject({ failure: 'aborted' });
    expect(await kept).toBe('192.0.2.2');
  });

  test('a server given by name is found by the plain upstreams', async () => {
    const { endpoint } = await tlsServer(certificate, answer);
    const named = tls({ address: 'dns.example', port: endpoint.port });
    const asked: string[] = [];
    const resolve = async (host: string) => {
      asked.push(host);
      return ['127.0.0.1'];
    };
    expect(await upstreamsOf([named], { resolve }).ask()).toBe('192.0.2.1');
    expect(asked).toEqual(['dns.example']);
    await expect(upstreamsOf([named], { resolve: async () => [] }).ask()).rejects.toThrow(
      /dns\.example has no address/,
    );
  });
});

describe.each([
  ['HTTP/2', true, '2.0'],
  ['HTTP/1.1', false, '1.1'],
])('over HTTPS with %s', (_, http2, version) => {
  test('an upstream answers, on connections that are kept', async () => {
    const { endpoint, requests, sockets } = await httpsServer(certificate, reply, { http2 });
    const { ask } = upstreamsOf([https(endpoint, { serverName: 'dns.example' })]);
    const wanted = Array.from({ length: 30 }, (_each, i) => i + 1);
    expect(await Promise.all(wanted.map((i) => ask(`a${i}.example`)))).toEqual(wanted.map((i) => `192.0.2.${i}`));
    for (let i = 1; i < 5; i++) await ask(`a${i}.example`);
    expect(requests).toHaveLength(34);
    expect(new Set(requests.map((one) => JSON.stringify(one)))).toEqual(
      new Set([
        JSON.stringify({
          version,
          path: '/q',
          type: 'application/dns-message',
          host: `dns.example:${endpoint.port}`,
        }),
      ]),
    );
    // One that told which protocol is spoken, and those that are kept.
    expect(sockets.size).toBeLessThanOrEqual(http2 ? 1 : 9);
  });

  test('what is no answer is an error with the reason', async () => {
    const wrong = (query: Buffer) => {
      const other = answer(query);
      other[13] = (other[13] as number) ^ 1;
      return other;
    };
    for (const [react, reason] of [
      [(query: Buffer) => ({ status: 503, body: answer(query) }), /HTTP status 503/],
      [(query: Buffer) => ({ type: 'text/html', body: answer(query) }), /answered with text\/html/],
      [(query: Buffer) => ({ body: wrong(query) }), /answered something else/],
      [() => ({ body: Buffer.alloc(5) }), /answered something else/],
      [() => ({ body: Buffer.alloc(200_000) }), /larger than a DNS message/],
      [() => undefined, /no answer within/],
    ] as const) {
      const { endpoint } = await httpsServer(certificate, react, { http2 });
      const { ask } = upstreamsOf([https(endpoint)], { timings: { attemptMs: 400, totalMs: 800 } });
      await expect(ask()).rejects.toThrow(reason);
    }
  });

  test('a connection that the server ended is made anew', async () => {
    const { endpoint, sockets, sessions } = await httpsServer(certificate, reply, { http2 });
    const { ask } = upstreamsOf([https(endpoint)]);
    await ask();
    for (const session of sessions) session.destroy();
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await ask('a3.example')).toBe('192.0.2.3');
  });
});

async function listening(server: Server): Promise<Endpoint> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => sockets.add(socket));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { address: '127.0.0.1', port: (server.address() as { port: number }).port };
}

/** A DNS server over plain TCP. */
function tcpServer(): Promise<Endpoint> {
  return listening(
    createServer((socket) => {
      const reader = new MessageReader();
      socket.on('error', () => {});
      socket.on('data', (chunk: Buffer) => {
        reader.push(chunk);
        for (let query = reader.next(); query !== undefined; query = reader.next()) socket.write(frame(answer(query)));
      });
    }),
  );
}

/** RFC 1928 without authentication; connects to loopback whatever address is asked for, and remembers that. */
async function socksServer(asked: string[]): Promise<Endpoint> {
  return listening(
    createServer((client) => {
      client.on('error', () => {});
      client.once('data', () => {
        client.write(Buffer.from([5, 0]));
        client.once('data', (request: Buffer) => {
          const [, , , type = 0, length = 0] = request;
          const host = type === 3 ? request.toString('latin1', 5, 5 + length) : [...request.subarray(4, 8)].join('.');
          const port = request.readUInt16BE(request.length - 2);
          asked.push(`${host}:${port}`);
          const server = connect(port, '127.0.0.1', () => {
            client.write(Buffer.from([5, 0, 0, 1, 127, 0, 0, 1, 0, 1]));
            client.pipe(server).pipe(client);
          });
          server.on('error', () => client.destroy());
          client.on('close', () => server.destroy());
        });
      });
    }),
  );
}

describe('through a dialer', () => {
  const context = { name: 'd', log: silent, bypassMark: 0 };

  test('that takes everything elsewhere, plain upstreams are asked over TCP there', async () => {
    const { address: host, port } = await tcpServer();
    const dialer = () => directDialer.create({ to: { host, port } }, context);
    for (const protocol of ['udp', 'tcp'] as const) {
      const server = { protocol, endpoint: { address: '192.0.2.53', port: 53 }, dialer: 'd' };
      const { ask } = upstreamsOf([server], { dialer });
      expect(await ask('a7.example')).toBe('192.0.2.7');
      expect(await ask('a8.example')).toBe('192.0.2.8');
    }
  });

  test('with a handshake, plain, TLS and HTTPS upstreams are reached by address or by name', async () => {
    const asked: string[] = [];
    const proxy = await socksServer(asked);
    const options = { address: { host: proxy.address, port: proxy.port } };
    const dialer = () => socks5Dialer.create(options, context);
    const [plain, secure, web] = await Promise.all([
      tcpServer(),
      tlsServer(certificate, answer),
      httpsServer(certificate, reply),
    ]);
    const servers: readonly UpstreamConfiguration[] = [
      { protocol: 'udp', endpoint: { address: '192.0.2.53', port: plain.port }, dialer: 'd' },
      tls({ address: '192.0.2.54', port: secure.endpoint.port }, { serverName: 'dns.example', dialer: 'd' }),
      https({ address: 'dns.example', port: web.endpoint.port }, { dialer: 'd' }),
    ];
    for (const server of servers) expect(await upstreamsOf([server], { dialer }).ask('a5.example')).toBe('192.0.2.5');
    expect(asked).toEqual([
      `192.0.2.53:${plain.port}`,
      `192.0.2.54:${secure.endpoint.port}`,
      // The proxy's side resolves it.
      `dns.example:${web.endpoint.port}`,
    ]);
  });

  test('that gives a stream of its own', async () => {
    const { port } = await tcpServer();
    const dialer = (): Dialer => ({
      kind: 'stream',
      dial: async () => ({ stream: connect(port, '127.0.0.1') }),
      close: async () => {},
    });
    const server = { protocol: 'tcp', endpoint: { address: '192.0.2.53', port: 53 }, dialer: 'd' } as const;
    expect(await upstreamsOf([server], { dialer }).ask('a9.example')).toBe('192.0.2.9');
  });

  test('that is not there, has no route or refuses is an error with the reason', async () => {
    const server = { protocol: 'tcp', endpoint: { address: '192.0.2.53', port: 53 }, dialer: 'd' } as const;
    const refusing = await listening(
      createServer((socket) => socket.on('error', () => {}).end(Buffer.from([5, 0xff]))),
    );
    for (const [dialer, reason] of [
      [() => undefined, /there is no dialer d/],
      [
        () => ({ kind: 'route', routes: (_service, publish) => publish([]) }) satisfies Dialer,
        /the dialer has no route/,
      ],
      [
        () => socks5Dialer.create({ address: { host: refusing.address, port: refusing.port } }, context),
        /SOCKS5|proxy|authentication/i,
      ],
    ] as ReadonlyArray<readonly [() => Dialer | undefined, RegExp]>) {
      await expect(upstreamsOf([server], { dialer }).ask()).rejects.toThrow(reason);
    }
  });
});
