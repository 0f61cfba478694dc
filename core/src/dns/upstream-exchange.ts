/** One query to one upstream, in whichever way it is asked; holds the connections that outlive a query. */
import { readFileSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { Dialer } from '../api/dialer.ts';
import type { Endpoint, Protocol } from '../api/flow.ts';
import type { UpstreamConfiguration } from '../config/model.ts';
import type { DnsCounters } from './counters.ts';
import { ExchangeError, exchange, unlessAborted } from './exchange.ts';
import { HttpsClient } from './https-exchange.ts';
import { formatEndpoint } from './listen-failure.ts';
import { isTruncated } from './message.ts';
import { StreamConnection } from './stream-connection.ts';
import { serverName } from './upstream-health.ts';
import { openStream, secure } from './upstream-socket.ts';

/** Connections to one server for queries that are pipelined. */
const CONNECTIONS = 4;
/** Milliseconds for a connection that several queries wait for. */
const CONNECT_MS = 5000;

export interface UpstreamExchangesOptions {
  /** fwmark of every socket; 0 for none. */
  readonly mark: number;
  readonly counters: DnsCounters;
  /** The dialer of a name; undefined: there is none (`direct` needs none). */
  readonly dialer: (name: string) => Dialer | undefined;
  /** Addresses of a name, through plain upstreams. */
  readonly resolve: (host: string, signal: AbortSignal) => Promise<readonly string[]>;
}

export interface ExchangeRequest {
  readonly query: Uint8Array;
  readonly questionBytes: Buffer;
  /** How the client asked; a `udp` server is asked in the same way. */
  readonly transport: Protocol;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** Asks a `udp` server that cut its answer again over TCP. */
  readonly wantWhole: boolean;
}

/** The connections to one server. */
interface Pool {
  readonly open: Set<StreamConnection>;
  opening: Promise<StreamConnection> | undefined;
}

export class UpstreamExchanges {
  readonly #options: UpstreamExchangesOptions;
  readonly #pools = new Map<string, Pool>();
  readonly #https = new Map<string, HttpsClient>();
  #closed = false;

  constructor(options: UpstreamExchangesOptions) {
    this.#options = options;
  }

  /**
   * @returns the response as it came.
   * @throws ExchangeError within `timeoutMs`.
   */
  async ask(server: UpstreamConfiguration, request: ExchangeRequest): Promise<Buffer> {
    const direct = server.dialer === undefined || server.dialer === 'direct';
    if (direct && (server.protocol === 'udp' || server.protocol === 'tcp')) return this.#askPlain(server, request);
    const timeout = new AbortController();
    const timer = setTimeout(() => timeout.abort(), request.timeoutMs);
    const signal = AbortSignal.any([request.signal, timeout.signal]);
    try {
      if (server.protocol === 'https') {
        return await this.#httpsClient(server).ask(request.query, request.questionBytes, signal);
      }
      return await this.#askStream(server, request, signal);
    } catch (error) {
      if (timeout.signal.aborted && !request.signal.aborted) {
        throw new ExchangeError('timeout', `no answer within ${Math.round(request.timeoutMs)} ms`, error);
      }
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends all connections. */
  close(): void {
    this.#closed = true;
    for (const { open } of this.#pools.values()) for (const connection of open) connection.close();
    for (const client of this.#https.values()) client.close();
  }

  async #askPlain({ protocol, endpoint }: UpstreamConfiguration, request: ExchangeRequest): Promise<Buffer> {
    const { query, questionBytes, transport, timeoutMs, signal, wantWhole } = request;
    const over = (way: Protocol): Promise<Buffer> =>
      exchange(query, questionBytes, {
        upstream: endpoint,
        transport: way,
        mark: this.#options.mark,
        timeoutMs,
        signal,
        onMismatch: () => this.#options.counters.upstreamMismatched++,
      });
    if (protocol === 'tcp') return over('tcp');
    if (transport === 'udp') {
      const response = await over('udp');
      return wantWhole && isTruncated(response) ? over('tcp') : response;
    }
    try {
      return await over('tcp');
    } catch (error) {
      if (!(error instanceof ExchangeError) || error.failure !== 'refused') throw error;
    }
    // A server that speaks UDP only; what it cut cannot be had whole.
    const response = await over('udp');
    if (isTruncated(response)) throw new ExchangeError('refused', 'the answer needs TCP, which the server refuses');
    return response;
  }

  async #askStream(server: UpstreamConfiguration, request: ExchangeRequest, signal: AbortSignal): Promise<Buffer> {
    const { query, questionBytes } = request;
    for (;;) {
      const connection = await unlessAborted(this.#connection(server), signal);
      const reused = connection.answers > 0;
      try {
        return await connection.ask(query, questionBytes, signal);
      } catch (error) {
        // The server may have ended an idle connection just now (RFC 7766 6.2.4).
        if (!reused || !(error instanceof ExchangeError) || error.failure === 'aborted') throw error;
      }
    }
  }

  #connection(server: UpstreamConfiguration): Promise<StreamConnection> {
    const name = `${serverName(server)} ${server.dialer ?? ''}`;
    let pool = this.#pools.get(name);
    if (pool === undefined) this.#pools.set(name, (pool = { open: new Set(), opening: undefined }));
    const { open } = pool;
    for (const connection of open) if (connection.usable) return Promise.resolve(connection);
    if (pool.opening !== undefined) return pool.opening;
    if (open.size >= CONNECTIONS) {
      return Promise.reject(new ExchangeError('error', 'all connections to the upstream are busy'));
    }
    const mine = pool;
    const run = async (): Promise<StreamConnection> => {
      try {
        const signal = AbortSignal.timeout(CONNECT_MS);
        const stream =
          server.protocol === 'tls' ? await this.#secure(server, ['dot'], signal) : await this.#stream(server, signal);
        const connection: StreamConnection = new StreamConnection(
          stream,
          () => this.#options.counters.upstreamMismatched++,
          () => open.delete(connection),
        );
        open.add(connection);
        if (this.#closed) connection.close();
        return connection;
      } finally {
        mine.opening = undefined;
      }
    };
    pool.opening = run();
    return pool.opening;
  }

  #httpsClient(server: UpstreamConfiguration): HttpsClient {
    const name = `${serverName(server)} ${server.dialer ?? ''}`;
    let client = this.#https.get(name);
    if (client === undefined) {
      const { endpoint, serverName: host, path = '/dns-query' } = server;
      client = new HttpsClient({
        authority: authorityOf({ address: host ?? endpoint.address, port: endpoint.port }),
        path,
        connect: (alpn, signal) => this.#secure(server, alpn, signal),
      });
      this.#https.set(name, client);
    }
    return client;
  }

  async #secure(server: UpstreamConfiguration, alpn: readonly string[], signal: AbortSignal): Promise<TLSSocket> {
    const stream = await this.#stream(server, signal);
    let ca: string | undefined;
    try {
      ca = server.ca === undefined ? undefined : readFileSync(server.ca, 'utf8');
    } catch (error) {
      stream.destroy();
      throw new ExchangeError('error', `${server.ca} cannot be read`, error);
    }
    const host = server.serverName ?? server.endpoint.address;
    return secure(stream, { host, alpn, signal, ...(ca === undefined ? {} : { ca }) });
  }

  #stream({ endpoint, dialer: name }: UpstreamConfiguration, signal: AbortSignal): Promise<Duplex> {
    const { mark, resolve, dialer } = this.#options;
    if (name === undefined || name === 'direct') return openStream(endpoint, undefined, { mark, resolve, signal });
    const found = dialer(name);
    if (found === undefined) return Promise.reject(new ExchangeError('refused', `there is no dialer ${name}`));
    return openStream(endpoint, found, { mark, resolve, signal });
  }
}

/** As in a URL: without the port of https. */
function authorityOf(endpoint: Endpoint): string {
  const { address, port } = endpoint;
  const text = address.includes(':') ? formatEndpoint(endpoint) : `${address}:${port}`;
  return port === 443 ? text.slice(0, -4) : text;
}
