/**
 * Answers for names of Weir's own zone, ready to be sent: the common question costs one look at a table.
 * Only what asks in the plainest way is answered here (one question in lower case, no options); all else takes the long
 * way, which also puts answers in. An answer stays until the name, or what is said of names, changes.
 */
import { FLAG_RD, HEADER_BYTES } from './message.ts';
import type { QueryCount } from './query-counts.ts';

/** Bytes of an OPT record without options (RFC 6891 6.1.2). */
const OPT_BYTES = 11;
const TYPE_OPT = 41;
/** QR, opcode, TC, and the four bits of a response code: 0 in a query. AA, RA and Z are ignored, as on the long way. */
const MUST_BE_ZERO = 0xfa0f;
const FLAG_CD = 0x0010;
const DNSSEC_OK = 0x8000;
/** Answers at most; when there are more, all are forgotten. */
const LIMIT = 65_536;

export interface KnownAnswer {
  readonly name: string;
  readonly type: string;
  /** Counts the queries that are answered with it. */
  readonly count: QueryCount;
  /** A response; id and flags of each question are put in. */
  readonly bytes: Buffer;
}

/** The part of a query that an answer depends on; undefined when it asks in another way. */
function keyOf(query: Buffer): string | undefined {
  const { length } = query;
  // One question, no answer, no authority.
  if (length < HEADER_BYTES + 5 || query.readUInt32BE(4) !== 0x0001_0000 || query.readUInt16BE(8) !== 0)
    return undefined;
  if ((query.readUInt16BE(2) & MUST_BE_ZERO) !== 0) return undefined;
  const additional = query.readUInt16BE(10);
  if (additional > 1) return undefined;
  let at = HEADER_BYTES;
  for (let size = query[at] as number; size !== 0; size = query[at] as number) {
    at += size + 1;
    if (size > 63 || at >= length) return undefined;
  }
  const end = at + 5;
  if (additional === 0) return end === length ? query.toString('latin1', HEADER_BYTES, end) : undefined;
  const opt = end;
  if (length !== opt + OPT_BYTES || query[opt] !== 0 || query.readUInt16BE(opt + 1) !== TYPE_OPT) return undefined;
  // Another version, or options.
  if (query[opt + 6] !== 0 || query.readUInt16BE(opt + 9) !== 0) return undefined;
  const variant = (query.readUInt16BE(opt + 7) & DNSSEC_OK) === 0 ? 'e' : 'd';
  return query.toString('latin1', HEADER_BYTES, end) + variant;
}

export class KnownAnswers {
  readonly #answers = new Map<string, KnownAnswer>();
  readonly #keys = new Map<string, string[]>();

  get size(): number {
    return this.#answers.size;
  }

  /** The answer to `query`; {@link KnownAnswers.response} makes a response of it. */
  find(query: Buffer): KnownAnswer | undefined {
    const key = keyOf(query);
    return key === undefined ? undefined : this.#answers.get(key);
  }

  /** The response to `query`: the table's own bytes, which hold until it is asked for the next one. */
  response(query: Buffer, { bytes }: KnownAnswer): Buffer {
    bytes[0] = query[0] as number;
    bytes[1] = query[1] as number;
    const asked = query.readUInt16BE(2) & (FLAG_RD | FLAG_CD);
    bytes.writeUInt16BE((bytes.readUInt16BE(2) & ~(FLAG_RD | FLAG_CD)) | asked, 2);
    return bytes;
  }

  /** Keeps the response to a query, when the query is one that is answered here. Both are left as they are. */
  put(query: Buffer, answer: KnownAnswer): void {
    const key = keyOf(query);
    if (key === undefined || /[A-Z]/.test(key.slice(0, -4))) return;
    if (this.#answers.size >= LIMIT) this.clear();
    this.#answers.set(key, { ...answer, bytes: Buffer.from(answer.bytes) });
    const keys = this.#keys.get(answer.name);
    if (keys === undefined) this.#keys.set(answer.name, [key]);
    else if (!keys.includes(key)) keys.push(key);
  }

  forget(name: string): void {
    for (const key of this.#keys.get(name) ?? []) this.#answers.delete(key);
    this.#keys.delete(name);
  }

  clear(): void {
    this.#answers.clear();
    this.#keys.clear();
  }
}
