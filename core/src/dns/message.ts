/**
 * DNS messages (RFC 1035 4.1, EDNS(0) RFC 6891). Only the parts that Weir answers itself are taken apart; the bytes of
 * a query stay beside them, so that what is forwarded goes on unchanged and the question comes back letter by letter.
 */
import packet from 'dns-packet';
import types from 'dns-packet/types.js';
import type { ResourceRecord } from '../api/resolver.ts';
import { addressToBytes } from '../capture/address.ts';
import { encodeName, readName, skipName } from './name.ts';

export const HEADER_BYTES = 12;
/** What a client without EDNS takes over UDP (RFC 1035 4.2.1). */
export const PLAIN_UDP_BYTES = 512;
/** What is sent and asked for over UDP at most, unless configured otherwise: no fragments (DNS flag day 2020). */
export const EDNS_UDP_BYTES = 1232;
/** The length prefix of TCP has 16 bits. */
export const MAX_MESSAGE_BYTES = 65_535;

export const FLAG_QR = 0x8000;
const FLAG_AA = 0x0400;
const FLAG_TC = 0x0200;
export const FLAG_RD = 0x0100;
const FLAG_RA = 0x0080;
const FLAG_CD = 0x0010;
export const OPCODE_MASK = 0x7800;
const TYPE_OPT = 41;
export const CLASS_IN = 1;

/** Response codes (IANA DNS parameters). BADVERS is an extended one and needs an OPT record. */
const RCODES = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5, BADVERS: 16 } as const;
export type ResponseCode = keyof typeof RCODES;

/** What the client said in its OPT record. */
export interface Edns {
  readonly udpBytes: number;
  readonly version: number;
  readonly dnssecOk: boolean;
}

/** A query that can be answered. */
export interface Query {
  readonly id: number;
  readonly flags: number;
  /** Lower case, without trailing dot. */
  readonly name: string;
  readonly typeCode: number;
  /** `A`, `TXT`, `HTTPS`, `TYPE259`. */
  readonly type: string;
  readonly classCode: number;
  /** Name, type and class as they came, for the answer. */
  readonly questionBytes: Buffer;
  readonly edns: Edns | undefined;
  readonly raw: Buffer;
}

/**
 * `query`: to be answered. `reject`: answer with that code (a `reject` for what is no query at all has no response).
 */
export type ParsedQuery =
  | { readonly kind: 'query'; readonly query: Query }
  | { readonly kind: 'reject'; readonly code: ResponseCode; readonly response: Buffer | undefined };

/** Types that dns-packet has no name for (RFC 9460). */
const LATER_TYPES: ReadonlyMap<number, string> = new Map([
  [64, 'SVCB'],
  [65, 'HTTPS'],
]);

/** `A` for 1, `TYPE259` for what has no name here. */
export function typeName(code: number): string {
  const name = types.toString(code);
  return name.startsWith('UNKNOWN_') ? (LATER_TYPES.get(code) ?? `TYPE${code}`) : name;
}

/** The number of `A`, `HTTPS` or `TYPE65`. @throws RangeError for anything else. */
export function typeCode(name: string): number {
  const known = types.toType(name);
  if (known > 0) return known;
  for (const [code, later] of LATER_TYPES) if (later === name) return code;
  const digits = /^TYPE(\d{1,5})$/.exec(name)?.[1];
  if (digits === undefined || Number(digits) > 0xffff) throw new RangeError(`"${name}" is not a DNS record type`);
  return Number(digits);
}

/** The fixed part of a record, and where its data lies. */
export interface RecordPlace {
  readonly nameAt: number;
  readonly type: number;
  readonly class: number;
  readonly ttl: number;
  readonly dataAt: number;
  readonly end: number;
}

/** The record at `offset`; undefined when it runs over the end of the message. */
export function recordAt(message: Buffer, offset: number): RecordPlace | undefined {
  const fixed = skipName(message, offset);
  if (fixed === undefined || fixed + 10 > message.length) return undefined;
  const dataAt = fixed + 10;
  const end = dataAt + message.readUInt16BE(fixed + 8);
  if (end > message.length) return undefined;
  return {
    nameAt: offset,
    type: message.readUInt16BE(fixed),
    class: message.readUInt16BE(fixed + 2),
    ttl: message.readUInt32BE(fixed + 4),
    dataAt,
    end,
  };
}

/** An OPT record (RFC 6891 6.1.2): 11 bytes, no options. */
export function optRecord(edns: Edns, udpBytes: number, code: ResponseCode): Buffer {
  const opt = Buffer.alloc(11);
  opt.writeUInt16BE(TYPE_OPT, 1);
  opt.writeUInt16BE(udpBytes, 3);
  opt[5] = RCODES[code] >> 4;
  if (edns.dnssecOk) opt.writeUInt16BE(0x8000, 7);
  return opt;
}

/** A response without records. `question` is repeated when there is one. */
function bareResponse(
  id: number,
  flags: number,
  code: ResponseCode,
  question: Buffer | undefined,
  opt?: Buffer,
): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(id, 0);
  header.writeUInt16BE(
    FLAG_QR | (flags & (OPCODE_MASK | FLAG_AA | FLAG_TC | FLAG_RD | FLAG_RA | FLAG_CD)) | (RCODES[code] & 0xf),
    2,
  );
  header.writeUInt16BE(question === undefined ? 0 : 1, 4);
  header.writeUInt16BE(opt === undefined ? 0 : 1, 10);
  return Buffer.concat([header, question ?? Buffer.alloc(0), opt ?? Buffer.alloc(0)]);
}

/** Takes a client's message apart. Never throws, whatever the bytes are. */
export function parseQuery(message: Uint8Array): ParsedQuery {
  const raw = Buffer.from(message.buffer, message.byteOffset, message.byteLength);
  if (raw.length < HEADER_BYTES) return { kind: 'reject', code: 'FORMERR', response: undefined };
  const id = raw.readUInt16BE(0);
  const flags = raw.readUInt16BE(2) & ~(FLAG_AA | FLAG_TC | FLAG_RA);
  // A response to a response could bounce between two servers for ever.
  if (flags & FLAG_QR) return { kind: 'reject', code: 'FORMERR', response: undefined };
  const reject = (code: ResponseCode, question?: Buffer, opt?: Buffer): ParsedQuery => ({
    kind: 'reject',
    code,
    response: bareResponse(id, flags, code, question, opt),
  });
  if (flags & OPCODE_MASK) return reject('NOTIMP');
  if (raw.readUInt16BE(4) !== 1) return reject('FORMERR');
  const name = readName(raw, HEADER_BYTES, 0);
  if (name === undefined || name.end + 4 > raw.length) return reject('FORMERR');
  const questionBytes = raw.subarray(HEADER_BYTES, name.end + 4);
  let edns: Edns | undefined;
  let at = name.end + 4;
  const plain = raw.readUInt16BE(6) + raw.readUInt16BE(8);
  const records = plain + raw.readUInt16BE(10);
  for (let i = 0; i < records; i++) {
    const record = recordAt(raw, at);
    if (record === undefined) return reject('FORMERR', questionBytes);
    if (record.type === TYPE_OPT) {
      // One at most, in the additional section, owned by the root (RFC 6891 6.1.1).
      if (edns !== undefined || i < plain || raw[record.nameAt] !== 0) return reject('FORMERR', questionBytes);
      edns = {
        udpBytes: record.class,
        version: (record.ttl >>> 16) & 0xff,
        dnssecOk: (record.ttl & 0x8000) !== 0,
      };
    }
    at = record.end;
  }
  if (at !== raw.length) return reject('FORMERR', questionBytes);
  if (edns !== undefined && edns.version !== 0) {
    return reject('BADVERS', questionBytes, optRecord(edns, EDNS_UDP_BYTES, 'BADVERS'));
  }
  const code = raw.readUInt16BE(name.end);
  const query: Query = {
    id,
    flags,
    name: name.name,
    typeCode: code,
    type: typeName(code),
    classCode: raw.readUInt16BE(name.end + 2),
    questionBytes,
    edns,
    raw,
  };
  return { kind: 'query', query };
}

/** The record's data behind its length, as on the wire. */
function encodeData({ type, data }: ResourceRecord): Buffer {
  if (type !== 'A' && type !== 'AAAA') return packet.record(type).encode(data);
  // dns-packet makes some address of any text.
  const bytes = typeof data === 'string' ? addressToBytes(data) : new Uint8Array();
  const length = type === 'A' ? 4 : 16;
  if (bytes.length !== length) throw new RangeError(`${JSON.stringify(data)} is not the data of a record ${type}`);
  return Buffer.concat([Uint8Array.of(0, length), bytes]);
}

function encodeRecord(record: ResourceRecord, query: Query): Buffer {
  const owner = record.name === query.name ? Buffer.from([0xc0, HEADER_BYTES]) : encodeName(record.name);
  const fixed = Buffer.alloc(8);
  fixed.writeUInt16BE(typeCode(record.type), 0);
  fixed.writeUInt16BE(CLASS_IN, 2);
  fixed.writeUInt32BE(record.ttl, 4);
  return Buffer.concat([owner, fixed, encodeData(record)]);
}

/** What an answer that Weir makes itself consists of. */
export interface AnswerParts {
  readonly code: ResponseCode;
  readonly records?: readonly ResourceRecord[];
  readonly authority?: readonly ResourceRecord[];
  readonly authoritative?: boolean;
}

/**
 * The response in bytes, at most `limit` of them: what does not fit is left out as a whole and TC says so (RFC 2181 9).
 * `udpBytes` is what the client is told that it may send. The question's owner name is compressed to a pointer, so that records carry the client's own spelling.
 * @throws RangeError, TypeError when a record cannot be encoded.
 */
export function encodeAnswer(query: Query, parts: AnswerParts, limit: number, udpBytes = EDNS_UDP_BYTES): Buffer {
  const answers = (parts.records ?? []).map((record) => encodeRecord(record, query));
  const authority = (parts.authority ?? []).map((record) => encodeRecord(record, query));
  const opt = query.edns === undefined ? undefined : optRecord(query.edns, udpBytes, parts.code);
  const flags = query.flags | FLAG_RA | (parts.authoritative ? FLAG_AA : 0);
  const bare = bareResponse(query.id, flags, parts.code, query.questionBytes);
  const whole = Buffer.concat([bare, ...answers, ...authority, ...(opt ? [opt] : [])]);
  if (whole.length > limit) return truncated(query, flags, parts.code, udpBytes);
  whole.writeUInt16BE(answers.length, 6);
  whole.writeUInt16BE(authority.length, 8);
  whole.writeUInt16BE(opt === undefined ? 0 : 1, 10);
  return whole;
}

function truncated(query: Query, flags: number, code: ResponseCode, udpBytes: number): Buffer {
  const opt = query.edns === undefined ? undefined : optRecord(query.edns, udpBytes, code);
  return bareResponse(query.id, flags | FLAG_TC, code, query.questionBytes, opt);
}

/** An upstream's message as the client may have it: its own id, the client's spelling of the question, its size. */
export function passOn(query: Query, raw: Uint8Array, limit: number): Buffer {
  const message = Buffer.from(raw);
  if (message.length > limit) {
    const flags = message.readUInt16BE(2);
    return truncated(query, flags, responseCode(message), EDNS_UDP_BYTES);
  }
  message.writeUInt16BE(query.id, 0);
  query.questionBytes.copy(message, HEADER_BYTES);
  return message;
}

/** The largest UDP response this client takes. */
export function udpLimit(query: Query, most: number): number {
  return query.edns === undefined ? PLAIN_UDP_BYTES : Math.max(PLAIN_UDP_BYTES, Math.min(query.edns.udpBytes, most));
}

/** True when the response says that it was cut (TC). */
export function isTruncated(message: Buffer): boolean {
  return (message.readUInt16BE(2) & FLAG_TC) !== 0;
}

/** The basic response code; SERVFAIL for a number that Weir has no word for. */
export function responseCode(message: Buffer): ResponseCode {
  const number = message.readUInt16BE(2) & 0xf;
  for (const [name, value] of Object.entries(RCODES)) if (value === number) return name as ResponseCode;
  return 'SERVFAIL';
}
