/**
 * Tells a client of UDP what its datagram would have met without Weir: ICMP "port unreachable" and its like (RFC 792,
 * RFC 4443 section 3.1), from the address that the client wrote to, about the datagram that it wrote. Bounded like the
 * kernel's own (icmp(7) icmp_msgs_per_sec), because who wrote may not be who is said to have written.
 */
import { IPPROTO_UDP, MSG_DONTWAIT } from '../sys/constants.ts';
import { sumOf } from '../sys/internet-checksum.ts';
import { MessageBatch } from '../sys/message-batch.ts';
import { at, type Counters } from './counters.ts';
import { FAMILY, I32, ORIGINAL, ORIGINAL_PORT, SCOPE, SOURCE, SOURCE_PORT, type FlowSlab } from './flow-slab.ts';
import { writePacketInfo } from './packet-info.ts';

export type Unreachable = 'network' | 'host' | 'port';

/** linux/icmp.h ICMP_NET_UNREACH …; linux/icmpv6.h ICMPV6_NOROUTE, ICMPV6_ADDR_UNREACH, ICMPV6_PORT_UNREACH. */
const CODES: Readonly<Record<4 | 6, Readonly<Record<Unreachable, number>>>> = {
  4: { network: 0, host: 1, port: 3 },
  6: { network: 0, host: 3, port: 4 },
};
const ICMP_DEST_UNREACH = 3;
const ICMPV6_DEST_UNREACH = 1;
const ICMP_HEADER = 8;
const UDP_HEADER = 8;
const HOP_LIMIT = 64;
/** A message with the longest headers: ICMP, IPv6, UDP. */
const LONGEST = ICMP_HEADER + 40 + UDP_HEADER;
const CONTROL = 64;
/** Messages of one worker per second. */
const PER_SECOND = 1000;

export class UnreachableMessages {
  readonly #slab: FlowSlab;
  readonly #counters: Counters;
  readonly #batch = new MessageBatch({ messages: 1, payload: LONGEST, control: CONTROL });
  readonly #view: DataView;
  #second = 0;
  #sent = 0;

  constructor(slab: FlowSlab, counters: Counters) {
    this.#slab = slab;
    this.#counters = counters;
    const { payloads } = this.#batch;
    this.#view = new DataView(payloads.buffer, payloads.byteOffset, payloads.byteLength);
  }

  /**
   * @param fd a socket of `openIcmpSocket` of the session's family.
   * @param length bytes of payload of the datagram that met it.
   */
  tell(slot: number, what: Unreachable, length: number, fd: number, now: number): void {
    if (!this.#mayTell(now)) {
      this.#count(at.refusalsLimited);
      return;
    }
    const { i32 } = this.#slab;
    const i = slot * I32;
    const family = i32[i + FAMILY] as 4 | 6;
    const view = this.#view;
    const inner = ICMP_HEADER;
    const udp = inner + (family === 4 ? 20 : 40);
    const end = udp + UDP_HEADER;
    const bytes = UDP_HEADER + length;
    new Uint8Array(view.buffer, view.byteOffset, end).fill(0);
    view.setUint8(0, family === 4 ? ICMP_DEST_UNREACH : ICMPV6_DEST_UNREACH);
    view.setUint8(1, CODES[family][what]);
    if (family === 4) writeHeader4(view, inner, bytes);
    else writeHeader6(view, inner, bytes);
    const [from, to] = family === 4 ? [inner + 12, inner + 16] : [inner + 8, inner + 24];
    for (let word = 0; word < (family === 4 ? 1 : 4); word++) {
      view.setInt32(from + 4 * word, i32[i + SOURCE + word] as number, true);
      view.setInt32(to + 4 * word, i32[i + ORIGINAL + word] as number, true);
    }
    view.setUint16(udp, i32[i + SOURCE_PORT] as number, false);
    view.setUint16(udp + 2, i32[i + ORIGINAL_PORT] as number, false);
    view.setUint16(udp + 4, bytes, false);
    if (family === 4) {
      view.setUint16(inner + 10, ~sumOf(view, inner, udp) & 0xffff, false);
      // In IPv6 the socket computes it.
      view.setUint16(2, ~sumOf(view, 0, end) & 0xffff, false);
    }
    this.#send(i, family, end, fd);
  }

  #send(i: number, family: 4 | 6, length: number, fd: number): void {
    const { i32 } = this.#slab;
    const batch = this.#batch;
    const { names } = batch;
    const name = batch.nameAt(0);
    names.setUint16(name, family === 4 ? 2 : 10, true);
    names.setUint16(name + 2, 0, false);
    if (family === 6) {
      names.setUint32(name + 4, 0, true);
      // A link-local client is told by its own link.
      names.setInt32(name + 24, i32[i + SCOPE] as number, true);
    }
    for (let word = 0; word < (family === 4 ? 1 : 4); word++) {
      names.setInt32(name + (family === 4 ? 4 : 8) + 4 * word, i32[i + SOURCE + word] as number, true);
    }
    batch.setPayload(0, batch, 0, length);
    const control = writePacketInfo(batch.controls, batch.controlAt(0), family, i32, i + ORIGINAL, i32[i + SCOPE]);
    batch.setLengths(0, family === 4 ? 16 : 28, control);
    if (batch.sendFrom(fd, 0, 1, MSG_DONTWAIT) === 1) this.#count(at.refusalsSent);
    else this.#count(at.refusalsFailed);
  }

  #mayTell(now: number): boolean {
    const second = Math.floor(now / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#sent = 0;
    }
    return this.#sent++ < PER_SECOND;
  }

  #count(counter: number): void {
    const { totals } = this.#counters;
    totals[counter] = (totals[counter] as number) + 1;
  }
}

function writeHeader4(view: DataView, start: number, bytes: number): void {
  view.setUint8(start, 0x45);
  view.setUint16(start + 2, 20 + bytes, false);
  view.setUint8(start + 8, HOP_LIMIT);
  view.setUint8(start + 9, IPPROTO_UDP);
}

function writeHeader6(view: DataView, start: number, bytes: number): void {
  view.setUint32(start, 0x60000000, false);
  view.setUint16(start + 4, bytes, false);
  view.setUint8(start + 6, IPPROTO_UDP);
  view.setUint8(start + 7, HOP_LIMIT);
}
