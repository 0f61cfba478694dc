/**
 * Queries that Weir does not answer itself go on to an upstream as they came, and its answer comes back as it is: from the
 * cache while it holds, and asked for once when several clients want it at the same time.
 */
import { ResolveError } from '../api/errors.ts';
import type { Logger } from '../api/logger.ts';
import type { Answer, Question, Resolver } from '../api/resolver.ts';
import { privateAddressIn } from '../dns/answer-check.ts';
import { AnswerCache, cacheKey } from '../dns/answer-cache.ts';
import type { DnsCounters } from '../dns/counters.ts';
import { parseQuery, responseCode, type Query } from '../dns/message.ts';
import { isBelow } from '../dns/upstream-groups.ts';
import { readResponse } from '../dns/upstream-message.ts';
import type { Upstreams } from '../dns/upstreams.ts';

/** Milliseconds after which a client gets an answer whose time is over, if there is one (RFC 8767 5). */
const CLIENT_PATIENCE = 1800;

export interface UpstreamResolverOptions {
  readonly upstreams: Upstreams;
  readonly counters: DnsCounters;
  readonly log: Logger;
  /** Answers that are kept; absent: none. */
  readonly cacheEntries?: number;
  /** Milliseconds for which an answer may be given after its time while nobody answers; absent: 0. */
  readonly staleMs?: number;
  /** Names (and all below) that may have private addresses; absent: all. */
  readonly privateFor?: readonly string[];
  /** Monotonic milliseconds, for tests. */
  readonly now?: () => number;
}

/** A query on its way, for all who want its answer. */
interface Shared {
  readonly promise: Promise<Buffer>;
  readonly abort: AbortController;
  waiting: number;
}

export class UpstreamResolver implements Resolver {
  readonly #options: UpstreamResolverOptions;
  readonly #cache: AnswerCache;
  readonly #running = new Map<string, Shared>();

  constructor(options: UpstreamResolverOptions) {
    this.#options = options;
    this.#cache = new AnswerCache({
      entries: options.cacheEntries ?? 0,
      staleMs: options.staleMs ?? 0,
      ...(options.now ? { now: options.now } : {}),
    });
  }

  get cached(): { readonly entries: number; readonly bytes: number } {
    return { entries: this.#cache.size, bytes: this.#cache.bytes };
  }

  /** Forgets all answers. */
  flush(): void {
    this.#cache.clear();
  }

  /** Falls through when no upstream answers. @throws ResolveError REFUSED when too many queries are waiting. */
  async answer(question: Question, { signal }: { readonly signal: AbortSignal }): Promise<Answer | undefined> {
    const { counters, log } = this.#options;
    const parsed = parseQuery(question.raw);
    if (parsed.kind === 'reject') return undefined;
    const { query } = parsed;
    const key = cacheKey(query);
    const cached = key && this.#cache.get(key.key);
    if (cached !== undefined) {
      counters.cacheHits++;
      counters.answeredForwarded++;
      return { raw: cached };
    }
    if (key !== undefined) counters.cacheMisses++;
    try {
      const response = await this.#fresh(query, question, key, signal);
      counters.answeredForwarded++;
      return { raw: response };
    } catch (error) {
      if (!(error instanceof ResolveError) || error.responseCode === 'REFUSED') throw error;
      log.debug({ name: question.name, type: question.type, reason: error.problem }, 'no upstream answered');
      return undefined;
    }
  }

  async #fresh(
    query: Query,
    question: Question,
    key: ReturnType<typeof cacheKey>,
    signal: AbortSignal,
  ): Promise<Buffer> {
    // A cookie is between this client and the server: such a query is neither shared nor kept.
    const asked =
      key?.plain === true
        ? this.#shared(`${question.transport} ${key.key}`, query, question, key.key, signal)
        : this.#ask(query, question, signal);
    const stale = key && this.#cache.stale(key.key);
    if (stale === undefined) return asked;
    const { counters } = this.#options;
    // Whatever becomes of it: nobody may be waiting any more.
    asked.catch(() => undefined);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => (timer = setTimeout(resolve, CLIENT_PATIENCE, undefined)));
    try {
      const response = await Promise.race([asked, late]);
      if (response !== undefined && isUseful(response)) return response;
    } catch (error) {
      if (signal.aborted) throw error;
    } finally {
      clearTimeout(timer);
    }
    counters.cacheStale++;
    return stale;
  }

  #shared(id: string, query: Query, question: Question, key: string, signal: AbortSignal): Promise<Buffer> {
    let shared = this.#running.get(id);
    if (shared === undefined) {
      const abort = new AbortController();
      const run = async (): Promise<Buffer> => {
        try {
          // Copies: the client's buffer may be used for its next query while others still wait.
          const own = { ...query, raw: Buffer.from(query.raw), questionBytes: Buffer.from(query.questionBytes) };
          const response = await this.#ask(own, question, abort.signal);
          this.#cache.set(key, response, query.questionBytes.length);
          return response;
        } finally {
          if (this.#running.get(id) === shared) this.#running.delete(id);
        }
      };
      shared = { promise: run(), abort, waiting: 0 };
      // Everybody may have given up before it fails.
      shared.promise.catch(() => undefined);
      this.#running.set(id, shared);
    } else this.#options.counters.queriesCoalesced++;
    return this.#wait(id, shared, signal);
  }

  async #wait(id: string, shared: Shared, signal: AbortSignal): Promise<Buffer> {
    shared.waiting++;
    const gone = new AbortController();
    try {
      return await new Promise<Buffer>((resolve, reject) => {
        signal.throwIfAborted();
        signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true, signal: gone.signal });
        shared.promise.then(resolve, reject);
      });
    } finally {
      gone.abort();
      shared.waiting--;
      if (shared.waiting === 0 && this.#running.get(id) === shared) {
        this.#running.delete(id);
        shared.abort.abort();
      }
    }
  }

  async #ask({ raw, questionBytes }: Query, { name, transport }: Question, signal: AbortSignal): Promise<Buffer> {
    const { upstreams, counters, log } = this.#options;
    const response = await upstreams.ask(raw, questionBytes, { transport, signal });
    const read = this.#mayBePrivate(name) ? undefined : readResponse(response, questionBytes.length);
    const address = read && privateAddressIn(read);
    if (address === undefined) return response;
    counters.rebindingBlocked++;
    log.warn({ name, address }, 'an upstream answered with a private address, which resolver.rebinding forbids');
    throw new ResolveError('REFUSED', {
      problem: `An upstream says that ${name} has the private address ${address}.`,
      remedy: 'If that is right, name it in resolver.rebinding-allow.',
    });
  }

  #mayBePrivate(name: string): boolean {
    const { privateFor, upstreams } = this.#options;
    if (privateFor === undefined) return true;
    return privateFor.some((suffix) => isBelow(name, suffix)) || upstreams.suffixFor(name) !== undefined;
  }
}

function isUseful(response: Buffer): boolean {
  const code = responseCode(response);
  return code === 'NOERROR' || code === 'NXDOMAIN';
}
