import { describe, expect, test } from 'vitest';
import { isAbout, privateAddressIn } from '../../src/dns/answer-check.ts';
import { encodeQuery, readResponse, type ReadResponse } from '../../src/dns/upstream-message.ts';
import { responseTo } from './fixtures.ts';

function response(...answers: readonly unknown[]): ReadResponse {
  const query = encodeQuery('a.example', 'A', true);
  const read = readResponse(responseTo(query, { answers: [...answers] }), query.length - 12);
  if (read === undefined) throw new Error('malformed');
  return read;
}
const a = (name: string, data = '192.0.2.1') => ({ type: data.includes(':') ? 'AAAA' : 'A', name, ttl: 1, data });
const cname = (name: string, data: string) => ({ type: 'CNAME', name, ttl: 1, data });

describe('an answer is about the question', () => {
  test('when its addresses are of the name, or of where its aliases lead, in any order', () => {
    expect(isAbout(response(), 'a.example')).toBe(true);
    expect(isAbout(response(a('a.example'), a('A.example')), 'a.example')).toBe(true);
    const chain = [a('c.example'), cname('b.example', 'c.example'), cname('a.example', 'b.example')];
    expect(isAbout(response(...chain), 'a.example')).toBe(true);
    expect(isAbout(response({ type: 'TXT', name: 'other.example', ttl: 1, data: 'x' }), 'a.example')).toBe(true);
  });

  test('and not when an address is of another name', () => {
    expect(isAbout(response(a('b.example')), 'a.example')).toBe(false);
    expect(isAbout(response(a('a.example'), a('b.example', '2001:db8::1')), 'a.example')).toBe(false);
    expect(isAbout(response(cname('a.example', 'b.example'), a('c.example')), 'a.example')).toBe(false);
  });

  test('also when aliases go round, and at once when there are very many', () => {
    expect(isAbout(response(cname('a.example', 'b.example'), cname('b.example', 'a.example')), 'a.example')).toBe(true);
    const many = Array.from({ length: 2500 }, (_, i) => cname(`n${i}.example`, `n${i + 1}.example`));
    const begun = performance.now();
    expect(isAbout(response(...many.toReversed(), a('n2500.example')), 'n0.example')).toBe(true);
    expect(performance.now() - begun).toBeLessThan(1000);
  });
});

test.each([
  ['10.1.2.3'],
  ['127.0.0.1'],
  ['0.0.0.0'],
  ['100.64.0.1'],
  ['169.254.1.1'],
  ['172.31.255.255'],
  ['192.168.0.1'],
  ['::1'],
  ['::'],
  ['fd00::1'],
  ['fe80::1'],
  ['::ffff:10.0.0.1'],
  ['64:ff9b::c0a8:1'],
])('%s is a private address', (address) => {
  expect(privateAddressIn(response(a('a.example'), a('a.example', address)))).toBeDefined();
});

test.each([['11.0.0.1'], ['172.32.0.1'], ['192.0.2.1'], ['2001:db8::1'], ['::ffff:192.0.2.1'], ['64:ff9b::c000:201']])(
  '%s is a public one',
  (address) => {
    expect(privateAddressIn(response(a('a.example', address)))).toBeUndefined();
  },
);

test('private is what an address record says, not what any other bytes look like', () => {
  const text = String.fromCharCode(10, 0, 0, 1);
  expect(privateAddressIn(response({ type: 'TXT', name: 'a.example', ttl: 1, data: text }))).toBeUndefined();
});
