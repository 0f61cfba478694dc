/** Weir's DNS server: its listeners, and how many queries are being answered at a time. */
import type { Protocol } from '../api/flow.ts';
import type { DnsListen } from '../config/model.ts';
import type { DnsCounters } from './counters.ts';
import { TcpListener } from './tcp-listener.ts';
import { UdpListener } from './udp-listener.ts';

export interface DnsServerLimits {
  /** Queries being answered at a time, over all listeners. More are dropped and counted. */
  readonly inFlight: number;
  /** TCP connections of one listener; more are closed at once and counted. */
  readonly tcpConnections: number;
  /** Milliseconds; see TcpListenerOptions. */
  readonly tcpIdleMs: number;
}

export const DNS_SERVER_LIMITS: DnsServerLimits = { inFlight: 16_384, tcpConnections: 256, tcpIdleMs: 10_000 };

export interface DnsServerOptions {
  readonly listen: readonly DnsListen[];
  readonly mark: number;
  readonly counters: DnsCounters;
  readonly limits?: Partial<DnsServerLimits>;
  /** Answers, or not; never rejects. The signal is aborted by `close`. */
  readonly respond: (message: Buffer, transport: Protocol, signal: AbortSignal) => Promise<Buffer | undefined>;
  /** Answers what can be answered at once, with bytes that hold until it is called again; undefined leaves it to `respond`. */
  readonly respondAtOnce?: (message: Buffer) => Buffer | undefined;
}

export class DnsServer {
  readonly #options: DnsServerOptions;
  readonly #limits: DnsServerLimits;
  readonly #closing = new AbortController();
  readonly #listeners: Array<{ readonly protocol: Protocol; readonly listener: UdpListener | TcpListener }> = [];
  #inFlight = 0;

  constructor(options: DnsServerOptions) {
    this.#options = options;
    this.#limits = { ...DNS_SERVER_LIMITS, ...options.limits };
  }

  /** Opens all listeners, or none. @throws WeirError (NotPermittedError, code WEIR_LISTEN) with the remedy. */
  async start(): Promise<void> {
    try {
      for (const { protocol, endpoint } of this.#options.listen) {
        const listener = protocol === 'udp' ? this.#udp({ endpoint }) : await this.#tcp({ endpoint });
        this.#listeners.push({ protocol, listener });
      }
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** Where it listens; port 0 replaced by what the kernel chose. */
  get listening(): readonly DnsListen[] {
    return this.#listeners.map(({ protocol, listener }) => ({ protocol, endpoint: listener.endpoint }));
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Stops listening, closes connections, gives up on what is being answered. Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#listeners.splice(0).map(({ listener }) => listener.close()));
  }

  #udp({ endpoint }: Pick<DnsListen, 'endpoint'>): UdpListener {
    const { counters, mark } = this.#options;
    return new UdpListener({
      endpoint,
      mark,
      respond: (message) => this.#options.respondAtOnce?.(message) ?? this.#respond(message, 'udp'),
      onSendError: () => counters.sendErrors++,
    });
  }

  #tcp({ endpoint }: Pick<DnsListen, 'endpoint'>): Promise<TcpListener> {
    const { counters, mark } = this.#options;
    return TcpListener.open({
      endpoint,
      mark,
      connections: this.#limits.tcpConnections,
      idleMs: this.#limits.tcpIdleMs,
      respond: (message) => this.#respond(message, 'tcp'),
      onConnection: () => counters.tcpConnections++,
      onConnectionLimit: () => counters.tcpConnectionLimitHits++,
      onIdle: () => counters.tcpIdleClosed++,
    });
  }

  #respond(message: Buffer, transport: Protocol): Promise<Buffer | undefined> | undefined {
    if (this.#inFlight >= this.#limits.inFlight) {
      this.#options.counters.inFlightLimitHits++;
      return undefined;
    }
    this.#inFlight++;
    return this.#options.respond(message, transport, this.#closing.signal).finally(() => this.#inFlight--);
  }
}
