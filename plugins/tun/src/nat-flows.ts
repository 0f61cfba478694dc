/**
 * The flows of one family and protocol: which source each has on the way to Weir's listener, and when that source may go
 * to another flow. Entries stand in the NAT table that the data plane reads; what only the pump needs stands beside it.
 *
 * A source goes to another flow only when its flow has ended and a while has passed: for as long as a socket in TIME_WAIT
 * would answer in its place, and as datagrams may wait in the listener's queue. Sources that were in use before are taken
 * before fresh ones, so that memory grows with what lives and not with what ever lived.
 */
import {
  NAT_ENTRY,
  NAT_HEAD,
  NAT_HELD,
  NAT_ORIGINAL,
  NAT_ORIGINAL_PORT,
  NAT_SOURCE,
  NAT_SOURCE_PORT,
} from '@weir/core/api';
import { negative, plus } from '@weir/core/sys';
import { FlowIndex } from './flow-index.ts';
import type { Packet } from './packet.ts';

const UNUSED = 0;
/** The client wants to connect. */
const OPENING = 1;
const OPEN = 2;
const CLOSED = 3;

/** What was seen of a TCP flow; who sent it. */
const CLIENT_FIN = 1;
const LISTENER_FIN = 2;
const CLIENT_RST = 4;
const LISTENER_RST = 8;
/** The entry is found by its client's packets. */
const INDEXED = 16;
/** The entry waits in one of the queues. */
const QUEUED = 32;
/** Our listener's socket may be in TIME_WAIT. */
const LINGERS = 64;

const FIN = 1;
const SYN = 2;
const RST = 4;
const ACK = 16;

/** Times are in tenths of a second since the pump began. */
export const TICKS_PER_SECOND = 10;

export interface NatTimes {
  /** After a flow that left no socket in TIME_WAIT. */
  readonly brief: number;
  /** After one that may have: net/tcp.h TCP_TIMEWAIT_LEN is 60 s. */
  readonly linger: number;
  /** Without an answer; tcp(7) tcp_syn_retries: a client gives up after 127 s. */
  readonly opening: number;
  /** UDP: without a datagram. */
  readonly idle: number;
}

export const NAT_TIMES: NatTimes = { brief: 50, linger: 650, opening: 1800, idle: 300 };

/** Entries looked at for one allocation, and for one sweep. */
const TRIES = 8;
const SWEEP = 16_384;

export interface NatFlowsSetup {
  readonly protocol: 'tcp' | 'udp';
  readonly family: 4 | 6;
  /** See api/nat-table.ts of core. */
  readonly table: SharedArrayBuffer;
  /** Own address, as bytes. */
  readonly own: Uint8Array;
  /** The listener's port. */
  readonly port: number;
  readonly firstAddress: Uint8Array;
  readonly addresses: number;
  readonly firstPort: number;
  readonly ports: number;
  readonly times?: NatTimes;
}

/** A queue of entries in the order in which they ended. */
interface Queue {
  head: number;
  tail: number;
}

export class NatFlows {
  readonly port: number;
  readonly #words: Int32Array;
  readonly #addressWords: number;
  readonly #capacity: number;
  readonly #tcp: boolean;
  readonly #times: NatTimes;
  readonly #setup: NatFlowsSetup;
  readonly #own: DataView;
  readonly #first: DataView;
  readonly #state: Uint8Array;
  readonly #marks: Uint8Array;
  readonly #seen: Uint32Array;
  /** Sums of what rewriting a packet of the client changes: addresses, and addresses with ports. */
  readonly #addressChange: Uint16Array;
  readonly #change: Uint16Array;
  /** Sequence numbers of the client: of its SYN, and behind its FIN. */
  readonly #synAt: Int32Array;
  readonly #finAt: Int32Array;
  readonly #next: Int32Array;
  readonly #brief: Queue = { head: -1, tail: -1 };
  readonly #linger: Queue = { head: -1, tail: -1 };
  readonly #closedAt: Uint32Array;
  readonly #index: FlowIndex;
  /** The first entry that was never used. */
  #fresh = 0;
  #sweepAt = 0;
  #living = 0;

  constructor(setup: NatFlowsSetup) {
    const capacity = setup.addresses * setup.ports;
    this.#setup = setup;
    this.port = setup.port;
    this.#words = new Int32Array(setup.table);
    this.#addressWords = setup.family === 4 ? 1 : 4;
    this.#capacity = capacity;
    this.#tcp = setup.protocol === 'tcp';
    this.#times = setup.times ?? NAT_TIMES;
    this.#own = new DataView(Uint8Array.from(setup.own).buffer);
    this.#first = new DataView(Uint8Array.from(setup.firstAddress).buffer);
    this.#state = new Uint8Array(capacity);
    this.#marks = new Uint8Array(capacity);
    this.#seen = new Uint32Array(capacity);
    this.#addressChange = new Uint16Array(capacity);
    this.#change = new Uint16Array(capacity);
    this.#synAt = new Int32Array(this.#tcp ? capacity : 0);
    this.#finAt = new Int32Array(this.#tcp ? capacity : 0);
    this.#next = new Int32Array(capacity);
    this.#closedAt = new Uint32Array(capacity);
    this.#index = new FlowIndex(this.#words, this.#addressWords);
  }

  /** Flows that have not ended. */
  get living(): number {
    return this.#living;
  }

  /** Entries that were ever used. */
  get used(): number {
    return this.#fresh;
  }

  /** The entry that a packet of a client belongs to; -1: none. */
  find(packet: Packet): number {
    return this.#index.find(packet);
  }

  /** The entry of the source that a packet of our listener goes to; -1: there never was a flow. */
  entryOf(packet: Packet): number {
    const { view, destination, transport } = packet;
    const offset = destination + 4 * (this.#addressWords - 1);
    const number = view.getUint32(offset, false) - this.#first.getUint32(4 * (this.#addressWords - 1), false);
    const place = view.getUint16(transport + 2, false) - this.#setup.firstPort;
    if (number < 0 || number >= this.#setup.addresses || place < 0 || place >= this.#setup.ports) return -1;
    const entry = number * this.#setup.ports + place;
    return this.#state[entry] === UNUSED ? -1 : entry;
  }

  /** A source for a new flow; -1: none is free. */
  open(packet: Packet, now: number): number {
    let entry = this.#released(this.#brief, now);
    if (entry < 0) entry = this.#released(this.#linger, now);
    if (entry < 0 && this.#fresh < this.#capacity) entry = this.#fresh++;
    if (entry < 0) return -1;
    this.#write(entry, packet);
    this.#state[entry] = this.#tcp ? OPENING : OPEN;
    this.#marks[entry] = 0;
    this.#seen[entry] = now;
    if (this.#tcp) this.#synAt[entry] = packet.view.getInt32(packet.transport + 4, false);
    this.#living++;
    this.#mark(entry, INDEXED);
    this.#index.add(entry);
    return entry;
  }

  /** The place of a flow whose upstream is dialled before it connects; -1: it has none. */
  placeOf(entry: number): number {
    return (this.#words[NAT_HEAD + NAT_ENTRY * entry + NAT_HELD] as number) - 1;
  }

  /** The flow has a place in the table of held flows. */
  hold(entry: number, place: number): void {
    this.#words[NAT_HEAD + NAT_ENTRY * entry + NAT_HELD] = place + 1;
  }

  /** It has it no more. */
  letGo(entry: number, place: number): void {
    if (this.placeOf(entry) === place) this.#words[NAT_HEAD + NAT_ENTRY * entry + NAT_HELD] = 0;
  }

  /** A flow of which our listener never saw a packet is over. */
  drop(entry: number): void {
    this.#forget(entry);
    this.#close(entry, false);
  }

  /** A SYN of a client that has an entry: true when it begins another flow between the same ports. */
  beginsAnother(entry: number, packet: Packet): boolean {
    if (this.#state[entry] === CLOSED) return true;
    return packet.view.getInt32(packet.transport + 4, false) !== this.#synAt[entry];
  }

  /** The client's packets mean another flow from now on; what is under way from the listener still finds its client. */
  abandon(entry: number): void {
    this.#forget(entry);
    this.#close(entry, true);
  }

  /** A packet of the client goes on. */
  clientSent(entry: number, packet: Packet, now: number): void {
    this.#seen[entry] = now;
    if (this.#tcp) this.#follow(entry, packet, CLIENT_FIN, CLIENT_RST);
    else if (this.#state[entry] === CLOSED) this.#revive(entry);
  }

  /** A packet of our listener goes on. */
  listenerSent(entry: number, packet: Packet, now: number): void {
    this.#seen[entry] = now;
    if (this.#tcp) this.#follow(entry, packet, LISTENER_FIN, LISTENER_RST);
  }

  /** Writes the flow's source on the way to Weir, and Weir's listener as destination. */
  rewriteForListener(entry: number, packet: Packet, withPorts: boolean): void {
    const { view, source, destination, transport } = packet;
    const last = this.#addressWords - 1;
    for (let word = 0; word < last; word++) {
      view.setInt32(source + 4 * word, this.#first.getInt32(4 * word, false), false);
    }
    const { firstPort, ports } = this.#setup;
    const number = Math.floor(entry / ports);
    view.setUint32(source + 4 * last, this.#first.getUint32(4 * last, false) + number, false);
    for (let word = 0; word <= last; word++) {
      view.setInt32(destination + 4 * word, this.#own.getInt32(4 * word, false), false);
    }
    if (!withPorts) return;
    view.setUint16(transport, firstPort + (entry - number * ports), false);
    view.setUint16(transport + 2, this.port, false);
  }

  /** Writes the flow's original destination as source, and its client as destination. */
  rewriteForClient(entry: number, packet: Packet): void {
    const { view, source, destination, transport } = packet;
    const at = NAT_HEAD + NAT_ENTRY * entry;
    for (let word = 0; word < this.#addressWords; word++) {
      view.setInt32(source + 4 * word, this.#words[at + NAT_ORIGINAL + word] as number, true);
      view.setInt32(destination + 4 * word, this.#words[at + NAT_SOURCE + word] as number, true);
    }
    view.setUint16(transport, this.#words[at + NAT_ORIGINAL_PORT] as number, false);
    view.setUint16(transport + 2, this.#words[at + NAT_SOURCE_PORT] as number, false);
  }

  /** The sum of what rewriting for the listener changes; for the client it is the negative. */
  changeOf(entry: number, withPorts: boolean): number {
    return (withPorts ? this.#change[entry] : this.#addressChange[entry]) as number;
  }

  /** Ends flows that nobody speaks in any more; a part of them per call. */
  sweep(now: number): void {
    const { opening, idle } = this.#times;
    const most = Math.min(SWEEP, this.#fresh);
    for (let looked = 0; looked < most; looked++) {
      if (this.#sweepAt >= this.#fresh) this.#sweepAt = 0;
      const entry = this.#sweepAt++;
      const state = this.#state[entry];
      // Its packet still waits, and would go on from a source that is somebody else's by then.
      if (this.placeOf(entry) >= 0) continue;
      const quiet = now - (this.#seen[entry] as number);
      if (state === OPENING ? quiet >= opening : state === OPEN && !this.#tcp && quiet >= idle) {
        this.#close(entry, false);
      }
    }
  }

  /** Follows a TCP flow by its flags, so far that it is known when it has ended. RFC 9293 section 3.3.2. */
  #follow(entry: number, packet: Packet, fin: number, rst: number): void {
    const { view, transport } = packet;
    const flags = view.getUint8(transport + 13);
    const isClient = fin === CLIENT_FIN;
    if (this.#state[entry] === OPENING && !isClient && (flags & SYN) !== 0) this.#state[entry] = OPEN;
    if ((flags & RST) !== 0) {
      this.#mark(entry, rst);
      this.#close(entry, false);
      return;
    }
    // Who goes on after a RST of its own still has its socket: the RST was somebody else's, and it was ignored.
    const marks = this.#marks[entry] as number;
    if ((marks & rst) !== 0 && this.#state[entry] === CLOSED && (flags & SYN) === 0) {
      this.#marks[entry] = marks & ~rst;
      this.#revive(entry);
    }
    if ((flags & FIN) === 0) return;
    if (isClient) {
      this.#finAt[entry] = (view.getInt32(transport + 4, false) + (packet.end - packet.data) + 1) | 0;
    }
    this.#mark(entry, fin);
    const both = CLIENT_FIN | LISTENER_FIN;
    if (((this.#marks[entry] as number) & both) !== both || this.#state[entry] === CLOSED) return;
    // The listener's socket is gone at the last ACK when the client ended first and the listener's FIN says so.
    const wasAnswer =
      !isClient && (flags & ACK) !== 0 && view.getInt32(transport + 8, false) === (this.#finAt[entry] as number);
    this.#close(entry, !wasAnswer);
  }

  #mark(entry: number, mark: number): void {
    this.#marks[entry] = (this.#marks[entry] as number) | mark;
  }

  #close(entry: number, lingers: boolean): void {
    if (lingers) this.#mark(entry, LINGERS);
    if (this.#state[entry] !== CLOSED) {
      this.#state[entry] = CLOSED;
      this.#living--;
    }
    if (((this.#marks[entry] as number) & QUEUED) === 0) this.#enqueue(entry, this.#seen[entry] as number);
  }

  #revive(entry: number): void {
    this.#state[entry] = OPEN;
    this.#living++;
  }

  #enqueue(entry: number, now: number): void {
    this.#closedAt[entry] = now;
    const marks = this.#marks[entry] as number;
    this.#marks[entry] = marks | QUEUED;
    const queue = (marks & LINGERS) === 0 ? this.#brief : this.#linger;
    this.#next[entry] = -1;
    if (queue.tail < 0) queue.head = entry;
    else this.#next[queue.tail] = entry;
    queue.tail = entry;
  }

  /** The first entry of a queue whose time has come, taken out of queue and index; -1: none. */
  #released(queue: Queue, now: number): number {
    for (let tries = 0; tries < TRIES && queue.head >= 0; tries++) {
      const entry = queue.head;
      const marks = this.#marks[entry] as number;
      const wait = queue === this.#linger ? this.#times.linger : this.#times.brief;
      const isClosed = this.#state[entry] === CLOSED;
      if (isClosed && now - (this.#closedAt[entry] as number) < wait) return -1;
      queue.head = this.#next[entry] as number;
      if (queue.head < 0) queue.tail = -1;
      this.#marks[entry] = marks & ~QUEUED;
      // It lives again, or was spoken in since it ended: then it waits once more.
      if (!isClosed) continue;
      if (now - (this.#seen[entry] as number) < wait || ((marks & LINGERS) !== 0 && queue === this.#brief)) {
        this.#enqueue(entry, now);
        continue;
      }
      this.#forget(entry);
      return entry;
    }
    return -1;
  }

  #forget(entry: number): void {
    const marks = this.#marks[entry] as number;
    if ((marks & INDEXED) === 0) return;
    this.#marks[entry] = marks & ~INDEXED;
    this.#index.remove(entry);
  }

  #write(entry: number, packet: Packet): void {
    const { view, source, destination, transport } = packet;
    const words = this.#words;
    const at = NAT_HEAD + NAT_ENTRY * entry;
    const { firstPort, ports } = this.#setup;
    const last = this.#addressWords - 1;
    const number = Math.floor(entry / ports);
    let change = 0;
    const exchange = (old: number, now: number): void => {
      change = plus(change, plus(negative(old), now));
    };
    for (let word = 0; word < this.#addressWords; word++) {
      words[at + NAT_SOURCE + word] = view.getInt32(source + 4 * word, true);
      words[at + NAT_ORIGINAL + word] = view.getInt32(destination + 4 * word, true);
      const given = this.#first.getUint32(4 * word, false) + (word === last ? number : 0);
      const own = this.#own.getUint32(4 * word, false);
      exchange(view.getUint16(source + 4 * word, false), given >>> 16);
      exchange(view.getUint16(source + 4 * word + 2, false), given & 0xffff);
      exchange(view.getUint16(destination + 4 * word, false), own >>> 16);
      exchange(view.getUint16(destination + 4 * word + 2, false), own & 0xffff);
    }
    this.#addressChange[entry] = change;
    words[at + NAT_HELD] = 0;
    const [sourcePort, originalPort] = [view.getUint16(transport, false), view.getUint16(transport + 2, false)];
    words[at + NAT_SOURCE_PORT] = sourcePort;
    words[at + NAT_ORIGINAL_PORT] = originalPort;
    exchange(sourcePort, firstPort + (entry - number * ports));
    exchange(originalPort, this.port);
    this.#change[entry] = change;
  }
}
