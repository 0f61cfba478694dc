/** Streams to upstreams: with the bypass mark, or through a dialer, and TLS on top. Who gets one destroys it. */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { Dialer, DialTarget, Handshake, Route } from '../api/dialer.ts';
import { WeirError } from '../api/errors.ts';
import type { Endpoint } from '../api/flow.ts';
import { familyOf, isAddress } from '../capture/address.ts';
import { tlsModule } from '../sys/node-modules.ts';
import { openSocket } from '../sys/sockets.ts';
import { ExchangeError, failureOf } from './exchange.ts';

/** Bytes that an upstream behind a handshake may send before it is done. */
const MAX_HANDSHAKE_BYTES = 64 * 1024;

export interface StreamOptions {
  /** fwmark of the socket; 0 for none. */
  readonly mark: number;
  readonly signal: AbortSignal;
  /** Addresses of a name, through plain upstreams. */
  readonly resolve: (host: string, signal: AbortSignal) => Promise<readonly string[]>;
}

function connectTo(endpoint: Endpoint, { mark, signal }: StreamOptions): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const fd = openSocket({ family: familyOf(endpoint.address), protocol: 'tcp', mark });
    const socket = new Socket({ fd });
    const abort = (): void => {
      socket.destroy();
      reject(new ExchangeError('aborted', 'the connection was given up', signal.reason));
    };
    if (signal.aborted) return abort();
    signal.addEventListener('abort', abort, { once: true });
    socket.once('error', (error) => {
      signal.removeEventListener('abort', abort);
      socket.destroy();
      reject(failureOf(error));
    });
    socket.connect({ host: endpoint.address, port: endpoint.port }, () => {
      signal.removeEventListener('abort', abort);
      socket.removeAllListeners('error');
      socket.setNoDelay(true);
      resolve(socket);
    });
  });
}

/** Connects to a host that may be a name; tries its addresses in turn. */
async function connectToHost(host: string, port: number, options: StreamOptions): Promise<Socket> {
  const addresses = isAddress(host) ? [host] : await options.resolve(host, options.signal);
  let failure: unknown = new ExchangeError('error', `${host} has no address`);
  for (const address of addresses) {
    try {
      return await connectTo({ address, port }, options);
    } catch (error) {
      failure = error;
      if (options.signal.aborted) break;
    }
  }
  throw failure;
}

/** Plays a handshake on a stream. What the upstream sent beyond it is put back. */
async function shake(stream: Socket, handshake: Handshake, signal: AbortSignal): Promise<void> {
  let input: Buffer = Buffer.alloc(0);
  const chunks = stream.iterator({ destroyOnReturn: false });
  const abort = (): void => void stream.destroy();
  signal.addEventListener('abort', abort, { once: true });
  try {
    for (;;) {
      const { send, consumed, done } = handshake.step(input);
      input = input.subarray(consumed);
      if (send !== undefined && send.length > 0) stream.write(send);
      if (done) break;
      const next = await chunks.next();
      if (next.done === true) throw new Error('the proxy closed the connection');
      input = Buffer.concat([input, next.value as Buffer]);
      if (input.length > MAX_HANDSHAKE_BYTES) throw new Error('the proxy said too much');
    }
    await chunks.return?.();
    if (input.length > 0) stream.unshift(input);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

function routesOf(dialer: Extract<Dialer, { kind: 'route' | 'handshake' }>): readonly Route[] {
  const done = new AbortController();
  let routes: readonly Route[] = [];
  dialer.routes({ name: 'resolver', protocols: ['tcp'] }, (published) => (routes = published), done.signal);
  done.abort();
  return routes;
}

/** A stream to `endpoint` through a dialer. `endpoint.address` may be a name: the dialer's other side resolves it. */
async function dialThrough(dialer: Dialer, endpoint: Endpoint, options: StreamOptions): Promise<Duplex> {
  const { address, port } = endpoint;
  const target: DialTarget = {
    host: address,
    port,
    protocol: 'tcp',
    original: endpoint,
    source: { address: '127.0.0.1', port: 0 },
    service: 'resolver',
    flow: 'resolver',
  };
  if (dialer.kind === 'stream') {
    const dialed = await dialer.dial(target, { signal: options.signal });
    if ('stream' in dialed) return dialed.stream;
    const socket = new Socket({ fd: dialed.socket.fd });
    if (dialed.early !== undefined && dialed.early.length > 0) socket.unshift(dialed.early);
    return socket;
  }
  let failure: unknown = new ExchangeError('refused', 'the dialer has no route');
  for (const route of routesOf(dialer)) {
    let socket: Socket | undefined;
    try {
      socket = await connectToHost(route.host ?? address, route.port ?? port, options);
      if (dialer.kind === 'handshake') await shake(socket, dialer.handshake(target), options.signal);
      return socket;
    } catch (error) {
      socket?.destroy();
      failure = error;
      if (options.signal.aborted) break;
    }
  }
  throw failure;
}

/**
 * A connected stream to an upstream.
 * @throws ExchangeError.
 */
export async function openStream(
  endpoint: Endpoint,
  dialer: Dialer | undefined,
  options: StreamOptions,
): Promise<Duplex> {
  try {
    return dialer === undefined
      ? await connectToHost(endpoint.address, endpoint.port, options)
      : await dialThrough(dialer, endpoint, options);
  } catch (error) {
    if (error instanceof ExchangeError) throw error;
    if (options.signal.aborted) throw new ExchangeError('aborted', 'the connection was given up', error);
    if (error instanceof WeirError) throw new ExchangeError('error', error.problem, error);
    throw failureOf(error);
  }
}

export interface SecureOptions {
  /** What the certificate must be for: a name or an address. */
  readonly host: string;
  /** PEM; absent: the built-in authorities. */
  readonly ca?: string;
  readonly alpn: readonly string[];
  readonly signal: AbortSignal;
}

/** Node advises a flag of its own, which is no use to an operator. */
function certificateFailure(error: Error): ExchangeError {
  const [text = ''] = error.message.split('; if the root CA');
  if (text === error.message) return failureOf(error);
  return new ExchangeError('error', `${text} (is its authority named in "ca"?)`, error);
}

/** TLS over a stream, which it owns from then on. @throws ExchangeError. */
export function secure(stream: Duplex, { host, ca, alpn, signal }: SecureOptions): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = tlsModule().connect({
      socket: stream,
      host,
      ...(isAddress(host) ? {} : { servername: host }),
      ...(ca === undefined ? {} : { ca }),
      ALPNProtocols: [...alpn],
      minVersion: 'TLSv1.2',
    });
    const fail = (error: ExchangeError): void => {
      signal.removeEventListener('abort', abort);
      socket.destroy();
      stream.destroy();
      reject(error);
    };
    const abort = (): void => fail(new ExchangeError('aborted', 'the connection was given up', signal.reason));
    if (signal.aborted) return abort();
    signal.addEventListener('abort', abort, { once: true });
    socket.once('error', (error) => fail(certificateFailure(error)));
    socket.once('end', () => fail(new ExchangeError('error', 'the upstream closed the connection')));
    socket.once('secureConnect', () => {
      signal.removeEventListener('abort', abort);
      socket.removeAllListeners('error');
      socket.removeAllListeners('end');
      // Until its user listens; an error nobody listens to would end the process.
      socket.on('error', () => {});
      resolve(socket);
    });
  });
}
