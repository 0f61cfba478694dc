/** Keys and values of the maps, byte by byte as bpf/sklookup.bpf.c has them. Little-endian hosts only. */
import { addressToBytes, type Family, numberToAddress, type OwnSources, type Prefix } from '@weir/core';

export const SETTINGS_LENGTH = 28;

/**
 * struct settings.
 * @param named whether any class is for an own address.
 * @param forwarded whether flows with another source than ours are brought here too.
 */
export function settingsValue(sources: OwnSources, named: boolean, forwarded: boolean): Buffer {
  const flags = [named, forwarded].map((flag) => u32(flag ? 1 : 0));
  return Buffer.concat([addressToBytes(sources[4]), addressToBytes(sources[6]), ...flags]);
}

/** ANY_SOURCE and OWN_ADDRESSES of the program; lists of classes are between. */
export const ANY_SOURCE = 0;
export const OWN_ADDRESSES = 0xffff_ffff;

function addressBytes({ family, address }: Prefix): Uint8Array {
  return addressToBytes(numberToAddress(family, address));
}

/** struct prefix4, struct prefix6. */
export function prefixKey(prefix: Prefix): Buffer {
  return Buffer.concat([u32(prefix.length), addressBytes(prefix)]);
}

/** struct source4, struct source6. */
export function sourceKey(list: number, prefix: Prefix): Buffer {
  return Buffer.concat([u32(32 + prefix.length), u32(list), addressBytes(prefix)]);
}

const CLASS_OWN = 1;
export const CLASS_LENGTH = 12;

/** Where the ranges of a class lie, and how many there are of each protocol. */
export interface PlacedClass {
  readonly first: number;
  readonly tcp: number;
  readonly udp: number;
}

/** struct class. */
export function classValue({ first, tcp, udp }: PlacedClass, own: boolean): Buffer {
  const value = Buffer.alloc(CLASS_LENGTH);
  value.writeUInt32LE(first, 0);
  value.writeUInt16LE(tcp, 4);
  value.writeUInt16LE(udp, 6);
  value.writeUInt32LE(own ? CLASS_OWN : 0, 8);
  return value;
}

/** struct range. */
export function rangeValue(first: number, last: number, sources: number): Buffer {
  const value = Buffer.alloc(8);
  value.writeUInt16LE(first, 0);
  value.writeUInt16LE(last, 2);
  value.writeUInt32LE(sources, 4);
  return value;
}

/** RANGES of the program. */
export const RANGES = 262_144;

/** SOCKETS_PER_NETWORK of the program. */
export const SOCKETS_PER_NETWORK = 16;

/** The index of a point's socket in the map `sockets`. */
export function socketKey(
  network: { readonly family: Family; readonly protocol: 'tcp' | 'udp' },
  index: number,
): Buffer {
  const place = (network.family === 6 ? 2 : 0) + (network.protocol === 'udp' ? 1 : 0);
  return u32(place * SOCKETS_PER_NETWORK + index);
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}
