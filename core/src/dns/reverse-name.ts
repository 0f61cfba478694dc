/** Names under in-addr.arpa and ip6.arpa (RFC 1035 3.5, RFC 3596 2.5). */
import type { Family, Prefix } from '../api/flow.ts';
import { addressToBytes, maskOf, prefixContains, widthOf } from '../capture/address.ts';

/** What a reverse name says: an address, or the beginning of one. */
export interface ReverseName {
  readonly family: Family;
  /** The bits that are not known are 0. */
  readonly address: bigint;
  /** How many bits are known: all of them for an address. */
  readonly bits: number;
}

/** The reverse name of an address. @throws RangeError for what is none. */
export function reverseNameOf(address: string): string {
  const bytes = [...addressToBytes(address)].toReversed();
  if (bytes.length === 4) return `${bytes.join('.')}.in-addr.arpa`;
  const nibbles = bytes.flatMap((byte) => [byte & 15, byte >> 4]).map((nibble) => nibble.toString(16));
  return `${nibbles.join('.')}.ip6.arpa`;
}

/** Undefined for a name that is not of a reverse zone, or has a label that stands for no bits. */
export function parseReverseName(name: string): ReverseName | undefined {
  const v4 = name.endsWith('.in-addr.arpa');
  if (!v4 && !name.endsWith('.ip6.arpa')) return undefined;
  const family: Family = v4 ? 4 : 6;
  const labels = name.slice(0, v4 ? -13 : -9).split('.');
  const step = v4 ? 8 : 4;
  if (labels.length * step > widthOf(family)) return undefined;
  let address = 0n;
  for (const label of labels.toReversed()) {
    if (!(v4 ? /^(?:0|[1-9]\d{0,2})$/ : /^[0-9a-f]$/).test(label)) return undefined;
    const value = v4 ? Number(label) : Number.parseInt(label, 16);
    if (value > (v4 ? 255 : 15)) return undefined;
    address = (address << BigInt(step)) | BigInt(value);
  }
  const bits = labels.length * step;
  return { family, address: address << BigInt(widthOf(family) - bits), bits };
}

/** Whether all addresses behind a reverse name lie in a prefix. */
export function isReverseOf({ family, address, bits }: ReverseName, prefix: Prefix): boolean {
  return bits >= prefix.length && prefixContains(prefix, family, address & maskOf(family, bits));
}
