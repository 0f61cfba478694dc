/**
 * The way of one packet that was read from the device: rewritten in place so that the kernel's own TCP and UDP take it,
 * or answered, or dropped and counted.
 *
 *   client → original destination      becomes   source of the flow → Weir's listener
 *   Weir's listener → source of the flow   becomes   original destination → client
 *
 * A packet that another host sent and that belongs to nothing here goes on unchanged.
 *
 * In front of each packet stands a struct virtio_net_hdr (linux/virtio_net.h): flags u8 · gso_type u8 · hdr_len u16 ·
 * gso_size u16 · csum_start u16 · csum_offset u16. It goes back to the kernel as it came: what it says of lengths and
 * places stays true, so packets of many segments pass uncut.
 */
import { HeldAnswer } from '@weir/core/api';
import { IPPROTO_TCP, IPPROTO_UDP, negative, plus, updated } from '@weir/core/sys';
import { at, type TunCounters } from './counters.ts';
import { Fragments } from './fragments.ts';
import type { HeldSyns } from './held-syns.ts';
import { type NatFlows, TICKS_PER_SECOND } from './nat-flows.ts';
import { FIRST_FRAGMENT, LATER_FRAGMENT, Packet, WHOLE } from './packet.ts';
import { writeReset } from './refusal.ts';
import { writeUnreachable } from './unreachable.ts';

/** Bytes of a virtio_net_hdr without the number of merged buffers. */
export const VNET_HEADER = 10;
const VIRTIO_NET_HDR_F_NEEDS_CSUM = 1;

const SYN = 2;
const RST = 4;
const ACK = 16;
const TCP_CHECKSUM = 16;
const UDP_CHECKSUM = 6;

/**
 * What cannot be rewritten, or not without lying to somebody. Silence would be taken for a host that is down.
 */
const PROHIBITED: ReadonlySet<number> = new Set([at.droppedSourceRoute, at.droppedAuthenticated, at.droppedExtension]);
/** A thousand a second, as the kernel's own (icmp(7) icmp_msgs_per_sec). */
const TOLD_PER_TICK = 1000 / TICKS_PER_SECOND;

/** Not an entry: a packet that waits, or came in vain. */
const HELD = -2;

/** One family's half. */
export interface PathFamily {
  /** Our own address, where the listeners are. */
  readonly own: Uint8Array;
  /** The first of the addresses that flows get, and how many are ours. */
  readonly firstAddress: Uint8Array;
  readonly addresses: number;
  readonly tcp: NatFlows | undefined;
  readonly udp: NatFlows | undefined;
  /** Where connections are answered as their upstream answers. */
  readonly held?: HeldSyns | undefined;
}

export interface PacketPathSetup {
  /** Holds one packet behind its virtio_net_hdr; read into and written from by the caller. */
  readonly buffer: Uint8Array;
  readonly counters: TunCounters;
  readonly families: Readonly<Partial<Record<4 | 6, PathFamily>>>;
}

export class PacketPath {
  readonly #buffer: Uint8Array;
  readonly #view: DataView;
  readonly #counters: TunCounters;
  readonly #families: Readonly<Partial<Record<4 | 6, PathFamily>>>;
  readonly #both: readonly PathFamily[];
  readonly #packet: Packet;
  readonly #fragments = new Fragments();
  #told = { at: -1, count: 0 };
  /** New flows of others are none of ours any more. */
  draining = false;

  constructor({ buffer, counters, families }: PacketPathSetup) {
    this.#buffer = buffer;
    this.#view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
    this.#counters = counters;
    this.#families = families;
    this.#both = Object.values(families);
    this.#packet = new Packet(this.#view);
  }

  /**
   * Takes the packet that stands in the buffer.
   * @param length with its virtio_net_hdr.
   * @param now tenths of a second.
   * @returns how many bytes of the buffer are to be written to the device; 0: none.
   */
  take(length: number, now: number): number {
    const packet = this.#packet;
    if (length < VNET_HEADER) return this.#drop(at.droppedMalformed);
    const problem = packet.read(VNET_HEADER, length);
    if (problem >= 0) return this.#untaken(packet, problem, now);
    const family = this.#families[packet.family];
    if (family === undefined) return this.#drop(at.droppedFamily);
    const flows = packet.protocol === IPPROTO_TCP ? family.tcp : family.udp;
    if (flows === undefined) return this.#drop(at.droppedFamily);
    if (this.#isOurs(packet.destination, family)) return this.#fromListener(packet, family, flows, now);
    if (this.#isOurs(packet.source, family) || this.#isForMany(packet, packet.destination))
      return this.#drop(at.droppedStray);
    return this.#fromClient(packet, family, flows, now);
  }

  /** A packet that is not of a kind that can be taken: its sender is told, where it may be one of a flow. */
  #untaken(packet: Packet, problem: number, now: number): number {
    this.#counters.count(problem);
    const family = this.#families[packet.family];
    if (!PROHIBITED.has(problem) || family === undefined || packet.fragment === LATER_FRAGMENT) return 0;
    const isFlow = !this.#isOurs(packet.source, family) && !this.#isOurs(packet.destination, family);
    if (!isFlow || this.#isForMany(packet, packet.destination) || this.#isForMany(packet, packet.source)) return 0;
    if (now !== this.#told.at) this.#told = { at: now, count: 0 };
    if (this.#told.count++ >= TOLD_PER_TICK) return 0;
    this.#counters.count(at.prohibited);
    return this.#plain(writeUnreachable(packet, this.#buffer, 'prohibited'));
  }

  #fromClient(packet: Packet, family: PathFamily, flows: NatFlows, now: number): number {
    const own = this.#equals(packet.source, family.own);
    if (packet.fragment === LATER_FRAGMENT) return this.#laterFragment(packet, flows, own, now);
    let entry = flows.find(packet);
    if (packet.protocol === IPPROTO_TCP) {
      const flags = packet.view.getUint8(packet.transport + 13);
      const begins = (flags & (SYN | ACK | RST)) === SYN;
      if (family.held !== undefined && entry >= 0) {
        entry = this.#whileHeld(family.held, flows, entry, flags, begins, now);
        if (entry === HELD) return this.#drop(at.packetsHeld);
      }
      if (entry >= 0 && begins && flows.beginsAnother(entry, packet)) {
        flows.abandon(entry);
        entry = -1;
      }
      if (entry < 0 && !begins) return own ? this.#refuse(packet, flags) : this.#passOn(packet);
    }
    if (entry < 0 && !own && this.draining) return this.#passOn(packet);
    if (entry < 0) {
      entry = flows.open(packet, now);
      if (entry < 0) return this.#drop(at.natExhausted);
      this.#counters.count(at.natOpened);
      if (family.held !== undefined && packet.protocol === IPPROTO_TCP) {
        if (packet.fragment === WHOLE && family.held.hold(entry, packet.end, now)) return this.#drop(at.packetsHeld);
        flows.drop(entry);
        return this.#drop(at.heldLimit);
      }
    }
    const out = this.#toListener(packet, flows, entry, now);
    this.#counters.count(out === 0 ? at.droppedMalformed : at.packetsIn);
    return out;
  }

  #toListener(packet: Packet, flows: NatFlows, entry: number, now: number): number {
    flows.clientSent(entry, packet, now);
    if (packet.fragment === FIRST_FRAGMENT) this.#fragments.remember(packet, entry, now);
    if (!this.#mendChecksums(packet, flows.changeOf(entry, false), flows.changeOf(entry, true))) {
      return 0;
    }
    flows.rewriteForListener(entry, packet, true);
    return packet.end;
  }

  /**
   * A packet of a client whose flow has, or had, a place among those that wait.
   * @returns the entry to go on with; -1: none any more; HELD: the packet has done what it can.
   */
  #whileHeld(held: HeldSyns, flows: NatFlows, entry: number, flags: number, begins: boolean, now: number): number {
    const place = flows.placeOf(entry);
    if (place < 0) return entry;
    const isOther = begins && flows.beginsAnother(entry, this.#packet);
    const isOver = isOther || (flags & RST) !== 0;
    if (!held.waits(place)) {
      // A reset is left to the kernel, which may have the connection already: accepted, it takes its place, and the upstream
      // hears of the reset with what was sent before it; otherwise the place ends by its time.
      if (isOther) held.cancel(place);
      return entry;
    }
    if (begins && !isOther) held.again(place, now);
    if (!isOver) return HELD;
    held.cancel(place);
    flows.drop(entry);
    this.#counters.count(at.heldGivenUp);
    return isOther ? -1 : HELD;
  }

  /**
   * Lets those through that wait and whose upstream stands, and refuses those whose upstream does.
   * @param write takes so many bytes of the buffer.
   */
  answerHeld(now: number, write: (length: number) => void): void {
    for (const family of this.#both) {
      const { held, tcp } = family;
      if (held === undefined || tcp === undefined) continue;
      held.look((entry, answer, length) => {
        const out = this.#answer(tcp, entry, answer, length, now);
        if (out > 0) write(out);
      });
    }
  }

  /** Ends the dials of clients that have gone. */
  sweepHeld(now: number): void {
    for (const { held, tcp } of this.#both) {
      held?.sweep(now, (entry) => {
        tcp?.drop(entry);
        this.#counters.count(at.heldGivenUp);
      });
    }
  }

  #answer(flows: NatFlows, entry: number, answer: HeldAnswer | 'let through', length: number, now: number): number {
    const packet = this.#packet;
    packet.read(VNET_HEADER, length);
    if (answer === 'let through' || answer === HeldAnswer.connect) {
      this.#counters.count(at.heldReleased);
      return this.#toListener(packet, flows, entry, now);
    }
    flows.drop(entry);
    switch (answer) {
      case HeldAnswer.refused:
        this.#counters.count(at.heldRefused);
        return this.#plain(writeReset(packet));
      case HeldAnswer.networkUnreachable:
      case HeldAnswer.hostUnreachable: {
        this.#counters.count(at.heldUnreachable);
        const what = answer === HeldAnswer.hostUnreachable ? 'host' : 'network';
        return this.#plain(writeUnreachable(packet, this.#buffer, what));
      }
      default:
        // The client tries again, or nobody is to say anything.
        return 0;
    }
  }

  #fromListener(packet: Packet, family: PathFamily, flows: NatFlows, now: number): number {
    if (packet.fragment !== WHOLE) return this.#drop(at.droppedFragment);
    const isListener =
      packet.view.getUint16(packet.transport, false) === flows.port && this.#equals(packet.source, family.own);
    if (!isListener) return this.#drop(at.droppedStray);
    const entry = flows.entryOf(packet);
    if (entry < 0) return this.#drop(at.droppedUnknown);
    flows.listenerSent(entry, packet, now);
    const addresses = negative(flows.changeOf(entry, false));
    if (!this.#mendChecksums(packet, addresses, negative(flows.changeOf(entry, true)))) {
      return this.#drop(at.droppedMalformed);
    }
    flows.rewriteForClient(entry, packet);
    this.#counters.count(at.packetsOut);
    return packet.end;
  }

  /** Has no ports and no checksum of its transport. */
  #laterFragment(packet: Packet, flows: NatFlows, own: boolean, now: number): number {
    const entry = this.#fragments.find(packet, now);
    if (entry < 0) return own ? this.#drop(at.droppedFragment) : this.#passOn(packet);
    if (packet.family === 4) this.#mendHeader(packet, flows.changeOf(entry, false));
    flows.rewriteForListener(entry, packet, false);
    this.#counters.count(at.packetsIn);
    return packet.end;
  }

  /** As it came: from our device no rule of ours brings it back, so that it takes the way it would have taken. */
  #passOn(packet: Packet): number {
    this.#counters.count(at.packetsPassed);
    return packet.end;
  }

  /** A packet of a connection that is not there: its client hears that, unless it is ending it itself. */
  #refuse(packet: Packet, flags: number): number {
    if ((flags & RST) !== 0 || packet.fragment !== WHOLE) return this.#drop(at.droppedUnknown);
    this.#counters.count(at.resets);
    return this.#plain(writeReset(packet));
  }

  /** What we have made ourselves leaves nothing to the kernel. */
  #plain(end: number): number {
    this.#buffer.fill(0, 0, VNET_HEADER);
    return end;
  }

  /**
   * @param addresses the sum of what changes in the addresses.
   * @param all the same with the ports.
   * @returns false when the virtio_net_hdr does not fit the packet.
   */
  #mendChecksums(packet: Packet, addresses: number, all: number): boolean {
    const { view, transport, protocol } = packet;
    const place = transport + (protocol === IPPROTO_TCP ? TCP_CHECKSUM : UDP_CHECKSUM);
    const checksum = view.getUint16(place, false);
    const isPartial = (view.getUint8(0) & VIRTIO_NET_HDR_F_NEEDS_CSUM) !== 0;
    if (isPartial) {
      const said = VNET_HEADER + view.getUint16(6, true) + view.getUint16(8, true);
      if (said !== place) return false;
      // Only addresses, protocol and length have been summed, and not complemented.
      view.setUint16(place, plus(checksum, addresses), false);
    } else if (protocol !== IPPROTO_UDP) view.setUint16(place, updated(checksum, all), false);
    // In UDP 0 says that there is none, and stands for itself as all ones.
    else if (checksum !== 0) view.setUint16(place, updated(checksum, all) || 0xffff, false);
    if (packet.family === 4) this.#mendHeader(packet, addresses);
    return true;
  }

  #mendHeader({ view, start }: Packet, addresses: number): void {
    view.setUint16(start + 10, updated(view.getUint16(start + 10, false), addresses), false);
  }

  /** Whether an address is one of those that flows get. */
  #isOurs(offset: number, { firstAddress, addresses }: PathFamily): boolean {
    const last = firstAddress.length - 1;
    for (let byte = 0; byte < last; byte++) {
      if (this.#view.getUint8(offset + byte) !== firstAddress[byte]) return false;
    }
    const number = this.#view.getUint8(offset + last) - (firstAddress[last] as number);
    return number >= 0 && number < addresses;
  }

  #equals(offset: number, address: Uint8Array): boolean {
    for (let byte = 0; byte < address.length; byte++) {
      if (this.#view.getUint8(offset + byte) !== address[byte]) return false;
    }
    return true;
  }

  /** Multicast and broadcast are nobody's flow. */
  #isForMany({ view, family }: Packet, address: number): boolean {
    const first = view.getUint8(address);
    return family === 4 ? first >= 224 || first === 0 : first === 0xff;
  }

  #drop(counter: number): number {
    this.#counters.count(counter);
    return 0;
  }
}
