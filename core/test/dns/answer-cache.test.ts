import packet from 'dns-packet';
import { describe, expect, test } from 'vitest';
import { AnswerCache, cacheKey } from '../../src/dns/answer-cache.ts';
import { parseQuery, type Query } from '../../src/dns/message.ts';
import { responseTo } from './fixtures.ts';

function queryOf(name: string, more: object = {}): Query {
  const questions = [{ name, type: 'A', class: 'IN' }];
  const parsed = parseQuery(packet.encode({ type: 'query', id: 1, flags: 0x0100, questions, ...more }));
  if (parsed.kind === 'reject') throw new Error(parsed.code);
  return parsed.query;
}
const opt = (options: object[] = [], flags = 0) => ({
  additionals: [{ type: 'OPT', name: '.', udpPayloadSize: 1232, flags, options }],
});
const a = (ttl: number, name = 'a.example') => ({ type: 'A', name, ttl, data: '192.0.2.1' });
const soa = (ttl: number, minimum: number) => ({
  type: 'SOA',
  name: 'example',
  ttl,
  data: { mname: 'm', rname: 'r', serial: 1, refresh: 2, retry: 3, expire: 4, minimum },
});

function cacheOf(options: { entries?: number; staleMs?: number } = {}) {
  let now = 0;
  const cache = new AnswerCache({ entries: 10, staleMs: 0, now: () => now, ...options });
  return {
    cache,
    at: (seconds: number) => (now = seconds * 1000),
    set: (key: string, parts: Parameters<typeof responseTo>[1], name = 'a.example') => {
      const query = queryOf(name);
      cache.set(key, responseTo(query.raw, parts), query.questionBytes.length);
    },
    ttls: (key: string) => {
      const found = cache.get(key);
      return found && packet.decode(found).answers.map(({ ttl }) => ttl);
    },
  };
}

describe('an answer', () => {
  test('is given with what is left of its TTLs, for the shortest of them', () => {
    const { set, ttls, at } = cacheOf();
    set('k', { answers: [a(30), a(10)] });
    expect(ttls('k')).toEqual([30, 10]);
    at(9.9);
    expect(ttls('k')).toEqual([21, 1]);
    at(10);
    expect(ttls('k')).toBeUndefined();
  });

  test('that says "there is none" is kept as long as its SOA says, and without one not at all', () => {
    const { set, cache, at } = cacheOf();
    set('no', { rcode: 3, authorities: [soa(90, 20)] });
    set('nothing', { authorities: [soa(15, 60)] });
    set('silent', { rcode: 3 });
    expect([cache.get('no'), cache.get('nothing')]).not.toContain(undefined);
    expect(cache.get('silent')).toBeUndefined();
    at(15);
    expect(cache.get('nothing')).toBeUndefined();
    at(20);
    expect(cache.get('no')).toBeUndefined();
  });

  test.each([
    ['that failed', { rcode: 2, answers: [a(30)] }],
    ['that is refused', { rcode: 5, answers: [a(30)] }],
    ['that was cut', { flags: 0x0200, answers: [a(30)] }],
    ['with a TTL of 0', { answers: [a(30), a(0)] }],
  ])('%s is not kept', (_, parts) => {
    const { set, cache } = cacheOf();
    set('k', parts);
    expect(cache.size).toBe(0);
  });

  test('whose TTL has the top bit set is not kept (RFC 2181 8), and none for more than a day', () => {
    const { set, ttls, at } = cacheOf();
    set('wrong', { answers: [a(0x8000_0001)] });
    expect(ttls('wrong')).toBeUndefined();
    set('long', { answers: [a(0x7000_0000)] });
    at(86_399);
    expect(ttls('long')).toHaveLength(1);
    at(86_400);
    expect(ttls('long')).toBeUndefined();
  });

  test('may be given after its time where that is configured, for half a minute', () => {
    const { set, cache, at } = cacheOf({ staleMs: 60_000 });
    set('k', { answers: [a(10)] });
    at(30);
    expect(cache.get('k')).toBeUndefined();
    expect(packet.decode(cache.stale('k') as Buffer).answers[0]?.ttl).toBe(30);
    at(71);
    expect(cache.stale('k')).toBeUndefined();
  });
});

test('what was not asked for longest goes first, by number and by bytes', () => {
  const { set, ttls, cache } = cacheOf({ entries: 3 });
  for (const key of ['a', 'b', 'c']) set(key, { answers: [a(30)] });
  ttls('a');
  set('d', { answers: [a(30)] });
  expect(['a', 'b', 'c', 'd'].map((key) => ttls(key) !== undefined)).toEqual([true, false, true, true]);
  const big = Array.from({ length: 250 }, () => ({ type: 'TXT', name: 'a.example', ttl: 30, data: 'x'.repeat(200) }));
  set('e', { answers: big });
  set('f', { answers: big });
  expect(cache.bytes).toBeLessThan(3 * 1024 + 65_535);
  expect(ttls('f')).toBeDefined();
  cache.clear();
  expect([cache.size, cache.bytes]).toEqual([0, 0]);
});

describe('queries are alike', () => {
  const key = (query: Query) => cacheKey(query)?.key;

  test('when only id and letters differ, and not when EDNS, DO, RD or CD do', () => {
    expect(key(queryOf('A.exAMple', { id: 9 }))).toBe(key(queryOf('a.example')));
    const others = [
      queryOf('a.example'),
      queryOf('b.example'),
      queryOf('a.example', opt()),
      queryOf('a.example', opt([], 0x8000)),
      queryOf('a.example', { flags: 0 }),
      queryOf('a.example', { flags: 0x0110 }),
    ].map(key);
    expect(new Set(others).size).toBe(others.length);
  });

  test('with a cookie or padding, whose own answer is not for others', () => {
    const plain = queryOf('a.example', opt());
    const cookie = queryOf('a.example', opt([{ code: 10, data: Buffer.alloc(8) }]));
    expect(cacheKey(cookie)).toEqual({ key: key(plain), plain: false });
    expect(cacheKey(plain)?.plain).toBe(true);
  });

  test('never with a subnet of a client, an unknown option, or records beside', () => {
    expect(key(queryOf('a.example', opt([{ code: 8, data: Buffer.from([0, 1, 0, 0]) }])))).toBeUndefined();
    expect(key(queryOf('a.example', opt([{ code: 4711, data: Buffer.alloc(2) }])))).toBeUndefined();
    expect(key(queryOf('a.example', { additionals: [a(1)] }))).toBeUndefined();
    expect(key(queryOf('a.example', { answers: [a(1)] }))).toBeUndefined();
  });
});
