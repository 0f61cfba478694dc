/**
 * Netlink attributes (linux/netlink.h, struct nlattr): length u16 @0 · type u16 @2 · value, padded to 4 bytes. All
 * numbers in host order except where a family says otherwise; Weir runs on little-endian machines only.
 */
import { NLA_TYPE_MASK } from './constants.ts';

const HEADER = 4;

/** Rounds up to the alignment of attributes and messages. */
export function aligned(length: number): number {
  return (length + 3) & ~3;
}

/** One attribute to send. */
export function attribute(type: number, value: Uint8Array): Buffer {
  const buffer = Buffer.alloc(aligned(HEADER + value.length));
  buffer.writeUInt16LE(HEADER + value.length, 0);
  buffer.writeUInt16LE(type, 2);
  buffer.set(value, HEADER);
  return buffer;
}

export function attributeU8(type: number, value: number): Buffer {
  return attribute(type, Uint8Array.of(value));
}

export function attributeU32(type: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return attribute(type, bytes);
}

/** A string with its terminating zero. */
export function attributeText(type: number, value: string): Buffer {
  return attribute(type, Buffer.from(`${value}\0`, 'utf8'));
}

/** Attributes by type; of two with the same type the later one stays. */
export type Attributes = ReadonlyMap<number, Buffer>;

/**
 * Reads all attributes of `bytes`. What the kernel sends is well-formed; a length that leads outside ends the list, so
 * that a short buffer gives fewer attributes and never an exception.
 */
export function parseAttributes(bytes: Buffer): Attributes {
  const found = new Map<number, Buffer>();
  let at = 0;
  while (at + HEADER <= bytes.length) {
    const length = bytes.readUInt16LE(at);
    if (length < HEADER || at + length > bytes.length) break;
    found.set(bytes.readUInt16LE(at + 2) & NLA_TYPE_MASK, bytes.subarray(at + HEADER, at + length));
    at += aligned(length);
  }
  return found;
}

/** The attribute as a number of 32 bits, or `undefined` when it is absent or too short. */
export function readU32(attributes: Attributes, type: number): number | undefined {
  const value = attributes.get(type);
  return value && value.length >= 4 ? value.readUInt32LE(0) : undefined;
}

export function readU8(attributes: Attributes, type: number): number | undefined {
  return attributes.get(type)?.[0];
}

/** The attribute as text up to its terminating zero. */
export function readText(attributes: Attributes, type: number): string | undefined {
  const value = attributes.get(type);
  if (!value) return undefined;
  const end = value.indexOf(0);
  return value.toString('utf8', 0, end < 0 ? value.length : end);
}
