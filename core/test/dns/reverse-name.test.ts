import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { addressToNumber, numberToAddress, parsePrefix } from '../../src/capture/address.ts';
import { isReverseOf, parseReverseName, reverseNameOf } from '../../src/dns/reverse-name.ts';

describe('a reverse name', () => {
  test('says the address that dig -x makes it of', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }), (address) => {
        const name = `${numberToAddress(4, address).split('.').toReversed().join('.')}.in-addr.arpa`;
        expect(parseReverseName(name)).toEqual({ family: 4, address, bits: 32 });
        expect(reverseNameOf(numberToAddress(4, address))).toBe(name);
      }),
    );
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }), (address) => {
        const nibbles = address.toString(16).padStart(32, '0').split('').toReversed().join('.');
        expect(parseReverseName(`${nibbles}.ip6.arpa`)).toEqual({ family: 6, address, bits: 128 });
        expect(reverseNameOf(numberToAddress(6, address))).toBe(`${nibbles}.ip6.arpa`);
      }),
    );
  });

  test('may say only the beginning of one', () => {
    expect(parseReverseName('64.100.in-addr.arpa')).toEqual({
      family: 4,
      address: addressToNumber('100.64.0.0'),
      bits: 16,
    });
    expect(parseReverseName('4.6.d.f.ip6.arpa')).toEqual({ family: 6, address: addressToNumber('fd64::'), bits: 16 });
  });

  test.each([
    'in-addr.arpa',
    'ip6.arpa',
    '.in-addr.arpa',
    '256.1.1.1.in-addr.arpa',
    '01.1.1.1.in-addr.arpa',
    '1.2.3.4.5.in-addr.arpa',
    'x.1.1.in-addr.arpa',
    'g.ip6.arpa',
    '10.ip6.arpa',
    'web.internal',
    '1.2.3.4.in-addr.arpa.example',
  ])('is none: %s', (name) => {
    expect(parseReverseName(name)).toBeUndefined();
  });
});

test('a name is of a range when all its addresses are', () => {
  const range = parsePrefix('100.64.0.0/10');
  const of = (name: string) => isReverseOf(parseReverseName(name) ?? { family: 4, address: 0n, bits: 0 }, range);
  expect(of('1.0.64.100.in-addr.arpa')).toBe(true);
  expect(of('127.100.in-addr.arpa')).toBe(true);
  expect(of('128.100.in-addr.arpa')).toBe(false);
  expect(of('100.in-addr.arpa')).toBe(false);
  expect(of('4.6.d.f.ip6.arpa')).toBe(false);
});
