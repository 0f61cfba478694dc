/**
 * The upstreams behind the resolver: asked in order, the next one when one does not answer; how many queries wait at a
 * time is bounded. Weir's own listeners are never asked.
 */
import { ResolveError } from '../api/errors.ts';
import type { Endpoint, Protocol } from '../api/flow.ts';
import type { DnsCounters } from './counters.ts';
import { ExchangeError, exchange } from './exchange.ts';
import { formatEndpoint } from './listen-failure.ts';
import { isTruncated, responseCode } from './message.ts';

/** A server, and how it is asked: `udp` follows the client's transport, `tcp` is always TCP. */
export interface UpstreamServer {
  readonly protocol: Protocol;
  readonly endpoint: Endpoint;
}

export interface UpstreamTimings {
  /** Milliseconds for one server before the next is asked. */
  readonly attemptMs: number;
  /** Milliseconds for all attempts together; below the 5 s after which glibc asks elsewhere. */
  readonly totalMs: number;
  /** Milliseconds that a silent server is asked only after the others. */
  readonly restMs: number;
}

export const UPSTREAM_TIMINGS: UpstreamTimings = { attemptMs: 1500, totalMs: 4500, restMs: 10_000 };

/** Queries that wait for upstreams at a time; each holds a socket. */
export const UPSTREAM_IN_FLIGHT = 1024;

export interface UpstreamsOptions {
  /** Asked before each query: the list follows the host's configuration. */
  readonly servers: () => readonly UpstreamServer[];
  readonly mark: number;
  /** Whether an endpoint is a listener of this Weir. */
  readonly isOwn: (endpoint: Endpoint) => boolean;
  readonly counters: DnsCounters;
  readonly inFlight?: number;
  readonly timings?: Partial<UpstreamTimings>;
}

export interface AskOptions {
  readonly transport: Protocol;
  readonly signal: AbortSignal;
  /** Asks a server that cut its answer again over TCP. */
  readonly wantWhole?: boolean;
}

function serverName({ protocol, endpoint }: UpstreamServer): string {
  return `${protocol}://${formatEndpoint(endpoint)}`;
}

/** An answer that says that the server could not help; another one may. */
function isUseless(response: Buffer): boolean {
  const code = responseCode(response);
  return code === 'SERVFAIL' || code === 'REFUSED' || code === 'NOTIMP';
}

export class Upstreams {
  readonly #options: UpstreamsOptions;
  readonly #timings: UpstreamTimings;
  readonly #limit: number;
  readonly #restingUntil = new Map<string, number>();
  #inFlight = 0;

  constructor(options: UpstreamsOptions) {
    this.#options = options;
    this.#timings = { ...UPSTREAM_TIMINGS, ...options.timings };
    this.#limit = options.inFlight ?? UPSTREAM_IN_FLIGHT;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** The servers that may be asked now: own listeners are left out. */
  get servers(): readonly UpstreamServer[] {
    return this.#options.servers().filter(({ endpoint }) => !this.#options.isOwn(endpoint));
  }

  /**
   * @param query its id does not matter. @param questionBytes name, type and class of the query.
   * @returns the first useful answer, or the last useless one (SERVFAIL, REFUSED) when no server had a better one.
   * @throws ResolveError SERVFAIL when no server answered, REFUSED when too many queries are waiting.
   */
  async ask(query: Uint8Array, questionBytes: Buffer, options: AskOptions): Promise<Buffer> {
    const { counters } = this.#options;
    const servers = this.#inOrder();
    if (servers.length === 0) {
      throw new ResolveError('SERVFAIL', {
        problem: 'There is no upstream to ask.',
        remedy: 'Name one in resolver.upstreams, or a nameserver other than Weir in /etc/resolv.conf.',
      });
    }
    if (this.#inFlight >= this.#limit) {
      counters.forwardLimitHits++;
      throw new ResolveError('REFUSED', {
        problem: `${this.#limit} queries are waiting for upstreams already.`,
        remedy: 'Look for upstreams that do not answer (weir status).',
      });
    }
    this.#inFlight++;
    counters.forwarded++;
    try {
      return await this.#askInTurn(servers, query, questionBytes, options);
    } finally {
      this.#inFlight--;
    }
  }

  async #askInTurn(
    servers: readonly UpstreamServer[],
    query: Uint8Array,
    questionBytes: Buffer,
    options: AskOptions,
  ): Promise<Buffer> {
    const deadline = Date.now() + this.#timings.totalMs;
    const reasons = new Map<string, string>();
    let useless: Buffer | undefined;
    // A second round only when all were silent: a datagram may have been lost.
    for (let round = 0; round < 2 && useless === undefined; round++) {
      for (const server of servers) {
        const left = deadline - Date.now();
        if (left <= 0) break;
        const timeoutMs = Math.min(left, this.#timings.attemptMs);
        try {
          const response = await this.#attempt(server, query, questionBytes, timeoutMs, options);
          this.#restingUntil.delete(serverName(server));
          if (!isUseless(response)) return response;
          useless = response;
        } catch (error) {
          if (!(error instanceof ExchangeError) || error.failure === 'aborted') throw error;
          if (error.failure === 'timeout') this.#options.counters.upstreamTimeouts++;
          else this.#options.counters.upstreamErrors++;
          this.#restingUntil.set(serverName(server), Date.now() + this.#timings.restMs);
          reasons.set(serverName(server), error.message);
        }
      }
    }
    if (useless !== undefined) return useless;
    throw new ResolveError('SERVFAIL', {
      problem: `No upstream answered: ${[...reasons].map(([name, reason]) => `${name}: ${reason}`).join('; ')}.`,
      remedy: 'Check that these servers are reachable, or name others in resolver.upstreams.',
    });
  }

  async #attempt(
    server: UpstreamServer,
    query: Uint8Array,
    questionBytes: Buffer,
    timeoutMs: number,
    { transport, signal, wantWhole }: AskOptions,
  ): Promise<Buffer> {
    const { mark, counters } = this.#options;
    const over = (protocol: Protocol): Promise<Buffer> =>
      exchange(query, questionBytes, {
        upstream: server.endpoint,
        transport: protocol,
        mark,
        timeoutMs,
        signal,
        onMismatch: () => counters.upstreamMismatched++,
      });
    if (server.protocol === 'tcp') return over('tcp');
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

  /** Silent servers last; otherwise as configured. */
  #inOrder(): readonly UpstreamServer[] {
    const now = Date.now();
    const servers = this.servers;
    for (const [name, until] of this.#restingUntil) if (until <= now) this.#restingUntil.delete(name);
    const resting = (server: UpstreamServer): boolean => (this.#restingUntil.get(serverName(server)) ?? 0) > now;
    return [...servers.filter((one) => !resting(one)), ...servers.filter(resting)];
  }
}
