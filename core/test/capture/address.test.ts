import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  addressToBytes,
  addressToNumber,
  addressToWords,
  bytesToAddress,
  comparePrefixes,
  familyOf,
  formatPrefix,
  isAddress,
  numberToAddress,
  parsePrefix,
  prefixBounds,
  prefixContains,
  prefixesBetween,
} from '../../src/capture/address.ts';

describe('addresses', () => {
  test('IPv6 text is the canonical one of RFC 5952', () => {
    const cases = [
      ['::', '::'],
      ['::1', '::1'],
      ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
      ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
      ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
      ['fe80:0:0:0:0:0:0:0', 'fe80::'],
      ['::ffff:192.0.2.1', '::ffff:c000:201'],
    ] as const;
    for (const [text, canonical] of cases) expect(bytesToAddress(addressToBytes(text))).toBe(canonical);
  });

  test('what is no address is refused', () => {
    const bad = [
      '',
      '1.2.3',
      '1.2.3.4.5',
      '256.1.1.1',
      '01.2.3.4',
      '1.2.3.4.',
      ':',
      ':::',
      '1::2::3',
      '12345::',
      'g::',
    ];
    for (const text of [...bad, '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', '::1.2.3', 'fe80::1%lo', '1:2:3:4::5:6:7:8']) {
      expect([text, isAddress(text)]).toEqual([text, false]);
      expect(() => addressToBytes(text)).toThrow(RangeError);
    }
  });

  test('numbers, bytes, words and text are the same address', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
        const number = addressToNumber(text);
        const canonical = bytesToAddress(addressToBytes(text));
        expect(numberToAddress(familyOf(text), number)).toBe(canonical);
        expect(addressToNumber(canonical)).toBe(number);
        const words = addressToWords(number);
        expect(words.reduce((sum, word) => (sum << 32n) | BigInt(word), 0n)).toBe(number);
      }),
    );
  });
});

describe('prefixes', () => {
  test('are parsed and written, and bits after the length are refused with what to write', () => {
    expect(parsePrefix('10.0.0.0/8')).toEqual({ family: 4, address: 0x0a00_0000n, length: 8 });
    expect(parsePrefix('192.0.2.1').length).toBe(32);
    expect(parsePrefix('::/0')).toEqual({ family: 6, address: 0n, length: 0 });
    expect(formatPrefix(parsePrefix('2001:DB8::/32'))).toBe('2001:db8::/32');
    expect(() => parsePrefix('10.0.0.1/8')).toThrow('write 10.0.0.0/8');
    for (const text of ['10.0.0.0/33', '::/129', '10.0.0.0/', '10.0.0.0/8/8', '10.0.0.0/-1', '/8', '10.0.0.0/1e1']) {
      expect(() => parsePrefix(text)).toThrow(RangeError);
    }
  });

  test('hold what lies between their bounds', () => {
    const prefix = parsePrefix('198.51.100.64/26');
    const [first, last] = prefixBounds(prefix);
    expect([numberToAddress(4, first), numberToAddress(4, last)]).toEqual(['198.51.100.64', '198.51.100.127']);
    expect([first - 1n, first, last, last + 1n].map((at) => prefixContains(prefix, 4, at))).toEqual([
      false,
      true,
      true,
      false,
    ]);
    expect(prefixContains(parsePrefix('0.0.0.0/0'), 6, 0n)).toBe(false);
  });

  test('sort by family, address, then length', () => {
    const texts = ['0.0.0.0/0', '0.0.0.0/8', '10.0.0.0/8', '10.0.0.0/24', '10.0.1.0/24', '::/0', '2001:db8::/32'];
    const shuffled = texts.map((text) => parsePrefix(text)).toReversed();
    expect(shuffled.toSorted(comparePrefixes).map((prefix) => formatPrefix(prefix))).toEqual(texts);
  });

  test('a range becomes the fewest prefixes that hold exactly it', () => {
    const between = (first: string, last: string) =>
      prefixesBetween(familyOf(first), addressToNumber(first), addressToNumber(last)).map((one) => formatPrefix(one));
    expect(between('0.0.0.0', '255.255.255.255')).toEqual(['0.0.0.0/0']);
    expect(between('::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff')).toEqual(['::/0']);
    expect(between('10.0.0.1', '10.0.0.6')).toEqual(['10.0.0.1/32', '10.0.0.2/31', '10.0.0.4/31', '10.0.0.6/32']);
    expect(between('10.0.0.0', '10.0.1.255')).toEqual(['10.0.0.0/23']);
    expect(between('192.0.2.9', '192.0.2.9')).toEqual(['192.0.2.9/32']);
    fc.assert(
      fc.property(fc.nat(4096), fc.nat(4096), (a, b) => {
        const [first, last] = a < b ? [a, b] : [b, a];
        const parts = prefixesBetween(4, BigInt(first), BigInt(last)).map((one) => prefixBounds(one));
        expect(parts[0]?.[0]).toBe(BigInt(first));
        expect(parts.at(-1)?.[1]).toBe(BigInt(last));
        for (const [at, part] of parts.slice(1).entries()) expect(part[0]).toBe((parts[at]?.[1] ?? 0n) + 1n);
      }),
    );
  });
});
