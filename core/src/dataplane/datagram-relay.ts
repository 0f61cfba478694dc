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
import { DatagramReplies } from './datagram-replies.ts';
import type { DatagramQueue } from './datagram-queue.ts';
import {
  datagramsIn,
  looksLikeRun,
  longestRun,
  receiveRuns,
  RUN_CONTROL,
  RUN_LIKE,
  runControlOf,
  segmentOf,
} from './datagram-run.ts';
import type { FlowDecision } from './decision.ts';
import type { Dialing } from './dialing.ts';
import type { FlowLifecycle } from './flow-lifecycle.ts';
import {
  ACTIVE_AT,
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
import { type AfterFailure, OutgoingDatagrams } from './outgoing-datagrams.ts';
import { encapsulated, TunnelledBatch } from './tunnelled-batch.ts';
import type { NatLookup } from './nat-lookup.ts';
import type { SessionIndex } from './session-index.ts';
import { type Unreachable, UnreachableMessages } from './unreachable.ts';

/** Datagrams per call. */
const BATCH = 32;
/** Calls per turn of one socket, so that one that never falls silent leaves the worker to the others. */
const CALLS = 8;
/** Datagrams after which a turn has no further call: runs bring more of them by fewer. */
const TURN = CALLS * BATCH;
/** Errors of earlier datagrams that one batch may meet on its way to an upstream. */
const TOLD_ERRORS = 4;
const PAYLOAD = 65_536;
/** Room for a sockaddr_in6 or an in6_pktinfo as control data, padded, and for what tells of a run. */
const CONTROL = 64 + RUN_CONTROL;

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
  readonly #out = new OutgoingDatagrams(this.#in);
  readonly #tunnelled = new TunnelledBatch(this.#in);
  readonly #replies: DatagramReplies;
  readonly #unreachable: UnreachableMessages;
  /** Bytes of the last datagram that went to an upstream, or waits to go; by slot. */
  readonly #lengths: Uint16Array;
  /** 1: the upstream's socket hands over runs; by slot. A socket that never brings one is spared the asking. */
  readonly #withRuns: Uint8Array;
  /** Descriptors of points that hand over runs; perhaps others do too, from before this worker. */
  readonly #pointsWithRuns = new Set<number>();
  /** Of the message that `#sessionOf` looked at: where what its session has not had yet begins in `#in`, and its segment. */
  #rest = 0;
  #segment = 0;
  /** How much control data tells of that, before any other. */
  #runControl = 0;
  /** Session whose datagrams go up, when, and how many errors of earlier ones it has met. */
  #sending = -1;
  #sendingAt = 0;
  #told = 0;
  #points: readonly WorkerPoint[] = [];
  #nat: ReadonlyMap<number, NatLookup> = new Map();

  constructor(parts: DatagramRelayParts) {
    this.#parts = parts;
    this.#replies = new DatagramReplies(parts.slab, parts.counters, this.#in);
    this.#unreachable = new UnreachableMessages(parts.slab, parts.counters);
    this.#lengths = new Uint16Array(parts.slab.capacity);
    this.#withRuns = new Uint8Array(parts.slab.capacity);
  }

  set points(points: readonly WorkerPoint[]) {
    this.#points = points;
    this.#nat = natLookups(points);
    this.#pointsWithRuns.clear();
  }

  /** Clients have sent to a point. What is left raises the next event: points are level-triggered. */
  receive(point: WorkerPoint, now: number): void {
    for (let datagrams = 0; datagrams < TURN;) {
      const count = this.#in.receive(point.fd, MSG_DONTWAIT);
      if (count <= 0) return;
      // Datagrams of one session often come together: they leave by one call.
      let last = -1;
      for (let n = 0; n < count; n++) {
        const slot = this.#sessionOf(point, n, now);
        datagrams += datagramsIn(this.#in.length(n), this.#segment);
        if (slot < 0) continue;
        if (slot !== last && this.#out.count > 0) this.#sendUp(last, point, now);
        last = slot;
        this.#addUp(slot, n, point, now);
      }
      if (this.#out.count > 0) this.#sendUp(last, point, now);
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
    const tunnel = associations.tunnelOf(slot);
    let received = false;
    let datagrams = 0;
    for (let call = 0; call < CALLS && datagrams < TURN; call++) {
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
      const forClient = this.#tunnelled.unwrap(tunnel, count);
      if (forClient < count) this.#count('datagramsMalformed', count - forClient);
      if (forClient > 0) datagrams += this.#replies.send(slot, point, this.#tunnelled, forClient, now);
      // A tunnel takes datagrams one by one.
      if (count >= RUN_LIKE && tunnel === undefined && this.#withRuns[slot] === 0) {
        if (looksLikeRun(this.#tunnelled.sizes, forClient)) {
          this.#withRuns[slot] = 1;
          receiveRuns(fd);
        }
      }
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
        this.#movedUp(slot, datagram.length, 1, now);
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

  /** The slot of the session of message `n`, which is to have it from `#rest` on; -1 when it has none yet, or none at all. */
  #sessionOf(point: WorkerPoint, n: number, now: number): number {
    const { slab, sessions, queue } = this.#parts;
    const skipped = runControlOf(this.#in, n);
    const segment = skipped === 0 ? 0 : segmentOf(this.#in, n);
    this.#runControl = skipped;
    this.#segment = segment;
    this.#rest = this.#in.payloadAt(n);
    const length = this.#in.length(n);
    if (!this.#readKey(point, n)) {
      this.#count('datagramsDropped', datagramsIn(length, segment));
      return -1;
    }
    const end = this.#rest + length;
    do {
      const found = sessions.find();
      if (found >= 0 && slab.i32[found * I32 + STATE] === SESSION) return found;
      // Of a run too, one datagram opens the session, and each of the others finds it as it then is.
      const next = segment === 0 ? end : Math.min(end, this.#rest + segment);
      const datagram = this.#in.payloads.subarray(this.#rest, next);
      if (found < 0) this.#open(point, datagram, now);
      else if (!queue.push(found, datagram)) this.#count('datagramsDropped', 1);
      this.#rest = next;
    } while (this.#rest < end);
    return -1;
  }

  #open(point: WorkerPoint, datagram: Uint8Array, now: number): void {
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
    this.#lengths[slot] = datagram.length;
    this.#withRuns[slot] = 0;
    // Before the decision: a direct dial has its upstream at once, and then sends what waits.
    if (!queue.push(slot, datagram)) this.#count('datagramsDropped', 1);
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
    // One control message, after that of a run: IP_ORIGDSTADDR or IPV6_ORIGDSTADDR, a sockaddr.
    const skipped = this.#runControl;
    if (this.#in.controlLength(n) - skipped < 16 + (point.family === 4 ? 16 : 28)) return false;
    const address = this.#in.controlAt(n) + skipped + 16;
    for (let word = 0; word < words; word++) key[6 + word] = controls.getInt32(address + offset + 4 * word, true);
    key[10] = controls.getUint16(address + 2, false);
    return true;
  }

  /** Where a datagram for a listener arrived: in_pktinfo.ipi_spec_dst, or in6_pktinfo.ipi6_addr unless it is multicast. */
  #readLocalAddress({ family, port }: WorkerPoint, n: number): void {
    const { key } = this.#parts.sessions;
    const { controls } = this.#in;
    key[10] = port;
    const skipped = this.#runControl;
    if (this.#in.controlLength(n) - skipped < 16 + (family === 4 ? 12 : 20)) return;
    const data = this.#in.controlAt(n) + skipped + 16;
    if (family === 4) key[6] = controls.getInt32(data + 4, true);
    else if (controls.getUint8(data) !== 0xff) {
      for (let word = 0; word < 4; word++) key[6 + word] = controls.getInt32(data + 4 * word, true);
    }
  }

  /** Adds what `#sessionOf` left of message `n` to `#out`; what finds no room there makes the others go. */
  #addUp(slot: number, n: number, point: WorkerPoint, now: number): void {
    const out = this.#out;
    const segment = this.#segment;
    const tunnel = this.#parts.associations.tunnelOf(slot);
    const end = this.#in.payloadAt(n) + this.#in.length(n);
    let from = this.#rest;
    const most = segment === 0 ? end - from : tunnel === undefined ? longestRun(segment) : segment;
    do {
      if (out.full) this.#sendUp(slot, point, now);
      const length = Math.min(most, end - from);
      if (tunnel === undefined) out.add(from, length, length > segment ? segment : 0, 0, 0);
      else if (this.#tunnelled.wrap(tunnel, from, length, out.batch, out.count)) out.addWrapped(length);
      else this.#count('datagramsDropped', 1);
      from += length;
    } while (from < end);
  }

  /** Sends what is in `#out` to the session's upstream. */
  #sendUp(slot: number, point: WorkerPoint, now: number): void {
    const out = this.#out;
    if (out.count >= RUN_LIKE && !this.#pointsWithRuns.has(point.fd) && looksLikeRun(out.sizes, out.count)) {
      this.#pointsWithRuns.add(point.fd);
      receiveRuns(point.fd);
    }
    this.#sending = slot;
    this.#sendingAt = now;
    this.#told = 0;
    out.send(this.#parts.slab.i32[slot * I32 + UPSTREAM_FD] as number, this.#upFailed);
    if (out.sent > 0) {
      this.#movedUp(slot, out.bytes, out.sent, now);
      this.#lengths[slot] = out.lastLength;
    }
    if (out.runs > 0) this.#count('datagramRunsUp', out.runs);
    if (out.dropped > 0) this.#count('datagramsDropped', out.dropped);
  }

  readonly #upFailed = (code: number): AfterFailure => {
    if (code === EINTR) return 'again';
    // A full socket or device drops, as a link would.
    if (code === EAGAIN || code === ENOBUFS) return 'stop';
    // One that is too long for its way, perhaps only with what a tunnel puts in front: the others are not.
    if (code === EMSGSIZE) return 'next';
    // An error of an earlier datagram is told once, and the call may be made again.
    if (code === ECONNREFUSED) this.#refused(this.#sending, this.#sendingAt);
    return ++this.#told < TOLD_ERRORS ? 'again' : 'stop';
  };

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

  #movedUp(slot: number, bytes: number, datagrams: number, now: number): void {
    const { f64 } = this.#parts.slab;
    f64[slot * F64 + BYTES_UP] = (f64[slot * F64 + BYTES_UP] as number) + bytes;
    f64[slot * F64 + ACTIVE_AT] = now;
    this.#count('bytesUp', bytes);
    this.#count('datagramsUp', datagrams);
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
