/** DNS servers over TLS and HTTPS on loopback, with certificates of an authority that only the test knows. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createSecureServer, type ServerHttp2Session } from 'node:http2';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo, Server, Socket } from 'node:net';
import { createServer as createTls, type TLSSocket } from 'node:tls';
import { onTestFinished } from 'vitest';
import type { Endpoint } from '../../src/api/flow.ts';
import { frame, MessageReader } from '../../src/dns/stream-framing.ts';
import { TemporaryDirectory } from './fixtures.ts';

export interface Certificate {
  readonly key: string;
  readonly cert: string;
  /** Path of the authority's own certificate. */
  readonly ca: string;
}

const directory = new TemporaryDirectory();
process.once('exit', () => directory[Symbol.dispose]());
let count = 0;

/** A fresh authority, and a certificate of it for these names: `DNS:dns.example,IP:127.0.0.1`. */
export function certificateFor(names: string): Certificate {
  const path = (suffix: string) => directory.file(`${count}.${suffix}`);
  count++;
  const openssl = (...args: readonly string[]) => execFileSync('openssl', args, { stdio: 'pipe' });
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  openssl('req', '-x509', ...curve, '-keyout', path('ca.key'), '-out', path('ca'), '-days', '2', '-subj', '/CN=test');
  openssl('req', ...curve, '-keyout', path('key'), '-out', path('csr'), '-subj', '/CN=server');
  writeFileSync(path('ext'), `subjectAltName=${names}\n`);
  const authority = ['-CA', path('ca'), '-CAkey', path('ca.key'), '-CAcreateserial'];
  openssl('x509', '-req', '-in', path('csr'), ...authority, '-out', path('crt'), '-days', '2', '-extfile', path('ext'));
  return { key: readFileSync(path('key'), 'utf8'), cert: readFileSync(path('crt'), 'utf8'), ca: path('ca') };
}

/** Answers a query, now or later; undefined answers nothing. */
export type Respond = (query: Buffer) => Buffer | Promise<Buffer> | undefined;

async function listening(server: Server): Promise<Endpoint> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { address: '127.0.0.1', port: (server.address() as AddressInfo).port };
}

/** Over TLS; `connections` are those that were accepted, in order. */
export async function tlsServer({ key, cert }: Certificate, respond: Respond) {
  const connections: TLSSocket[] = [];
  const server = createTls({ key, cert, ALPNProtocols: ['dot'] }, (socket) => {
    connections.push(socket);
    const reader = new MessageReader();
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      reader.push(chunk);
      for (let query = reader.next(); query !== undefined; query = reader.next()) {
        const response = respond(Buffer.from(query));
        if (response !== undefined) void Promise.resolve(response).then((bytes) => socket.write(frame(bytes)));
      }
    });
  });
  server.on('tlsClientError', () => {});
  onTestFinished(() => {
    for (const one of connections) one.destroy();
    server.close();
  });
  return { endpoint: await listening(server), connections };
}

export interface HttpsRequest {
  readonly version: string;
  readonly path: string;
  readonly type: string | undefined;
  readonly host: string | undefined;
}

/** Over HTTPS, with HTTP/2 or without. */
export async function httpsServer(
  { key, cert }: Certificate,
  respond: (query: Buffer) => { readonly status?: number; readonly type?: string; readonly body: Buffer } | undefined,
  { http2 = true } = {},
) {
  const requests: HttpsRequest[] = [];
  const sockets = new Set<Socket>();
  const sessions = new Set<ServerHttp2Session>();
  const options = { key, cert, allowHTTP1: true };
  const server = http2 ? createSecureServer(options) : createHttps(options);
  server.on('secureConnection', (socket: Socket) => sockets.add(socket));
  server.on('tlsClientError', () => {});
  server.on('session', (session: ServerHttp2Session) => sessions.add(session));
  server.on(
    'request',
    (request: import('node:http2').Http2ServerRequest, response: import('node:http2').Http2ServerResponse) => {
      const { headers, httpVersion: version, url } = request;
      requests.push({
        version,
        path: url,
        type: headers['content-type'],
        host: headers.host ?? (headers[':authority'] as string | undefined),
      });
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const answer = respond(Buffer.concat(chunks));
        if (answer === undefined) return;
        response.writeHead(answer.status ?? 200, { 'content-type': answer.type ?? 'application/dns-message' });
        response.end(answer.body);
      });
    },
  );
  onTestFinished(() => {
    for (const session of sessions) session.destroy();
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { endpoint: await listening(server), requests, sockets, sessions };
}
