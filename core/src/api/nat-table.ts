/**
 * The table by which a mechanism that rewrites packets tells the data plane whose flow arrives at a capture point. The
 * mechanism gives each flow a source of its own, an address and a port out of a block of consecutive ones; at that place
 * of the table stand the flow's real source and its original destination. Shared memory: the mechanism writes an entry
 * before it lets the first packet of the flow through, and leaves it alone until the flow has ended and nothing of it can
 * still wait in a socket. The data plane only reads.
 *
 * All words are 32 bits. Addresses are words in the byte order of the network; IPv4 takes the first of four.
 *
 *   head   version · family · addresses · first port · ports per address · 4 words first address · 7 unused
 *   entry  4 words source address · source port · 4 words original address · original port · held
 *
 * The entry of a flow stands at (address − first address) × ports per address + (port − first port). An entry that was
 * never used is all zeros. `held` is one more than the flow's place in the point's table of held flows (held-flows.ts),
 * while it has one.
 */
import type { Family } from './flow.ts';

export const NAT_TABLE_VERSION = 2;

/** Words of the head, and what stands in them. */
export const NAT_HEAD = 16;
export const NAT_VERSION = 0;
export const NAT_FAMILY = 1;
export const NAT_ADDRESSES = 2;
export const NAT_FIRST_PORT = 3;
export const NAT_PORTS = 4;
export const NAT_FIRST_ADDRESS = 5;

/** Words of an entry, and what stands in them. */
export const NAT_ENTRY = 11;
export const NAT_SOURCE = 0;
export const NAT_SOURCE_PORT = 4;
export const NAT_ORIGINAL = 5;
export const NAT_ORIGINAL_PORT = 9;
export const NAT_HELD = 10;

/** The block of sources that a mechanism gives to flows. */
export interface NatBlock {
  readonly family: Family;
  /** As 4 or 16 bytes. */
  readonly firstAddress: Uint8Array;
  /** Consecutive addresses; only the last 32 bits of the first one are counted up. */
  readonly addresses: number;
  readonly firstPort: number;
  /** Consecutive ports of each address. */
  readonly ports: number;
}

/** An empty table for a block. The memory is only taken when it is written. */
export function createNatTable({ family, firstAddress, addresses, firstPort, ports }: NatBlock): SharedArrayBuffer {
  const table = new SharedArrayBuffer(4 * (NAT_HEAD + NAT_ENTRY * addresses * ports));
  const head = new Int32Array(table, 0, NAT_HEAD);
  head[NAT_VERSION] = NAT_TABLE_VERSION;
  head[NAT_FAMILY] = family;
  head[NAT_ADDRESSES] = addresses;
  head[NAT_FIRST_PORT] = firstPort;
  head[NAT_PORTS] = ports;
  new Uint8Array(table, 4 * NAT_FIRST_ADDRESS, 16).set(firstAddress);
  return table;
}
