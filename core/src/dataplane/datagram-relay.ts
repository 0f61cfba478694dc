/**
 * UDP sessions: a client and an original destination on one side, a connected socket on the other. Datagrams are received
 * and sent in batches. A reply carries the address and port that the client wrote to; where capture is transparent that
 * takes a raw socket, because no UDP socket can speak for a port it is not bound to without stealing from others.
 */
import type { FlowOutcome, Prefix } from '../api/flow.ts';
import { addressToNumber, familyOf, prefixContains } from '../capture/address.ts';
import { IPPROTO_UDP, MSG_DONTWAIT } from '../sys/constants.ts';
import { NAT_ORIGINAL, NAT_ORIGINAL_PORT, NAT_SOURCE, NAT_SOURCE_PORT } from '../api/nat-table.ts';
import { EAGAIN, ECONNREFUSED, EINTR, EMSGSIZE, ENETUNREACH, ENOBUFS } from '../sys/errno.ts';
import { errno } from '../sys/library.ts';
import * as libc from '../sys/libc.ts';
import { MessageBatch } from '../sys/message-batch.ts';
import { natLookups } from './acceptor.ts';
import type { Associations } from './associations.ts';
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
  SCOPE,
  SESSION,
  SOURCE,
  SOURCE_PORT,
  STATE,
  UPSTREAM_FD,
  type FlowSlab,
} from './flow-slab.ts';
import type { WorkerPoint } from './messages.ts';
import { encapsulated, TunnelledBatch } from './tunnelled-batch.ts';
import type { NatLookup } from './nat-lookup.ts';
import { writePacketInfo } from './packet-info.ts';
import type { SessionIndex } from './session-index.ts';
import { type Unreachable, UnreachableMessages } from './unreachable.ts';

/** Datagrams per call. */
const BATCH = 32;
/** Calls per turn of one socket, so that one that never falls silent leaves the worker to the others. */
const CALLS = 8;
/** Errors of earlier datagrams that one batch may meet on its way to an upstream. */
const TOLD_ERRORS = 4;
const PAYLOAD = 65_536;
/** Room for a sockaddr_in6 or an in6_pktinfo as control data, padded. */
const CONTROL = 64;
const UDP_HEADER = 8;

export interface DatagramRelayParts {
  readonly slab: FlowSlab;
  readonly counters: Counters;
  readonly flows: FlowLifecycle;
  readonly decision: FlowDecision;
  readonly dialing: Dialing;
  readonly associations: Associations;
  readonly sessions: SessionIndex;
  readonly queue: DatagramQueue;
}

export class DatagramRelay {
  readonly #parts: DatagramRelayParts;
  readonly #in = new MessageBatch({ messages: BATCH, payload: PAYLOAD, control: CONTROL });
  /** Refers to the payloads of `#in`, or to what a tunnel made of them. */
  readonly #out = new MessageBatch({ messages: BATCH, payload: 0, control: CONTROL });
  /** Of the messages that are sent next: where their payloads stand in `#in`, and how long they are without a tunnel. */
  readonly #starts: Int32Array;
  readonly #sizes: Int32Array;
  readonly #tunnelled: TunnelledBatch;
  /** Replies from foreign addresses: a UDP header of ours in front, the source address as control data. */
  readonly #raw = new MessageBatch({ messages: BATCH, payload: 0, prefix: UDP_HEADER, control: CONTROL });
  readonly #unreachable: UnreachableMessages;
  /** Bytes of the last datagram that went to an upstream, or waits to go; by slot. */
  readonly #lengths: Uint16Array;
  #points: readonly WorkerPoint[] = [];
  #nat: ReadonlyMap<number, NatLookup> = new Map();

  constructor(parts: DatagramRelayParts) {
    this.#parts = parts;
    this.#tunnelled = new TunnelledBatch(this.#in);
    ({ starts: this.#starts, sizes: this.#sizes } = this.#tunnelled);
    this.#unreachable = new UnreachableMessages(parts.slab, parts.counters);
    this.#lengths = new Uint16Array(parts.slab.capacity);
  }

  set points(points: readonly WorkerPoint[]) {
    this.#points = points;
    this.#nat = natLookups(points);
  }

  /** Clients have sent to a point. What is left raises the next event: points are level-triggered. */
  receive(point: WorkerPoint, now: number): void {
    const { associations } = this.#parts;
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
        this.#out.setLengths(batched, 0, 0);
        if (this.#tunnelled.wrap(associations.tunnelOf(slot), n, this.#out, batched)) batched++;
        else this.#count('datagramsDropped', 1);
      }
      if (batched > 0) this.#sendUp(batchSlot, batched, now);
      if (count < BATCH) return;
    }
  }

  /**
   * The upstream of a session has sent.
   * @returns true when there may be more: sessions are edge-triggered, and the caller comes back after the others' turn.
   */
  reply(slot: number, now: number): boolean {
    const { slab, associations } = this.#parts;
    const i = slot * I32;
    const fd = slab.i32[i + UPSTREAM_FD] as number;
    const point = this.#points.find((one) => one.index === slab.i32[i + POINT]);
    let received = false;
    for (let call = 0; call < CALLS; call++) {
      const count = this.#in.receive(fd, MSG_DONTWAIT);
      if (count < 0) {
        const code = errno();
        if (code === EAGAIN) return false;
        // What an ICMP message said about an earlier datagram is told once, before what has arrived; the session goes on,
        // as a client's own socket would.
        if (code === ECONNREFUSED) this.#refused(slot, now);
        continue;
      }
      received = true;
      if (count === 0 || point === undefined) return false;
      const forClient = this.#tunnelled.unwrap(associations.tunnelOf(slot), count);
      if (forClient < count) this.#count('datagramsMalformed', count - forClient);
      if (forClient > 0) this.#sendDown(slot, point, forClient, now);
      if (count < BATCH) return false;
    }
    // A socket that has nothing but errors is not asked again before its next event.
    return received;
  }

  /** A session has its upstream: what waited for it goes. */
  established(slot: number, now: number): void {
    const { slab, queue, associations } = this.#parts;
    const fd = slab.i32[slot * I32 + UPSTREAM_FD] as number;
    const tunnel = associations.tunnelOf(slot);
    for (const datagram of queue.take(slot)) {
      const bytes = tunnel === undefined ? datagram : encapsulated(tunnel, datagram);
      if (bytes !== undefined && libc.send(fd, bytes, bytes.length, MSG_DONTWAIT) === bytes.length) {
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
    const slot = flows.open(-1, IPPROTO_UDP, now);
    if (slot < 0) {
      this.#count('sessionLimit', 1);
      return;
    }
    const { i32 } = slab;
    const i = slot * I32;
    const { key } = sessions;
    i32[i + STATE] = RESOLVING;
    slab.f64[slot * F64 + DEADLINE] = now + dialing.timeouts.connect;
    i32[i + PROTOCOL] = IPPROTO_UDP;
    i32[i + POINT] = point.index;
    i32[i + FAMILY] = point.family;
    i32.set(key.subarray(1, 5), i + SOURCE);
    i32[i + SOURCE_PORT] = key[5] as number;
    i32[i + SCOPE] = key[11] as number;
    i32.set(key.subarray(6, 10), i + ORIGINAL);
    i32[i + ORIGINAL_PORT] = key[10] as number;
    sessions.add(slot);
    this.#lengths[slot] = this.#in.length(n);
    // Before the decision: a direct dial has its upstream at once, and then sends what waits.
    if (!queue.push(slot, this.#payload(n))) this.#count('datagramsDropped', 1);
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
    if (point.family === 6) key[11] = names.getInt32(name + 24, true);
    if (point.original.via === 'fixed') {
      this.#readLocalAddress(point, n);
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

  /** Where a datagram for a listener arrived: in_pktinfo.ipi_spec_dst, or in6_pktinfo.ipi6_addr unless it is multicast. */
  #readLocalAddress({ family, port }: WorkerPoint, n: number): void {
    const { key } = this.#parts.sessions;
    const { controls } = this.#in;
    key[10] = port;
    if (this.#in.controlLength(n) < 16 + (family === 4 ? 12 : 20)) return;
    const data = this.#in.controlAt(n) + 16;
    if (family === 4) key[6] = controls.getInt32(data + 4, true);
    else if (controls.getUint8(data) !== 0xff) {
      for (let word = 0; word < 4; word++) key[6 + word] = controls.getInt32(data + 4 * word, true);
    }
  }

  #payload(n: number): Uint8Array {
    const start = this.#in.payloadAt(n);
    return this.#in.payloads.subarray(start, start + this.#in.length(n));
  }

  /** Sends the first `count` messages of `#out` to the session's upstream. */
  #sendUp(slot: number, count: number, now: number): void {
    const fd = this.#parts.slab.i32[slot * I32 + UPSTREAM_FD] as number;
    let [next, sent, bytes, told] = [0, 0, 0, 0];
    while (next < count && told < TOLD_ERRORS) {
      const went = this.#out.sendFrom(fd, next, count - next, MSG_DONTWAIT);
      if (went > 0) {
        for (let n = next; n < next + went; n++) bytes += this.#sizes[n] as number;
        next += went;
        sent += went;
        continue;
      }
      const code = errno();
      if (code === EINTR) continue;
      // A full socket or device drops, as a link would.
      if (code === EAGAIN || code === ENOBUFS) break;
      // One that is too long for its way, perhaps only with what a tunnel puts in front: the others are not.
      if (code === EMSGSIZE) {
        next++;
        continue;
      }
      // An error of an earlier datagram is told once, and the call may be made again.
      told++;
      if (code === ECONNREFUSED) this.#refused(slot, now);
    }
    if (sent > 0) {
      this.#moved(slot, BYTES_UP, 'bytesUp', 'datagramsUp', bytes, sent, now);
      this.#lengths[slot] = this.#sizes[next - 1] as number;
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

  /** Sends the first `count` payloads of `#starts` and `#sizes` to the session's client. */
  #sendDown(slot: number, point: WorkerPoint, count: number, now: number): void {
    const { i32 } = this.#parts.slab;
    const i = slot * I32;
    const raw = point.replyFd >= 0;
    const batch = raw ? this.#raw : this.#out;
    const family = point.family;
    // A listener on all addresses says which one answers; one that a mechanism leads flows to answers as itself.
    const addressed = point.original.via === 'fixed' && i32.subarray(i + ORIGINAL, i + ORIGINAL + 4).some(Boolean);
    for (let n = 0; n < count; n++) {
      const length = this.#sizes[n] as number;
      batch.setPayload(n, this.#in, this.#starts[n] as number, length);
      const name = batch.nameAt(n);
      batch.names.setUint16(name, family === 4 ? 2 : 10, true);
      // A raw socket has no ports: the header in front says them.
      batch.names.setUint16(name + 2, raw ? 0 : (i32[i + SOURCE_PORT] as number), false);
      const offset = family === 4 ? 4 : 8;
      if (family === 6) {
        batch.names.setUint32(name + 4, 0, true);
        batch.names.setInt32(name + 24, i32[i + SCOPE] as number, true);
      }
      for (let word = 0; word < (family === 4 ? 1 : 4); word++) {
        batch.names.setInt32(name + offset + 4 * word, i32[i + SOURCE + word] as number, true);
      }
      let control = 0;
      if (raw) this.#writeHeader(n, i, length);
      if (raw || addressed) {
        control = writePacketInfo(batch.controls, batch.controlAt(n), family, i32, i + ORIGINAL, i32[i + SCOPE]);
      }
      batch.setLengths(n, family === 4 ? 16 : 28, control);
    }
    const fd = raw ? point.replyFd : point.fd;
    let [sent, bytes] = [0, 0];
    while (sent < count) {
      const went = batch.sendFrom(fd, sent, count - sent, MSG_DONTWAIT);
      if (went > 0) sent += went;
      else if (errno() !== EINTR) break;
    }
    for (let n = 0; n < sent; n++) bytes += this.#sizes[n] as number;
    if (sent > 0) this.#moved(slot, BYTES_DOWN, 'bytesDown', 'datagramsDown', bytes, sent, now);
    if (sent < count) this.#count('datagramsDropped', count - sent);
  }

  /** UDP header (RFC 768). */
  #writeHeader(n: number, i: number, length: number): void {
    const { i32 } = this.#parts.slab;
    const { prefixes } = this.#raw;
    const prefix = this.#raw.prefixAt(n);
    prefixes.setUint16(prefix, i32[i + ORIGINAL_PORT] as number, false);
    prefixes.setUint16(prefix + 2, i32[i + SOURCE_PORT] as number, false);
    prefixes.setUint16(prefix + 4, UDP_HEADER + length, false);
    // No checksum: legal in IPv4, and in IPv6 the socket computes it (IPV6_CHECKSUM).
    prefixes.setUint16(prefix + 6, 0, false);
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
