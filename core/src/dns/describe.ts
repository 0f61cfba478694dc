/** A response as text, for people. */
import { bytesToAddress } from '../capture/address.ts';
import { CLASS_IN, HEADER_BYTES, recordAt, responseCode, typeName, type RecordPlace } from './message.ts';
import { readName } from './name.ts';

export interface DescribedRecord {
  readonly name: string;
  readonly type: string;
  readonly ttl: number;
  readonly data: string;
}

export interface DescribedResponse {
  readonly code: string;
  readonly authoritative: boolean;
  readonly answers: readonly DescribedRecord[];
  readonly authority: readonly DescribedRecord[];
}

const FLAG_AA = 0x0400;
/** Types whose data is one name. */
const NAMES = new Set(['NS', 'CNAME', 'PTR', 'DNAME']);

function dataText(message: Buffer, { type, dataAt, end, class: of }: RecordPlace): string {
  const data = message.subarray(dataAt, end);
  // RFC 3597 5: what has no text of its own.
  const raw = `\\# ${data.length} ${data.toString('hex')}`.trimEnd();
  if (of !== CLASS_IN) return raw;
  const name = typeName(type);
  if (name === 'A' && data.length === 4) return bytesToAddress(data);
  if (name === 'AAAA' && data.length === 16) return bytesToAddress(data);
  if (NAMES.has(name)) return readName(message, dataAt)?.name ?? raw;
  if (name === 'MX' && data.length > 2) {
    const exchange = readName(message, dataAt + 2);
    return exchange === undefined ? raw : `${data.readUInt16BE(0)} ${exchange.name || '.'}`;
  }
  if (name === 'SRV' && data.length > 6) {
    const target = readName(message, dataAt + 6);
    const numbers = [0, 2, 4].map((at) => data.readUInt16BE(at)).join(' ');
    return target === undefined ? raw : `${numbers} ${target.name || '.'}`;
  }
  if (name === 'TXT' || name === 'HINFO') return strings(data) ?? raw;
  if (name === 'SOA') return soaText(message, dataAt, end) ?? raw;
  return raw;
}

/** Character strings (RFC 1035 3.3), each in quotes. */
function strings(data: Buffer): string | undefined {
  const texts: string[] = [];
  for (let at = 0; at < data.length;) {
    const end = at + 1 + (data[at] as number);
    if (end > data.length) return undefined;
    texts.push(JSON.stringify(data.toString('latin1', at + 1, end)));
    at = end;
  }
  return texts.join(' ');
}

function soaText(message: Buffer, at: number, end: number): string | undefined {
  const server = readName(message, at);
  const mailbox = server && readName(message, server.end);
  if (mailbox === undefined || mailbox.end + 20 !== end) return undefined;
  const numbers = [0, 4, 8, 12, 16].map((offset) => message.readUInt32BE(mailbox.end + offset)).join(' ');
  return `${server?.name || '.'} ${mailbox.name || '.'} ${numbers}`;
}

/** Reads a response; records that are malformed end it. `questionLength`: bytes of its question. */
export function describeResponse(message: Buffer, questionLength: number): DescribedResponse {
  let at = HEADER_BYTES + questionLength;
  const section = (count: number): DescribedRecord[] => {
    const records: DescribedRecord[] = [];
    for (let i = 0; i < count; i++) {
      const place = recordAt(message, at);
      const name = place && readName(message, place.nameAt);
      if (place === undefined || name === undefined) break;
      at = place.end;
      records.push({ name: name.name, type: typeName(place.type), ttl: place.ttl, data: dataText(message, place) });
    }
    return records;
  };
  const answers = section(message.readUInt16BE(6));
  const authority = section(message.readUInt16BE(8));
  return {
    code: responseCode(message),
    authoritative: (message.readUInt16BE(2) & FLAG_AA) !== 0,
    answers,
    authority,
  };
}
