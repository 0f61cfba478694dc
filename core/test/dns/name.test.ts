import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeName, isHostName, readName, skipName } from '../../src/dns/name.ts';

const labelBytes = fc.uint8Array({ minLength: 1, maxLength: 20 });
const wireName = fc.array(labelBytes, { maxLength: 10 }).map((labels) => {
  const parts = labels.flatMap((label) => [Uint8Array.of(label.length), label]);
  return Buffer.concat([...parts, Uint8Array.of(0)]);
});

function lowered(bytes: Uint8Array): Buffer {
  let at = 0;
  const copy = Buffer.from(bytes);
  while ((copy[at] ?? 0) > 0) {
    const end = at + 1 + (copy[at] ?? 0);
    for (let i = at + 1; i < end; i++) {
      const byte = copy[i] ?? 0;
      if (byte >= 0x41 && byte <= 0x5a) copy[i] = byte + 0x20;
    }
    at = end;
  }
  return copy;
}

test('any bytes of a name survive text and back, in lower case', () => {
  fc.assert(
    fc.property(wireName, (wire) => {
      const read = readName(wire, 0);
      expect(read?.end).toBe(wire.length);
      expect(skipName(wire, 0)).toBe(wire.length);
      expect(encodeName(read?.name ?? '')).toEqual(lowered(wire));
    }),
  );
});

test('dots and backslashes inside a label are told apart from label borders', () => {
  expect(readName(Buffer.from('\x03a.b\x01c\x00', 'latin1'), 0)?.name).toBe('a\\.b.c');
  expect(readName(Buffer.from('\x01a\x01b\x01c\x00', 'latin1'), 0)?.name).toBe('a.b.c');
  expect(readName(Buffer.from('\x02\\\n\x00', 'latin1'), 0)?.name).toBe('\\\\\\010');
});

test('a pointer leads backwards only, so that no chain of them loops', () => {
  const message = Buffer.from('\x01a\x00\x01b\xc0\x00\xc0\x03\xc0\x08\xc0\x0a', 'latin1');
  expect(readName(message, 3)).toEqual({ name: 'b.a', end: 7 });
  expect(readName(message, 7)).toEqual({ name: 'b.a', end: 9 });
  expect(readName(message, 9)).toBeUndefined();
  expect(readName(Buffer.from('\xc0\x00', 'latin1'), 0)).toBeUndefined();
  expect(readName(Buffer.from('\x01a\xc0\x00', 'latin1'), 0)).toBeUndefined();
  expect(readName(message, 3, 0)).toBeUndefined();
});

test('what runs over the end, is too long or has a reserved label type is no name', () => {
  expect(readName(Buffer.from('\x05ab', 'latin1'), 0)).toBeUndefined();
  expect(readName(Buffer.from('\x01a', 'latin1'), 0)).toBeUndefined();
  expect(readName(Buffer.from('\xc0', 'latin1'), 0)).toBeUndefined();
  expect(readName(Buffer.from('\x41a\x00', 'latin1'), 0)).toBeUndefined();
  const long = Buffer.concat([Buffer.from(`${`\x3f${'a'.repeat(63)}`.repeat(4)}\x00`, 'latin1')]);
  expect(long.length).toBe(257);
  expect(readName(long, 0)).toBeUndefined();
  expect(skipName(Buffer.from('\x05ab', 'latin1'), 0)).toBeUndefined();
});

test('text that is no name is refused with the reason', () => {
  expect(() => encodeName('a..b')).toThrow(/empty label/);
  expect(() => encodeName('a'.repeat(64))).toThrow(/longer than 63/);
  expect(() => encodeName(Array.from({ length: 130 }, () => 'a').join('.'))).toThrow(/longer than 255/);
  expect(() => encodeName('bücher.example')).toThrow(/xn--/);
  expect(encodeName('')).toEqual(Buffer.from([0]));
  expect(encodeName('a.')).toEqual(encodeName('a'));
});

test('only letters, digits, dash and underscore make a host name', () => {
  for (const good of ['a', 'web.internal', '_srv.x-1.y']) expect(isHostName(good)).toBe(true);
  for (const bad of ['', '.', 'a.', 'a..b', 'a\\.b', 'a b', 'a\r\nHost: x', 'A', 'a\\010b']) {
    expect(isHostName(bad)).toBe(false);
  }
});
