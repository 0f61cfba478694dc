/**
 * Answers of upstreams, kept for as long as they say that they hold, and given with what is left of that. Bounded in
 * number and in bytes; the one that was not asked for longest goes first.
 */
import { FLAG_RD, HEADER_BYTES, isTruncated, recordAt, responseCode, type Query } from './message.ts';

/** Longest that an answer is kept, and longest that "does not exist" is. Seconds (RFC 2181 8, RFC 2308 5). */
const MAX_TTL = 86_400;
const MAX_NEGATIVE_TTL = 3600;
/** TTL of an answer whose time is over (RFC 8767 4). Seconds. */
const STALE_TTL = 30;
/** Bytes per entry on average; an answer is at most 64 KiB. */
const BYTES_PER_ENTRY = 1024;

const TYPE_SOA = 6;
const TYPE_OPT = 41;
const FLAG_CD = 0x0010;
const FLAG_AD = 0x0020;
/** Options that say nothing about which answer is wanted: NSID, COOKIE, keep-alive, padding. */
const INDIFFERENT_OPTIONS = new Set([3, 10, 11, 12]);

interface Entry {
  readonly message: Buffer;
  /** Where the TTLs stand. */
  readonly places: readonly number[];
  readonly storedAt: number;
  readonly ttl: number;
}

/** What an answer depends on, and how plain the query is. */
export interface CacheKey {
  readonly key: string;
  /** The query has no options at all, so that its answer is good for others. */
  readonly plain: boolean;
}

/** Undefined for a query whose answer depends on more than can be compared. */
export function cacheKey({ questionBytes, edns, flags, raw }: Query): CacheKey | undefined {
  let plain = true;
  if (edns !== undefined) {
    const options = optionsOf(raw, HEADER_BYTES + questionBytes.length);
    if (options === undefined || options.some((code) => !INDIFFERENT_OPTIONS.has(code))) return undefined;
    plain = options.length === 0;
  }
  // Other records than OPT, as signatures of transactions, are for the server and nobody else.
  if (raw.readUInt32BE(6) !== 0 || raw.readUInt16BE(10) !== (edns === undefined ? 0 : 1)) return undefined;
  const variant = edns === undefined ? 'p' : edns.dnssecOk ? 'd' : 'e';
  const asked = flags & (FLAG_RD | FLAG_CD | FLAG_AD);
  return { key: `${variant}${asked} ${questionBytes.toString('latin1').toLowerCase()}`, plain };
}

/** The option codes of the OPT record at `offset`; undefined when it is malformed or another record. */
function optionsOf(message: Buffer, offset: number): readonly number[] | undefined {
  const record = recordAt(message, offset);
  if (record === undefined || record.type !== TYPE_OPT) return undefined;
  const codes: number[] = [];
  for (let at = record.dataAt; at < record.end;) {
    if (at + 4 > record.end) return undefined;
    codes.push(message.readUInt16BE(at));
    at += 4 + message.readUInt16BE(at + 2);
    if (at > record.end) return undefined;
  }
  return codes;
}

/** For how many seconds a response holds, and where its TTLs stand; undefined when it is not to be kept. */
function lifetimeOf(message: Buffer, questionLength: number): { ttl: number; places: readonly number[] } | undefined {
  const code = responseCode(message);
  if (isTruncated(message) || (code !== 'NOERROR' && code !== 'NXDOMAIN')) return undefined;
  const answers = message.readUInt16BE(6);
  const authority = message.readUInt16BE(8);
  const records = answers + authority + message.readUInt16BE(10);
  const places: number[] = [];
  let ttl = MAX_TTL;
  let negative: number | undefined;
  let at = HEADER_BYTES + questionLength;
  for (let i = 0; i < records; i++) {
    const record = recordAt(message, at);
    if (record === undefined) return undefined;
    at = record.end;
    if (record.type === TYPE_OPT) {
      // Options are for the one who asked.
      if (record.end > record.dataAt) return undefined;
      continue;
    }
    const own = record.ttl > 0x7fff_ffff ? 0 : record.ttl;
    ttl = Math.min(ttl, own);
    places.push(record.dataAt - 6);
    if (record.type === TYPE_SOA && i >= answers && i < answers + authority && record.end - record.dataAt >= 22) {
      negative = Math.min(own, message.readUInt32BE(record.end - 4), MAX_NEGATIVE_TTL);
    }
  }
  if (code === 'NOERROR' && answers > 0) return { ttl, places };
  // "There is none" holds only as long as somebody says so (RFC 2308 5).
  return negative === undefined ? undefined : { ttl: Math.min(ttl, negative), places };
}

export interface AnswerCacheOptions {
  readonly entries: number;
  /** Milliseconds for which an answer may still be given after its time. */
  readonly staleMs: number;
  /** Monotonic milliseconds, for tests. */
  readonly now?: () => number;
}

export class AnswerCache {
  readonly #entries = new Map<string, Entry>();
  readonly #limit: number;
  readonly #staleMs: number;
  readonly #now: () => number;
  #bytes = 0;

  constructor({ entries, staleMs, now = () => performance.now() }: AnswerCacheOptions) {
    this.#limit = entries;
    this.#staleMs = staleMs;
    this.#now = now;
  }

  get size(): number {
    return this.#entries.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** A copy of the answer with what is left of its TTLs, while it holds. */
  get(key: string): Buffer | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    const age = Math.floor((this.#now() - entry.storedAt) / 1000);
    if (age < entry.ttl) {
      // Behind all others: the one that was asked for last goes last.
      this.#entries.delete(key);
      this.#entries.set(key, entry);
      return aged(entry, (ttl) => Math.max(0, ttl - age));
    }
    if (!this.#isStale(entry)) this.#remove(key, entry);
    return undefined;
  }

  /** A copy of an answer whose time is over, where such may be given. */
  stale(key: string): Buffer | undefined {
    const entry = this.#entries.get(key);
    return entry !== undefined && this.#isStale(entry) ? aged(entry, () => STALE_TTL) : undefined;
  }

  /** Keeps a response, if it may be kept. It is copied. */
  set(key: string, response: Buffer, questionLength: number): void {
    if (this.#limit === 0) return;
    const lifetime = lifetimeOf(response, questionLength);
    if (lifetime === undefined || lifetime.ttl === 0) return;
    const before = this.#entries.get(key);
    if (before !== undefined) this.#remove(key, before);
    const entry = { ...lifetime, message: Buffer.from(response), storedAt: this.#now() };
    this.#entries.set(key, entry);
    this.#bytes += response.length;
    for (const [oldest, old] of this.#entries) {
      if (this.#entries.size <= this.#limit && this.#bytes <= this.#limit * BYTES_PER_ENTRY + 65_535) break;
      this.#remove(oldest, old);
    }
  }

  clear(): void {
    this.#entries.clear();
    this.#bytes = 0;
  }

  #isStale({ storedAt, ttl }: Entry): boolean {
    return this.#now() - storedAt < ttl * 1000 + this.#staleMs;
  }

  #remove(key: string, entry: Entry): void {
    this.#entries.delete(key);
    this.#bytes -= entry.message.length;
  }
}

function aged({ message, places }: Entry, age: (ttl: number) => number): Buffer {
  const copy = Buffer.from(message);
  for (const place of places) copy.writeUInt32BE(age(copy.readUInt32BE(place)), place);
  return copy;
}
