/** The upstream's side of DNS messages: Weir's own queries, whether a response answers one, and what it says. */
import {
  CLASS_IN,
  EDNS_UDP_BYTES,
  FLAG_QR,
  FLAG_RD,
  HEADER_BYTES,
  OPCODE_MASK,
  optRecord,
  recordAt,
  responseCode,
  typeCode,
  type RecordPlace,
  type ResponseCode,
} from './message.ts';
import { encodeName, readName } from './name.ts';

const TYPE_CNAME = 5;
const TYPE_SOA = 6;

function lower(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte;
}

/**
 * Whether `response` is a response to this question. Letters may differ in case: some servers answer in lower case.
 * Type and class are compared as they are.
 */
export function answersQuestion(response: Buffer, questionBytes: Buffer): boolean {
  if (response.length < HEADER_BYTES + questionBytes.length) return false;
  const flags = response.readUInt16BE(2);
  if ((flags & FLAG_QR) === 0 || (flags & OPCODE_MASK) !== 0 || response.readUInt16BE(4) !== 1) return false;
  const name = questionBytes.length - 4;
  for (let i = 0; i < name; i++) {
    if (lower(response[HEADER_BYTES + i] as number) !== lower(questionBytes[i] as number)) return false;
  }
  return response.subarray(HEADER_BYTES + name, HEADER_BYTES + name + 4).equals(questionBytes.subarray(name));
}

/** Whether `response` answers the query that went out with this id. */
export function answersQuery(response: Buffer, id: number, questionBytes: Buffer): boolean {
  return answersQuestion(response, questionBytes) && response.readUInt16BE(0) === id;
}

/** A query of Weir's own: recursion desired, EDNS with {@link EDNS_UDP_BYTES} unless `plain`. @throws RangeError. */
export function encodeQuery(name: string, type: string, plain = false): Buffer {
  const wire = encodeName(name);
  const message = Buffer.alloc(HEADER_BYTES + wire.length + 4);
  message.writeUInt16BE(FLAG_RD, 2);
  message.writeUInt16BE(1, 4);
  wire.copy(message, HEADER_BYTES);
  message.writeUInt16BE(typeCode(type), HEADER_BYTES + wire.length);
  message.writeUInt16BE(CLASS_IN, HEADER_BYTES + wire.length + 2);
  if (plain) return message;
  message.writeUInt16BE(1, 10);
  return Buffer.concat([message, optRecord({ udpBytes: 0, version: 0, dnssecOk: false }, EDNS_UDP_BYTES, 'NOERROR')]);
}

/** One record of a response, as far as look-ups need it. */
export interface ReadRecord {
  readonly name: string;
  readonly type: number;
  /** Seconds; a number with the top bit set means 0 (RFC 2181 8). */
  readonly ttl: number;
  /** The bytes of an address record. */
  readonly data: Buffer;
  /** Where a CNAME points. */
  readonly target?: string;
  /** The last field of an SOA: seconds that a negative answer holds (RFC 2308). */
  readonly minimum?: number;
}

export interface ReadResponse {
  readonly code: ResponseCode;
  readonly answers: readonly ReadRecord[];
  readonly authority: readonly ReadRecord[];
}

function readRecord(message: Buffer, place: RecordPlace): ReadRecord | undefined {
  const name = readName(message, place.nameAt);
  if (name === undefined) return undefined;
  const ttl = place.ttl > 0x7fff_ffff ? 0 : place.ttl;
  const data = message.subarray(place.dataAt, place.end);
  const record = { name: name.name, type: place.class === CLASS_IN ? place.type : 0, ttl, data };
  if (record.type === TYPE_CNAME) {
    const target = readName(message, place.dataAt);
    return target === undefined ? undefined : { ...record, target: target.name };
  }
  if (record.type === TYPE_SOA && data.length >= 22) return { ...record, minimum: data.readUInt32BE(data.length - 4) };
  return record;
}

/** Reads answers and authority of a response whose question was checked. Undefined when it is malformed. */
export function readResponse(message: Buffer, questionLength: number): ReadResponse | undefined {
  let at = HEADER_BYTES + questionLength;
  const section = (count: number): ReadRecord[] | undefined => {
    const records: ReadRecord[] = [];
    for (let i = 0; i < count; i++) {
      const place = recordAt(message, at);
      const record = place && readRecord(message, place);
      if (place === undefined || record === undefined) return undefined;
      records.push(record);
      at = place.end;
    }
    return records;
  };
  const answers = section(message.readUInt16BE(6));
  const authority = answers && section(message.readUInt16BE(8));
  return answers && authority && { code: responseCode(message), answers, authority };
}
