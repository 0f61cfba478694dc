/**
 * UDP sessions: a client and an original destination on one side, a connected socket on the other. Datagrams are received
 * and sent in batches. A reply carries the address and port that the client wrote to; where capture is transparent that
 * takes a raw socket, because no UDP socket can speak for a port it is not bound to without stealing from others.
 */
import type { FlowOutcome, Prefix } from '../api/flow.ts';
import { addressToNumber, familyOf, prefixContains } from '../capture/address.ts';
import { MSG_DONTWAIT } from '../sys/constants.ts';
import { NAT_ORIGINAL, NAT_ORIGINAL_PORT, NAT_SOURCE, NAT_SOURCE_PORT } from '../api/nat-table.ts';
import { ECONNREFUSED, EINTR, ENETUNREACH } from '../sys/errno.ts';
import { errno } from '../sys/library.ts';
import * as libc from '../sys/libc.ts';
import { MessageBatch } from '../sys/message-batch.ts';
import { natLookups } from './acceptor.ts';
import { at, type Counters, type WorkerCounter } from './counters.ts';
import type { DatagramQueue } from './datagram-queue.ts';
import type { FlowDecision } from './decision.ts';
import type { Dialing } from './dialing.ts';
import type { FlowLifecycle } from './flow-lifecycle.ts';
import {
  ACTIVE_AT,
  BYTES_DOWN,
  BYTES_UP,
  DEADLINE,
  DROPPED,
  ERRNO,
  F64,
  FAMILY,
  I32,
  ORIGINAL,
  ORIGINAL_PORT,
  POINT,
  PROTOCOL,
  RESOLVING,
  SESSION,
  SOURCE,
  SOURCE_PORT,
  STATE,
  UPSTREAM_FD,
  type FlowSlab,
} from './flow-slab.ts';
import type { WorkerPoint } from './messages.ts';
import type { NatLookup } from './nat-lookup.ts';
import { writePacketInfo } from './packet-info.ts';
import type { SessionIndex } from './session-index.ts';
import { type Unreachable, UnreachableMessages } from './unreachable.ts';

/** Datagrams per call. */
const BATCH = 32;
/** Calls per turn of one socket; what is left raises the next event, because points are level-triggered. */
const CALLS = 8;
const PAYLOAD = 65_536;
/** Room for a sockaddr_in6 as control data, padded. */
const CONTROL = 64;
const UDP = 17;
const UDP_HEADER = 8;

export interface DatagramRelayParts {
  readonly slab: FlowSlab;
  readonly counters: Counters;
  readonly flows: FlowLifecycle;
  readonly decision: FlowDecision;
  readonly dialing: Dialing;
  readonly sessions: SessionIndex;
  readonly queue: DatagramQueue;
}

export class DatagramRelay {
  readonly #parts: DatagramRelayParts;
  readonly #in = new MessageBatch({ messages: BATCH, payload: PAYLOAD, control: CONTROL });
  /** Refers to the payloads of `#in`. */
  readonly #out = new MessageBatch({ messages: BATCH, payload: 0, control: 0 });
  /** Replies from foreign addresses: a UDP header of ours in front, the source address as control data. */
  readonly #raw = new MessageBatch({ messages: BATCH, payload: 0, prefix: UDP_HEADER, control: CONTROL });
  readonly #unreachable: UnreachableMessages;
  /** Bytes of the last datagram that went to an upstream, or waits to go; by slot. */
  readonly #lengths: Uint16Array;
  #points: readonly WorkerPoint[] = [];
  #nat: ReadonlyMap<number, NatLookup> = new Map();

  constructor(parts: DatagramRelayParts) {
    this.#parts = parts;
    this.#unreachable = new UnreachableMessages(parts.slab, parts.counters);
    this.#lengths = new Uint16Array(parts.slab.capacity);
  }

  set points(points: readonly WorkerPoint[]) {
    this.#points = points;
    this.#nat = natLookups(points);
  }

  /** Clients have sent to a point. */
  receive(point: WorkerPoint, now: number): void {
    for (let call = 0; call < CALLS; call++) {
      const count = this.#in.receive(point.fd, MSG_DONTWAIT);
      if (count <= 0) return;
      // Datagrams of one session often come together: they leave by one call.
      let batchSlot = -1;
      let batched = 0;
      for (let n = 0; n < count; n++) {
        const slot = this.#sessionOf(point, n, now);
        if (slot < 0) continue;
        if (slot !== batchSlot && batched > 0) {
          this.#sendUp(batchSlot, batched, now);
          batched = 0;
        }
        batchSlot = slot;
        this.#out.setPayload(batched, this.#in, this.#in.payloadAt(n), this.#in.length(n));
        this.#out.setLengths(batched, 0, 0);
        batched++;
      }
      if (batched > 0) this.#sendUp(batchSlot, batched, now);
      if (count < BATCH) return;
    }
  }

  /** The upstream of a session has sent. */
  reply(slot: number, now: number): void {
    const { slab } = this.#parts;
    const i = slot * I32;
    const fd = slab.i32[i + UPSTREAM_FD] as number;
    const point = this.#points.find((one) => one.index === slab.i32[i + POINT]);
    for (;;) {
      const count = this.#in.receive(fd, MSG_DONTWAIT);
      if (count < 0) {
        const code = errno();
        if (code === EINTR) continue;
        // What an ICMP message said about an earlier datagram; the session goes on, as a client's own socket would.
        if (code === ECONNREFUSED) {
          this.#refused(slot, now);
          continue;
        }
        return;
      }
      if (count === 0 || point === undefined) return;
      this.#sendDown(slot, point, count, now);
      if (count < BATCH) return;
    }
  }

  /** A session has its upstream: what waited for it goes. */
  established(slot: number, now: number): void {
    const { slab, queue } = this.#parts;
    const fd = slab.i32[slot * I32 + UPSTREAM_FD] as number;
    for (const datagram of queue.take(slot)) {
      if (libc.send(fd, datagram, datagram.length, MSG_DONTWAIT) === datagram.length) {
        this.#moved(slot, BYTES_UP, 'bytesUp', 'datagramsUp', datagram.length, 1, now);
        this.#lengths[slot] = datagram.length;
      } else this.#count('datagramsDropped', 1);
    }
  }

  /** A session ends: one that never had an upstream tells its client what a host without Weir would tell. */
  ending(slot: number, outcome: FlowOutcome): void {
    const { i32 } = this.#parts.slab;
    const state = i32[slot * I32 + STATE] as number;
    if (state === SESSION || state === DROPPED) return;
    const what = unreachableOf(outcome, i32[slot * I32 + ERRNO] as number);
    if (what !== undefined) this.#tell(slot, what, Date.now());
  }

  /** The slot of the session of message `n`; -1 when it has none yet, or none at all. */
  #sessionOf(point: WorkerPoint, n: number, now: number): number {
    const { slab, sessions, queue } = this.#parts;
    if (!this.#readKey(point, n)) {
      this.#count('datagramsDropped', 1);
      return -1;
    }
    const found = sessions.find();
    if (found >= 0) {
      if (slab.i32[found * I32 + STATE] === SESSION) return found;
      if (!queue.push(found, this.#payload(n))) this.#count('datagramsDropped', 1);
      return -1;
    }
    this.#open(point, n, now);
    return -1;
  }

  #open(point: WorkerPoint, n: number, now: number): void {
    const { slab, flows, decision, dialing, sessions, queue } = this.#parts;
    const slot = flows.open(-1, UDP, now);
    if (slot < 0) {
      this.#count('sessionLimit', 1);
      return;
    }
    const { i32 } = slab;
    const i = slot * I32;
    const { key } = sessions;
    i32[i + STATE] = RESOLVING;
    slab.f64[slot * F64 + DEADLINE] = now + dialing.timeouts.connect;
    i32[i + PROTOCOL] = UDP;
    i32[i + POINT] = point.index;
    i32[i + FAMILY] = point.family;
    i32.set(key.subarray(1, 5), i + SOURCE);
    i32[i + SOURCE_PORT] = key[5] as number;
    i32.set(key.subarray(6, 10), i + ORIGINAL);
    i32[i + ORIGINAL_PORT] = key[10] as number;
    sessions.add(slot);
    this.#lengths[slot] = this.#in.length(n);
    // Before the decision: a direct dial has its upstream at once, and then sends what waits.
    queue.push(slot, this.#payload(n));
    if (point.original.via === 'fixed') {
      const { service, target, sources = [] } = point.original;
      flows.assign(slot, service);
      if (sources.length > 0 && !isFrom(slab.snapshot(slot).source.address, sources)) flows.finish(slot, 'denied');
      else dialing.begin(slot, decision.planOf(service), now, target);
    } else decision.begin(slot, now);
  }

  /** Reads source and original destination of message `n` into the key of the index. */
  #readKey(point: WorkerPoint, n: number): boolean {
    const { key } = this.#parts.sessions;
    const { names, controls } = this.#in;
    const offset = point.family === 4 ? 4 : 8;
    const words = point.family === 4 ? 1 : 4;
    key.fill(0);
    key[0] = point.family;
    const name = this.#in.nameAt(n);
    for (let word = 0; word < words; word++) key[1 + word] = names.getInt32(name + offset + 4 * word, true);
    key[5] = names.getUint16(name + 2, false);
    if (point.original.via === 'fixed') {
      key[10] = point.port;
      return true;
    }
    const nat = this.#nat.get(point.index);
    if (nat !== undefined) {
      const entry = nat.find(names, name + offset, key[5] as number);
      if (entry < 0) return false;
      for (let word = 0; word < words; word++) {
        key[1 + word] = nat.words[entry + NAT_SOURCE + word] as number;
        key[6 + word] = nat.words[entry + NAT_ORIGINAL + word] as number;
      }
      key[5] = nat.words[entry + NAT_SOURCE_PORT] as number;
      key[10] = nat.words[entry + NAT_ORIGINAL_PORT] as number;
      return true;
    }
    // One control message: IP_ORIGDSTADDR or IPV6_ORIGDSTADDR, a sockaddr.
    if (this.#in.controlLength(n) < 16 + (point.family === 4 ? 16 : 28)) return false;
    const address = this.#in.controlAt(n) + 16;
    for (let word = 0; word < words; word++) key[6 + word] = controls.getInt32(address + offset + 4 * word, true);
    key[10] = controls.getUint16(address + 2, false);
    return true;
  }

  #payload(n: number): Uint8Array {
    const start = this.#in.payloadAt(n);
    return this.#in.payloads.subarray(start, start + this.#in.length(n));
  }

  /** Sends the first `count` messages of `#out` to the session's upstream. */
  #sendUp(slot: number, count: number, now: number): void {
    const fd = this.#parts.slab.i32[slot * I32 + UPSTREAM_FD] as number;
    let sent = 0;
    while (sent < count) {
      const went = this.#out.sendFrom(fd, sent, count - sent, MSG_DONTWAIT);
      if (went > 0) sent += went;
      else if (errno() === EINTR) continue;
      // An error of an earlier datagram is told once and the call may be made again; a full socket drops, as a link would.
      else if (errno() === ECONNREFUSED) this.#refused(slot, now);
      else break;
    }
    let bytes = 0;
    for (let n = 0; n < sent; n++) bytes += this.#out.sendLength(n);
    if (sent > 0) {
      this.#moved(slot, BYTES_UP, 'bytesUp', 'datagramsUp', bytes, sent, now);
      this.#lengths[slot] = this.#out.sendLength(sent - 1);
    }
    if (sent < count) this.#count('datagramsDropped', count - sent);
  }

  /** The upstream's host has said that nobody listens there. */
  #refused(slot: number, now: number): void {
    this.#count('datagramsRefused', 1);
    this.#tell(slot, 'port', now);
  }

  #tell(slot: number, what: Unreachable, now: number): void {
    const { slab } = this.#parts;
    const point = this.#points.find(({ index }) => index === slab.i32[slot * I32 + POINT]);
    // Where capture is not transparent the client has written to Weir, which is there.
    if (point === undefined || point.icmpFd < 0) return;
    this.#unreachable.tell(slot, what, this.#lengths[slot] as number, point.icmpFd, now);
  }

  /** Sends the first `count` messages of `#in` to the session's client. */
  #sendDown(slot: number, point: WorkerPoint, count: number, now: number): void {
    const { i32 } = this.#parts.slab;
    const i = slot * I32;
    const raw = point.replyFd >= 0;
    const batch = raw ? this.#raw : this.#out;
    const family = point.family;
    let bytes = 0;
    for (let n = 0; n < count; n++) {
      const length = this.#in.length(n);
      bytes += length;
      batch.setPayload(n, this.#in, this.#in.payloadAt(n), length);
      const name = batch.nameAt(n);
      batch.names.setUint16(name, family === 4 ? 2 : 10, true);
      // A raw socket has no ports: the header in front says them.
      batch.names.setUint16(name + 2, raw ? 0 : (i32[i + SOURCE_PORT] as number), false);
      const offset = family === 4 ? 4 : 8;
      if (family === 6) {
        batch.names.setUint32(name + 4, 0, true);
        batch.names.setUint32(name + 24, 0, true);
      }
      for (let word = 0; word < (family === 4 ? 1 : 4); word++) {
        batch.names.setInt32(name + offset + 4 * word, i32[i + SOURCE + word] as number, true);
      }
      const control = raw ? this.#writeHeader(n, i, length, family) : 0;
      batch.setLengths(n, family === 4 ? 16 : 28, control);
    }
    const fd = raw ? point.replyFd : point.fd;
    let sent = 0;
    while (sent < count) {
      const went = batch.sendFrom(fd, sent, count - sent, MSG_DONTWAIT);
      if (went > 0) sent += went;
      else if (errno() !== EINTR) break;
    }
    if (sent > 0) this.#moved(slot, BYTES_DOWN, 'bytesDown', 'datagramsDown', bytes, sent, now);
    if (sent < count) this.#count('datagramsDropped', count - sent);
  }

  /** UDP header (RFC 768), and struct in_pktinfo or in6_pktinfo with the original destination as source. */
  #writeHeader(n: number, i: number, length: number, family: 4 | 6): number {
    const { i32 } = this.#parts.slab;
    const { prefixes, controls } = this.#raw;
    const prefix = this.#raw.prefixAt(n);
    prefixes.setUint16(prefix, i32[i + ORIGINAL_PORT] as number, false);
    prefixes.setUint16(prefix + 2, i32[i + SOURCE_PORT] as number, false);
    prefixes.setUint16(prefix + 4, UDP_HEADER + length, false);
    // No checksum: legal in IPv4, and in IPv6 the socket computes it (IPV6_CHECKSUM).
    prefixes.setUint16(prefix + 6, 0, false);
    return writePacketInfo(controls, this.#raw.controlAt(n), family, i32, i + ORIGINAL);
  }

  #moved(
    slot: number,
    field: number,
    bytesCounter: WorkerCounter,
    counter: WorkerCounter,
    bytes: number,
    datagrams: number,
    now: number,
  ): void {
    const { f64 } = this.#parts.slab;
    f64[slot * F64 + field] = (f64[slot * F64 + field] as number) + bytes;
    f64[slot * F64 + ACTIVE_AT] = now;
    this.#count(bytesCounter, bytes);
    this.#count(counter, datagrams);
  }

  #count(counter: WorkerCounter, by: number): void {
    const { totals } = this.#parts.counters;
    totals[at[counter]] = (totals[at[counter]] as number) + by;
  }
}

function isFrom(address: string, prefixes: readonly Prefix[]): boolean {
  const [family, source] = [familyOf(address), addressToNumber(address)];
  return prefixes.some((prefix) => prefixContains(prefix, family, source));
}

/** What refuses a datagram in the way of that outcome; undefined: nobody says anything. */
function unreachableOf(outcome: FlowOutcome, errno: number): Unreachable | undefined {
  switch (outcome) {
    case 'denied':
    case 'unmatched':
    case 'dial-refused':
      return 'port';
    case 'dial-unreachable':
      return errno === ENETUNREACH ? 'network' : 'host';
    default:
      return undefined;
  }
}
