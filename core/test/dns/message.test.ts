import packet from 'dns-packet';
import { describe, expect, test } from 'vitest';
import { encodeAnswer, parseQuery, passOn, typeCode, typeName, udpLimit, type Query } from '../../src/dns/message.ts';
import { answersQuery, encodeQuery, readResponse } from '../../src/dns/upstream-message.ts';
import { responseTo } from './fixtures.ts';

const OPT = { type: 'OPT', name: '.', udpPayloadSize: 4096, flags: 0, options: [] };

function queryBytes(name: string, type = 'A', extra: object = {}): Buffer {
  return packet.encode({ type: 'query', id: 4711, flags: 0x0100, questions: [{ name, type, class: 'IN' }], ...extra });
}

function parsed(bytes: Buffer): Query {
  const result = parseQuery(bytes);
  if (result.kind === 'reject') throw new Error(`rejected with ${result.code}`);
  return result.query;
}

function rejected(bytes: Buffer): { readonly code: string; readonly response: Buffer | undefined } {
  const result = parseQuery(bytes);
  if (result.kind === 'query') throw new Error('not rejected');
  return result;
}

describe('a query', () => {
  test('is taken apart, with the name in lower case and the bytes as they came', () => {
    const bytes = queryBytes('WeB.Internal', 'AAAA', { additionals: [OPT] });
    const query = parsed(bytes);
    expect(query).toMatchObject({ id: 4711, name: 'web.internal', type: 'AAAA', classCode: 1 });
    expect(query.edns).toEqual({ udpBytes: 4096, version: 0, dnssecOk: false });
    expect(query.questionBytes.toString('latin1')).toBe('\x03WeB\x08Internal\x00\x00\x1c\x00\x01');
    expect(query.raw).toEqual(bytes);
  });

  test('of a type without a name gets one by its number, and back', () => {
    const bytes = queryBytes('a');
    bytes.writeUInt16BE(65, bytes.length - 4);
    expect(parsed(bytes).type).toBe('HTTPS');
    expect(typeCode('HTTPS')).toBe(65);
    bytes.writeUInt16BE(259, bytes.length - 4);
    expect(parsed(bytes).type).toBe('TYPE259');
    expect(typeCode('TYPE65')).toBe(65);
    expect(typeName(1)).toBe('A');
    expect(() => typeCode('NONSENSE')).toThrow(/not a DNS record type/);
    expect(() => typeCode('TYPE70000')).toThrow(/not a DNS record type/);
  });

  test.each([
    ['an empty datagram', Buffer.alloc(0)],
    ['a header cut short', Buffer.alloc(11)],
    ['a response', queryBytes('a', 'A', { type: 'response' })],
  ])('%s is no query and gets no answer', (_, bytes) => {
    expect(rejected(bytes).response).toBeUndefined();
  });

  test.each([
    ['no question', (bytes: Buffer) => bytes.writeUInt16BE(0, 4)],
    ['two questions', (bytes: Buffer) => bytes.writeUInt16BE(2, 4)],
    ['a pointer in its question', (bytes: Buffer) => bytes.writeUInt16BE(0xc00c, 12)],
    ['a label over the end', (bytes: Buffer) => bytes.writeUInt8(60, 12)],
    ['an answer count that is not true', (bytes: Buffer) => bytes.writeUInt16BE(0xffff, 6)],
    ['an additional count that is not true', (bytes: Buffer) => bytes.writeUInt16BE(1, 10)],
  ])('with %s is FORMERR under its id', (_, spoil) => {
    const bytes = queryBytes('web.internal');
    spoil(bytes);
    const { code, response } = rejected(bytes);
    expect(code).toBe('FORMERR');
    expect(packet.decode(response ?? Buffer.alloc(0))).toMatchObject({ id: 4711, rcode: 'FORMERR', flag_rd: true });
  });

  test('with bytes behind it is FORMERR', () => {
    expect(rejected(Buffer.concat([queryBytes('a'), Buffer.from([0])])).code).toBe('FORMERR');
  });

  test('with two OPT records, or one that the root does not own, is FORMERR', () => {
    expect(rejected(queryBytes('a', 'A', { additionals: [OPT, OPT] })).code).toBe('FORMERR');
    const bytes = Buffer.concat([
      queryBytes('a'),
      Buffer.from('\x01b\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00', 'latin1'),
    ]);
    bytes.writeUInt16BE(1, 10);
    expect(rejected(bytes).code).toBe('FORMERR');
  });

  test('of another EDNS version is BADVERS, with an OPT record', () => {
    const bytes = queryBytes('a', 'A', { additionals: [{ ...OPT, ednsVersion: 1 }] });
    const { code, response } = rejected(bytes);
    expect(code).toBe('BADVERS');
    const { additionals, rcode } = packet.decode(response ?? Buffer.alloc(0));
    expect(rcode).toBe('NOERROR');
    expect(additionals[0]).toMatchObject({ type: 'OPT', extendedRcode: 1 });
  });

  test('that is an update or a notification is NOTIMP', () => {
    const bytes = queryBytes('a');
    bytes.writeUInt16BE(0x2800, 2);
    expect(packet.decode(rejected(bytes).response ?? Buffer.alloc(0))).toMatchObject({ id: 4711, rcode: 'NOTIMP' });
  });
});

describe('an answer', () => {
  test('keeps id, question and its letters, and carries the records under the question name', () => {
    const query = parsed(queryBytes('WeB.internal'));
    const bytes = encodeAnswer(
      query,
      {
        code: 'NOERROR',
        authoritative: true,
        records: [{ name: 'web.internal', type: 'A', ttl: 60, data: '100.64.1.2' }],
      },
      512,
    );
    const answer = packet.decode(bytes);
    expect(answer).toMatchObject({
      id: 4711,
      rcode: 'NOERROR',
      flag_aa: true,
      flag_ra: true,
      flag_rd: true,
      flag_tc: false,
    });
    expect(answer.questions[0]?.name).toBe('WeB.internal');
    expect(answer.answers).toMatchObject([{ name: 'WeB.internal', type: 'A', ttl: 60, data: '100.64.1.2' }]);
    expect(answer.additionals).toEqual([]);
  });

  test('has an OPT record exactly when the query had one', () => {
    const query = parsed(queryBytes('a', 'A', { additionals: [{ ...OPT, flag_do: true, flags: 0x8000 }] }));
    const answer = packet.decode(encodeAnswer(query, { code: 'REFUSED' }, 512));
    expect(answer.rcode).toBe('REFUSED');
    expect(answer.additionals).toMatchObject([{ type: 'OPT', udpPayloadSize: 1232, flag_do: true }]);
  });

  test('that does not fit is cut to its question, with TC, and never over the limit', () => {
    const records = Array.from({ length: 60 }, (_, i) => ({ name: 'a', type: 'A', ttl: 1, data: `10.0.0.${i}` }));
    const plain = parsed(queryBytes('a'));
    expect(udpLimit(plain, 1232)).toBe(512);
    const cut = encodeAnswer(plain, { code: 'NOERROR', records }, 512);
    expect(packet.decode(cut)).toMatchObject({ flag_tc: true, answers: [] });
    const edns = parsed(queryBytes('a', 'A', { additionals: [OPT] }));
    expect(udpLimit(edns, 1232)).toBe(1232);
    const whole = encodeAnswer(edns, { code: 'NOERROR', records }, 1232);
    expect(packet.decode(whole)).toMatchObject({ flag_tc: false });
    expect(packet.decode(whole).answers).toHaveLength(60);
    expect(udpLimit(parsed(queryBytes('a', 'A', { additionals: [{ ...OPT, udpPayloadSize: 100 }] })), 1232)).toBe(512);
  });

  test('with data that is not of its type is refused, not sent', () => {
    const query = parsed(queryBytes('a'));
    const records = [{ name: 'a', type: 'A', ttl: 1, data: 'nonsense' }];
    expect(() => encodeAnswer(query, { code: 'NOERROR', records }, 512)).toThrow(/not an IPv4 address/);
  });

  test('of an upstream comes back under the id and the letters of the client, cut when it is too long', () => {
    const query = parsed(queryBytes('WeB.example'));
    const upstream = responseTo(queryBytes('web.example'), {
      answers: [{ type: 'A', name: 'web.example', ttl: 9, data: '192.0.2.1' }],
    });
    upstream.writeUInt16BE(1, 0);
    const passed = packet.decode(passOn(query, upstream, 512));
    expect(passed).toMatchObject({ id: 4711, questions: [{ name: 'WeB.example' }] });
    expect(passed.answers).toMatchObject([{ data: '192.0.2.1', ttl: 9 }]);
    expect(packet.decode(passOn(query, upstream, 40))).toMatchObject({ id: 4711, flag_tc: true, answers: [] });
  });
});

describe('a response of an upstream', () => {
  const query = encodeQuery('web.example', 'A', true);
  const question = query.subarray(12);
  const good = responseTo(query, { answers: [{ type: 'A', name: 'web.example', ttl: 9, data: '192.0.2.1' }] });

  test('is told by id and question, whatever its letters', () => {
    expect(answersQuery(good, 0, question)).toBe(true);
    expect(answersQuery(good, 1, question)).toBe(false);
    expect(answersQuery(query, 0, question)).toBe(false);
    const upper = Buffer.from(good);
    upper.write('WEB', 13);
    expect(answersQuery(upper, 0, question)).toBe(true);
    const other = Buffer.from(good);
    other.write('wob', 13);
    expect(answersQuery(other, 0, question)).toBe(false);
    const otherType = Buffer.from(good);
    otherType.writeUInt16BE(28, 12 + question.length - 4);
    expect(answersQuery(otherType, 0, question)).toBe(false);
    expect(answersQuery(good.subarray(0, 14), 0, question)).toBe(false);
  });

  test('is read with aliases, and refused when it is cut short', () => {
    const answers = [
      { type: 'CNAME', name: 'web.example', ttl: 30, data: 'other.example' },
      { type: 'A', name: 'other.example', ttl: 0x8000_0001, data: '192.0.2.2' },
    ];
    const soa = { mname: 'm', rname: 'r', serial: 1, refresh: 2, retry: 3, expire: 4, minimum: 55 };
    const bytes = responseTo(query, { answers, authorities: [{ type: 'SOA', name: 'example', ttl: 77, data: soa }] });
    const response = readResponse(bytes, question.length);
    expect(response?.answers).toMatchObject([
      { name: 'web.example', target: 'other.example', ttl: 30 },
      { name: 'other.example', type: 1, ttl: 0 },
    ]);
    expect(response?.authority).toMatchObject([{ name: 'example', ttl: 77, minimum: 55 }]);
    for (let length = 12 + question.length; length < bytes.length; length++) {
      expect(readResponse(bytes.subarray(0, length), question.length)).toBeUndefined();
    }
  });
});
