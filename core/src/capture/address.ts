/** IP addresses as text, bytes and numbers. The text form is the canonical one (RFC 5952 for IPv6). */
import type { Family, Prefix } from '../api/flow.ts';

export function familyOf(text: string): Family {
  return text.includes(':') ? 6 : 4;
}

const V4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;

/** True for an IPv4 or IPv6 literal without brackets, zone or prefix length. */
export function isAddress(text: string): boolean {
  if (V4.test(text)) return true;
  if (!text.includes(':')) return false;
  try {
    addressToBytes(text);
    return true;
  } catch {
    return false;
  }
}

/** Network-order bytes: 4 or 16. @throws RangeError when the text is no address. */
export function addressToBytes(text: string): Uint8Array {
  if (!text.includes(':')) {
    if (!V4.test(text)) throw new RangeError(`"${text}" is not an IPv4 address`);
    return Uint8Array.from(text.split('.'), Number);
  }
  return v6Bytes(text);
}

function v6Bytes(text: string): Uint8Array {
  const bad = () => new RangeError(`"${text}" is not an IPv6 address`);
  let head = text;
  const words: number[] = [];
  const tailWords: number[] = [];
  const embedded = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  if (embedded) {
    const [a = 0, b = 0, c = 0, d = 0] = addressToBytes(embedded[2] as string);
    head = `${embedded[1]}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  }
  const halves = head.split('::');
  if (halves.length > 2) throw bad();
  const parse = (part: string, into: number[]) => {
    if (part === '') return;
    for (const word of part.split(':')) {
      if (!/^[0-9a-fA-F]{1,4}$/.test(word)) throw bad();
      into.push(Number.parseInt(word, 16));
    }
  };
  parse(halves[0] as string, words);
  if (halves.length === 2) {
    parse(halves[1] as string, tailWords);
    const gap = 8 - words.length - tailWords.length;
    if (gap < 1) throw bad();
    for (let i = 0; i < gap; i++) words.push(0);
    words.push(...tailWords);
  }
  if (words.length !== 8) throw bad();
  const bytes = new Uint8Array(16);
  for (const [i, word] of words.entries()) {
    bytes[2 * i] = word >> 8;
    bytes[2 * i + 1] = word & 0xff;
  }
  return bytes;
}

/** Canonical text of 4 or 16 network-order bytes. */
export function bytesToAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`;
  const words: number[] = [];
  for (let i = 0; i < 16; i += 2) words.push(((bytes[i] as number) << 8) | (bytes[i + 1] as number));
  let best = -1;
  let bestLength = 1;
  for (let i = 0; i < 8; i++) {
    let n = 0;
    while (i + n < 8 && words[i + n] === 0) n++;
    if (n > bestLength) {
      best = i;
      bestLength = n;
    }
    if (n > 0) i += n - 1;
  }
  const hex = (list: number[]) => list.map((w) => w.toString(16)).join(':');
  if (best < 0) return hex(words);
  return `${hex(words.slice(0, best))}::${hex(words.slice(best + bestLength))}`;
}

// Not by way of bytes: a configuration can have tens of thousands of these.
function v4Number(text: string): number {
  let n = 0;
  let byte = 0;
  for (let at = 0; at < text.length; at++) {
    const digit = text.charCodeAt(at) - 48;
    // The dot is below the digits.
    if (digit >= 0) byte = byte * 10 + digit;
    else {
      n = n * 256 + byte;
      byte = 0;
    }
  }
  return n * 256 + byte;
}

/** The number that the address bytes spell in network order. */
export function addressToNumber(text: string): bigint {
  if (V4.test(text)) return BigInt(v4Number(text));
  let n = 0n;
  for (const byte of addressToBytes(text)) n = (n << 8n) | BigInt(byte);
  return n;
}

export function numberToAddress(family: Family, value: bigint): string {
  if (family === 4) {
    const n = Number(value);
    return `${n >>> 24}.${(n >>> 16) & 0xff}.${(n >>> 8) & 0xff}.${n & 0xff}`;
  }
  const bytes = new Uint8Array(16);
  let rest = value;
  for (let i = bytes.length - 1; i >= 0; i--) {
    bytes[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return bytesToAddress(bytes);
}

/** The four 32-bit words of an IPv6 address, the most significant first. */
export function addressToWords(value: bigint): [number, number, number, number] {
  const word = (shift: bigint) => Number((value >> shift) & 0xffff_ffffn);
  return [word(96n), word(64n), word(32n), word(0n)];
}

/** 32 or 128. */
export function widthOf(family: Family): 32 | 128 {
  return family === 4 ? 32 : 128;
}

/** 2^n for n up to 128: shifting a bigint anew for each of many prefixes costs more than all else that is done with it. */
const POWERS: readonly bigint[] = Array.from({ length: 129 }, (_, n) => 1n << BigInt(n));
const power = (n: number): bigint => POWERS[n] as bigint;

const masksOf = (width: number): readonly bigint[] =>
  Array.from({ length: width + 1 }, (_, length) => power(width) - power(width - length));
const MASKS: Readonly<Record<Family, readonly bigint[]>> = { 4: masksOf(32), 6: masksOf(128) };

/** The mask of a prefix length as a number. */
export function maskOf(family: Family, length: number): bigint {
  return MASKS[family][length] as bigint;
}

/**
 * `10.0.0.0/8`, `2001:db8::/32`, or an address alone (its full length).
 * @throws RangeError when the text is no prefix or has bits after its length.
 */
export function parsePrefix(text: string): Prefix {
  const [address = '', lengthText, extra] = text.split('/');
  if (extra !== undefined) throw new RangeError(`"${text}" is not a prefix`);
  const value = addressToNumber(address);
  const family = familyOf(address);
  const width = widthOf(family);
  if (lengthText !== undefined && !/^\d{1,3}$/.test(lengthText)) throw new RangeError(`"${text}" is not a prefix`);
  const length = lengthText === undefined ? width : Number(lengthText);
  if (length > width) throw new RangeError(`"${text}" has a prefix length above ${width}`);
  const masked = value & maskOf(family, length);
  if (masked !== value) {
    throw new RangeError(
      `"${text}" has bits after its prefix length; write ${numberToAddress(family, masked)}/${length}`,
    );
  }
  return { family, address: value, length };
}

export function formatPrefix(prefix: Prefix): string {
  return `${numberToAddress(prefix.family, prefix.address)}/${prefix.length}`;
}

/** The first and the last address of a prefix. */
export function prefixBounds(prefix: Prefix): readonly [bigint, bigint] {
  const size = power(widthOf(prefix.family) - prefix.length);
  return [prefix.address, prefix.address + size - 1n];
}

export function prefixContains(prefix: Prefix, family: Family, address: bigint): boolean {
  return prefix.family === family && (address & maskOf(family, prefix.length)) === prefix.address;
}

/** Order of rows: by family, address, then length, so that a prefix stands before those inside it. */
export function comparePrefixes(a: Prefix, b: Prefix): number {
  if (a.family !== b.family) return a.family - b.family;
  if (a.address !== b.address) return a.address < b.address ? -1 : 1;
  return a.length - b.length;
}

/** The fewest prefixes that hold exactly the addresses from `first` to `last`, in order. */
export function prefixesBetween(family: Family, first: bigint, last: bigint): readonly Prefix[] {
  const width = widthOf(family);
  const prefixes: Prefix[] = [];
  for (let address = first; address <= last;) {
    let host = 0;
    while (host < width) {
      const size = 1n << BigInt(host + 1);
      if ((address & (size - 1n)) !== 0n || address + size - 1n > last) break;
      host++;
    }
    prefixes.push({ family, address, length: width - host });
    address += 1n << BigInt(host);
  }
  return prefixes;
}
