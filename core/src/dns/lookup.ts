/**
 * Names to addresses for Weir's own dials: through upstreams, never through Weir's own zone. Answers are cached for
 * their TTL, negative ones too; equal look-ups at the same time share one query.
 */
import { ResolveError } from '../api/errors.ts';
import type { Family } from '../api/flow.ts';
import { bytesToAddress } from '../capture/address.ts';
import type { DnsCounters } from './counters.ts';
import { HEADER_BYTES } from './message.ts';
import { TtlCache } from './ttl-cache.ts';
import { encodeQuery, readResponse, type ReadRecord, type ReadResponse } from './upstream-message.ts';
import type { Upstreams } from './upstreams.ts';

/** Aliases followed at most, within one answer and over several queries. */
const MAX_ALIASES = 16;
/** Seconds that an answer is kept at most, whatever its TTL says. */
const MAX_TTL = 86_400;
/** Seconds that a negative answer is kept at most (RFC 2308 5 allows hours; a new record should be seen soon). */
const MAX_NEGATIVE_TTL = 300;
const CACHE_ENTRIES = 8192;
const TYPE = { 4: 1, 6: 28 } as const;
const TYPE_CNAME = 5;
const TYPE_SOA = 6;

export interface LookupResult {
  /** Empty when the name has no address of this family, or does not exist. */
  readonly addresses: readonly string[];
  /** Whole seconds that this holds; 0: ask again each time. */
  readonly ttl: number;
}

export interface LookupsOptions {
  readonly upstreams: Upstreams;
  readonly counters: DnsCounters;
  readonly cacheEntries?: number;
  /** Monotonic milliseconds, for tests. */
  readonly now?: () => number;
}

/** A look-up that others may join; it is given up when nobody waits any more. */
interface Shared {
  readonly promise: Promise<LookupResult>;
  readonly abort: AbortController;
  waiting: number;
}

function negativeTtl(response: ReadResponse): number {
  const soa = response.authority.find((record) => record.type === TYPE_SOA && record.minimum !== undefined);
  return soa === undefined ? 0 : Math.min(soa.ttl, soa.minimum ?? 0, MAX_NEGATIVE_TTL);
}

/** Follows the aliases of one answer: where the chain ends, what it found there, and the shortest TTL on the way. */
function follow(name: string, type: number, answers: readonly ReadRecord[]) {
  let owner = name;
  let ttl = MAX_TTL;
  for (let i = 0; i < MAX_ALIASES; i++) {
    const found = answers.filter((record) => record.name === owner && record.type === type);
    if (found.length > 0) return { owner, found, ttl: Math.min(ttl, ...found.map((record) => record.ttl)) };
    const alias = answers.find((record) => record.name === owner && record.type === TYPE_CNAME);
    if (alias?.target === undefined) break;
    owner = alias.target;
    ttl = Math.min(ttl, alias.ttl);
  }
  return { owner, found: [], ttl };
}

export class Lookups {
  readonly #upstreams: Upstreams;
  readonly #counters: DnsCounters;
  readonly #cache: TtlCache<readonly string[]>;
  readonly #running = new Map<string, Shared>();

  constructor(options: LookupsOptions) {
    this.#upstreams = options.upstreams;
    this.#counters = options.counters;
    this.#cache = new TtlCache(options.cacheEntries ?? CACHE_ENTRIES, options.now);
  }

  /**
   * @param name lower case without trailing dot.
   * @throws ResolveError when no upstream could say (never for "does not exist"); the reason of an abort.
   */
  async lookup(name: string, family: Family, signal: AbortSignal): Promise<LookupResult> {
    signal.throwIfAborted();
    this.#counters.lookups++;
    const key = `${family} ${name}`;
    const cached = this.#cache.get(key);
    if (cached !== undefined) {
      this.#counters.lookupCacheHits++;
      return { addresses: cached.value, ttl: cached.ttl };
    }
    let shared = this.#running.get(key);
    if (shared === undefined) shared = this.#begin(key, name, family);
    else this.#counters.lookupsCoalesced++;
    return this.#wait(key, shared, signal);
  }

  /** Forgets all answers, for instance because the network has changed. */
  flush(): void {
    this.#cache.clear();
  }

  #begin(key: string, name: string, family: Family): Shared {
    const abort = new AbortController();
    const run = async (): Promise<LookupResult> => {
      try {
        const result = await this.#resolve(name, family, abort.signal);
        this.#cache.set(key, result.addresses, result.ttl);
        return result;
      } catch (error) {
        this.#counters.lookupsFailed++;
        throw error;
      } finally {
        if (this.#running.get(key) === shared) this.#running.delete(key);
      }
    };
    const shared: Shared = { promise: run(), abort, waiting: 0 };
    this.#running.set(key, shared);
    return shared;
  }

  async #wait(key: string, shared: Shared, signal: AbortSignal): Promise<LookupResult> {
    shared.waiting++;
    const gone = new AbortController();
    try {
      return await new Promise<LookupResult>((resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason), { once: true, signal: gone.signal });
        shared.promise.then(resolve, reject);
      });
    } finally {
      gone.abort();
      shared.waiting--;
      if (shared.waiting === 0 && this.#running.get(key) === shared) {
        this.#running.delete(key);
        shared.abort.abort();
      }
    }
  }

  async #resolve(name: string, family: Family, signal: AbortSignal): Promise<LookupResult> {
    let owner = name;
    let ttl = MAX_TTL;
    for (let i = 0; i < MAX_ALIASES; i++) {
      const response = await this.#query(owner, family, signal);
      const end = follow(owner, TYPE[family], response.answers);
      ttl = Math.min(ttl, end.ttl);
      const addresses = end.found
        .filter(({ data }) => data.length === (family === 4 ? 4 : 16))
        .map(({ data }) => bytesToAddress(data));
      if (addresses.length > 0) return { addresses, ttl };
      // The alias leads out of this answer, and the server did not say what is there.
      const said = response.code === 'NXDOMAIN' || response.authority.some((record) => record.type === TYPE_SOA);
      if (end.owner === owner || said) return { addresses: [], ttl: Math.min(ttl, negativeTtl(response)) };
      owner = end.owner;
    }
    throw new ResolveError('SERVFAIL', {
      problem: `${name} is an alias of an alias, more than ${MAX_ALIASES} deep.`,
      remedy: 'Correct the CNAME records of that name.',
    });
  }

  async #query(name: string, family: Family, signal: AbortSignal): Promise<ReadResponse> {
    const ask = async (plain: boolean): Promise<ReadResponse | undefined> => {
      const query = encodeQuery(name, family === 4 ? 'A' : 'AAAA', plain);
      const end = query.length - (plain ? 0 : 11);
      const question = query.subarray(HEADER_BYTES, end);
      const response = await this.#upstreams.ask(query, question, { transport: 'udp', signal, wantWhole: true });
      return readResponse(response, question.length);
    };
    let response = await ask(false);
    // A server from before EDNS.
    if (response?.code === 'FORMERR' || response?.code === 'NOTIMP') response = await ask(true);
    if (response?.code === 'NOERROR' || response?.code === 'NXDOMAIN') return response;
    throw new ResolveError('SERVFAIL', {
      problem: `The upstreams could not resolve ${name}: ${response?.code ?? 'their answer is malformed'}.`,
      remedy: 'Check that name with `dig` at these servers, or name other ones in resolver.upstreams.',
    });
  }
}
