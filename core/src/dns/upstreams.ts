/**
 * The upstreams behind the resolver: which of them are asked for a name, in which order, and what of their answers counts.
 * How many queries wait at a time is bounded. Weir's own listeners are never asked.
 */
import type { Dialer } from '../api/dialer.ts';
import { ResolveError } from '../api/errors.ts';
import type { Endpoint, Protocol } from '../api/flow.ts';
import { isAddress } from '../capture/address.ts';
import type { UpstreamConfiguration, UpstreamMode } from '../config/model.ts';
import { isAbout } from './answer-check.ts';
import type { DnsCounters } from './counters.ts';
import { ExchangeError } from './exchange.ts';
import { responseCode } from './message.ts';
import { readName } from './name.ts';
import { UpstreamExchanges } from './upstream-exchange.ts';
import { groupFor, type UpstreamGroup } from './upstream-groups.ts';
import { serverName, UpstreamHealth, type UpstreamReport } from './upstream-health.ts';
import { readResponse } from './upstream-message.ts';

/** A server, and how it is asked: `udp` follows the client's transport, all others are streams. */
export type UpstreamServer = UpstreamConfiguration;

export interface UpstreamTimings {
  /** Milliseconds for one server before the next is asked. */
  readonly attemptMs: number;
  /** Milliseconds for all attempts together; below the 5 s after which glibc asks elsewhere. */
  readonly totalMs: number;
  /** Milliseconds that a server is asked only after the others when it has failed; doubled with each failure. */
  readonly restMs: number;
}

export const UPSTREAM_TIMINGS: UpstreamTimings = { attemptMs: 1500, totalMs: 4500, restMs: 2000 };

/** Queries that wait for upstreams at a time; each may hold a socket. */
export const UPSTREAM_IN_FLIGHT = 1024;

export interface UpstreamsOptions {
  /** Asked before each query: the list follows the host's configuration. */
  readonly servers: () => readonly UpstreamServer[];
  readonly mark: number;
  /** Whether an endpoint is a listener of this Weir. */
  readonly isOwn: (endpoint: Endpoint) => boolean;
  readonly counters: DnsCounters;
  /** Default `failover`. */
  readonly mode?: UpstreamMode;
  readonly inFlight?: number;
  readonly timings?: Partial<UpstreamTimings>;
  /** See UpstreamExchangesOptions; by default there are no dialers, and no name of a server is known. */
  readonly dialer?: (name: string) => Dialer | undefined;
  readonly resolve?: (host: string, signal: AbortSignal) => Promise<readonly string[]>;
}

export interface AskOptions {
  readonly transport: Protocol;
  readonly signal: AbortSignal;
  /** Asks a server that cut its answer again over TCP. */
  readonly wantWhole?: boolean;
}

/** One question on its way. */
interface Asking extends AskOptions {
  readonly query: Uint8Array;
  readonly questionBytes: Buffer;
  readonly name: string;
  readonly deadline: number;
  /** Why servers failed, by name. */
  readonly reasons: Map<string, string>;
}

/** An answer that says that the server could not help; another one may. */
function isUseless(response: Buffer): boolean {
  const code = responseCode(response);
  return code === 'SERVFAIL' || code === 'REFUSED' || code === 'NOTIMP';
}

function shuffled<T>(list: readonly T[]): T[] {
  const result = [...list];
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [result[i], result[j]] = [result[j] as T, result[i] as T];
  }
  return result;
}

export class Upstreams {
  readonly #options: UpstreamsOptions;
  readonly #timings: UpstreamTimings;
  readonly #limit: number;
  readonly #mode: UpstreamMode;
  readonly #health: UpstreamHealth;
  readonly #exchanges: UpstreamExchanges;
  #inFlight = 0;

  constructor(options: UpstreamsOptions) {
    this.#options = options;
    this.#timings = { ...UPSTREAM_TIMINGS, ...options.timings };
    this.#limit = options.inFlight ?? UPSTREAM_IN_FLIGHT;
    this.#mode = options.mode ?? 'failover';
    this.#health = new UpstreamHealth(this.#timings.restMs);
    const nowhere = (host: string): Promise<never> =>
      Promise.reject(new ExchangeError('error', `${host} cannot be resolved here`));
    this.#exchanges = new UpstreamExchanges({
      mark: options.mark,
      counters: options.counters,
      dialer: options.dialer ?? (() => undefined),
      resolve: options.resolve ?? nowhere,
    });
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** The servers that may be asked now: own listeners are left out. */
  get servers(): readonly UpstreamServer[] {
    return this.#options
      .servers()
      .filter(({ endpoint }) => !isAddress(endpoint.address) || !this.#options.isOwn(endpoint));
  }

  /** By which suffix the servers for a name are chosen; undefined: they are those for all names. */
  suffixFor(name: string): string | undefined {
    return groupFor(this.#options.servers(), name).suffix;
  }

  reports(): readonly UpstreamReport[] {
    return this.servers.map((server) => this.#health.report(server));
  }

  /**
   * @param query its id does not matter. @param questionBytes name, type and class of the query.
   * @returns the first useful answer, or the last useless one (SERVFAIL, REFUSED) when no server had a better one.
   * @throws ResolveError SERVFAIL when no server answered, REFUSED when too many queries are waiting.
   */
  async ask(query: Uint8Array, questionBytes: Buffer, options: AskOptions): Promise<Buffer> {
    const { counters } = this.#options;
    const name = readName(questionBytes, 0, 0)?.name ?? '';
    const group = groupFor(this.servers, name);
    if (group.servers.length === 0) throw nobodyToAsk(group);
    if (this.#inFlight >= this.#limit) {
      counters.forwardLimitHits++;
      throw new ResolveError('REFUSED', {
        problem: `${this.#limit} queries are waiting for upstreams already.`,
        remedy: 'Look for upstreams that do not answer (weir status).',
      });
    }
    this.#inFlight++;
    counters.forwarded++;
    const deadline = Date.now() + this.#timings.totalMs;
    const asking: Asking = { ...options, query, questionBytes, name, deadline, reasons: new Map() };
    try {
      const servers = this.#inOrder(group.servers);
      const answer = await (this.#mode === 'parallel'
        ? this.#askAll(servers, asking)
        : this.#askInTurn(servers, asking));
      if (answer !== undefined) return answer;
      const reasons = [...asking.reasons].map(([server, reason]) => `${server}: ${reason}`);
      throw new ResolveError('SERVFAIL', {
        problem: `No upstream answered: ${reasons.join('; ')}.`,
        remedy: 'Check that these servers are reachable, or name others in resolver.upstreams.',
      });
    } finally {
      this.#inFlight--;
    }
  }

  /** Ends connections to servers. */
  close(): void {
    this.#exchanges.close();
  }

  async #askInTurn(servers: readonly UpstreamServer[], asking: Asking): Promise<Buffer | undefined> {
    if (this.#mode !== 'serial') this.#probe(servers, asking);
    let useless: Buffer | undefined;
    // A second round only when all were silent: a datagram may have been lost.
    for (let round = 0; round < 2 && useless === undefined; round++) {
      for (const server of servers) {
        const response = await this.#attempt(server, asking, this.#timings.attemptMs);
        if (response === undefined) continue;
        if (!isUseless(response)) return response;
        useless = response;
      }
    }
    return useless;
  }

  /** All at once; the first useful answer counts, and the others are given up. */
  async #askAll(servers: readonly UpstreamServer[], asking: Asking): Promise<Buffer | undefined> {
    const enough = new AbortController();
    const signal = AbortSignal.any([asking.signal, enough.signal]);
    let useless: Buffer | undefined;
    try {
      const attempts = servers.map(async (server) => {
        const response = await this.#attempt(server, { ...asking, signal }, this.#timings.totalMs);
        if (response === undefined || isUseless(response)) {
          useless ??= response;
          throw new ExchangeError('error', 'not useful');
        }
        return response;
      });
      return await Promise.any(attempts);
    } catch {
      asking.signal.throwIfAborted();
      return useless;
    } finally {
      enough.abort();
    }
  }

  /** Sends the query also to a server whose rest is over, to see whether it is back. Nobody waits for that. */
  #probe(servers: readonly UpstreamServer[], asking: Asking): void {
    const [first] = servers;
    for (const server of servers) {
      // The first one is asked anyway.
      if (server === first || !this.#health.takeProbe(server)) continue;
      const probe: Asking = {
        ...asking,
        // Copies: the client's message may be gone when this is done.
        query: Buffer.from(asking.query),
        questionBytes: Buffer.from(asking.questionBytes),
        signal: AbortSignal.timeout(this.#timings.attemptMs * 2),
        reasons: new Map(),
      };
      this.#attempt(server, probe, this.#timings.attemptMs).catch(() => this.#health.undecided(server));
    }
  }

  /**
   * @returns the answer, or undefined when there was none; then `asking.reasons` says why.
   * @throws ExchangeError `aborted` only.
   */
  async #attempt(server: UpstreamServer, asking: Asking, attemptMs: number): Promise<Buffer | undefined> {
    const left = asking.deadline - Date.now();
    if (left <= 0) return undefined;
    const { query, questionBytes, transport, signal, wantWhole = false, name } = asking;
    const begun = performance.now();
    try {
      const timeoutMs = Math.min(left, attemptMs);
      const response = await this.#exchanges.ask(server, {
        query,
        questionBytes,
        transport,
        timeoutMs,
        signal,
        wantWhole,
      });
      const read = readResponse(response, questionBytes.length);
      // Cut ones hold no whole records; they only say that there is more.
      if (read === undefined ? (response.readUInt16BE(2) & 0x0200) === 0 : !isAbout(read, name)) {
        this.#options.counters.upstreamMismatched++;
        throw new ExchangeError('error', 'the answer is malformed, or about something else');
      }
      this.#health.answered(server, performance.now() - begun);
      return response;
    } catch (error) {
      if (!(error instanceof ExchangeError)) throw error;
      if (error.failure === 'aborted') {
        this.#health.undecided(server);
        throw error;
      }
      const kind = error.failure === 'timeout' ? 'timeout' : 'error';
      this.#options.counters[kind === 'timeout' ? 'upstreamTimeouts' : 'upstreamErrors']++;
      this.#health.failed(server, kind, error.message);
      asking.reasons.set(serverName(server), error.message);
      return undefined;
    }
  }

  #inOrder(servers: readonly UpstreamServer[]): readonly UpstreamServer[] {
    if (this.#mode === 'serial' || this.#mode === 'parallel') return servers;
    const list = this.#mode === 'random' ? shuffled(servers) : servers;
    const doubtful = list.filter((server) => this.#health.isDoubtful(server));
    return [...list.filter((server) => !doubtful.includes(server)), ...doubtful];
  }
}

function nobodyToAsk({ suffix }: UpstreamGroup): ResolveError {
  return new ResolveError('SERVFAIL', {
    problem: suffix === undefined ? 'There is no upstream to ask.' : `There is no upstream to ask for ${suffix}.`,
    remedy: 'Name one in resolver.upstreams, or a nameserver other than Weir in /etc/resolv.conf.',
  });
}
