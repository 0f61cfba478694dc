/**
 * Slots of the slab from accept to the end: taking one, watching descriptors, closing, recording. Only the worker that
 * owns the slab uses this.
 */
import {
  EPOLLET,
  EPOLLIN,
  EPOLLOUT,
  EPOLLRDHUP,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_CTL_MOD,
  IPPROTO_UDP,
  SO_LINGER,
  SOL_SOCKET,
} from '../sys/constants.ts';
import { writeEpollEvent } from '../sys/epoll.ts';
import * as libc from '../sys/libc.ts';
import type { DatagramTunnel } from '../api/dialer.ts';
import type { FlowOutcome } from '../api/flow.ts';
import {
  at,
  SERVICE_ACTIVE,
  SERVICE_BYTES_DOWN,
  SERVICE_BYTES_UP,
  SERVICE_FIELDS,
  SERVICE_TOTAL,
  type Counters,
} from './counters.ts';
import type { DatagramQueue } from './datagram-queue.ts';
import type { DescriptorLedger } from './descriptor-ledger.ts';
import {
  ACTIVE_AT,
  BYTES_DOWN,
  BYTES_UP,
  CLIENT_FD,
  CONNECTED_AT,
  CONTROL_FD,
  F64,
  FREE,
  GENERATION,
  HELD,
  I32,
  OUTCOME,
  outcomeCode,
  PENDING,
  PROTOCOL,
  RELAY,
  RELAYING,
  RELAY_COPY,
  SERVICE,
  SIDE,
  SIDE_SHUT,
  STARTED_AT,
  STATE,
  STREAMING,
  UPSTREAM_FD,
  type FlowSlab,
} from './flow-slab.ts';
import type { Handshaking } from './handshaking.ts';
import type { ToWorker } from './messages.ts';
import type { RecordRing } from './record-ring.ts';
import type { SessionIndex } from './session-index.ts';
import type { SpliceRelay } from './splice-relay.ts';

/** The counter that an outcome adds to. */
const COUNTED: Partial<Record<FlowOutcome, number>> = {
  'client-reset': at.clientReset,
  'upstream-reset': at.upstreamReset,
  'idle-timeout': at.idleTimeout,
  'half-closed-timeout': at.halfClosedTimeout,
  denied: at.denied,
  unmatched: at.unmatched,
  'dial-refused': at.dialRefused,
  'dial-timeout': at.dialTimeout,
  'dial-unreachable': at.dialUnreachable,
  'dial-unresolved': at.dialUnresolved,
  'dial-loop': at.dialLoop,
  'dial-limit': at.dialLimit,
  'dial-error': at.dialError,
};

const LINGER_ZERO = Int32Array.of(1, 0);
const WATCHED = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
/** Nothing waits for room in a UDP socket, and each datagram that has left would raise EPOLLOUT anew. */
const WATCHED_DATAGRAMS = EPOLLIN | EPOLLET;

export interface FlowLifecycleParts {
  readonly epfd: number;
  readonly slab: FlowSlab;
  readonly records: RecordRing;
  readonly counters: Counters;
  readonly ledger: DescriptorLedger;
  readonly relay: SpliceRelay;
  readonly handshaking: Handshaking;
  readonly sessions: SessionIndex;
  readonly queue: DatagramQueue;
  /** Told before a flow ends that somebody waits to hear of: a connection that is held, a UDP session. */
  readonly ending: (slot: number, outcome: FlowOutcome) => void;
  /** Of the sessions that go through a relay, by slot. */
  readonly tunnels: Map<number, DatagramTunnel>;
  /** TCP flows and UDP sessions at most. */
  readonly flowLimit: number;
  readonly sessionLimit: number;
}

export class FlowLifecycle {
  readonly #parts: FlowLifecycleParts;
  /** Slots that were used and are free; the last one is taken first. */
  readonly #free: number[] = [];
  /** Dials under way per service. */
  readonly #pending: Int32Array;
  readonly #event = new DataView(new ArrayBuffer(16));
  #high = 0;
  #active = 0;
  #sessions = 0;

  constructor(parts: FlowLifecycleParts) {
    this.#parts = parts;
    this.#pending = new Int32Array(parts.counters.services.length / SERVICE_FIELDS);
  }

  /** One more than the highest slot that was ever used. */
  get high(): number {
    return this.#high;
  }

  /**
   * A cleared slot, or -1 when the limit of that protocol is reached. `clientFd` is the accepted socket, -1 for UDP.
   */
  open(clientFd: number, protocol: number, now: number): number {
    const { slab, counters, flowLimit, sessionLimit } = this.#parts;
    if (protocol === IPPROTO_UDP ? this.#sessions >= sessionLimit : this.#active >= flowLimit) return -1;
    let slot = this.#free.pop();
    if (slot === undefined) {
      slot = this.#high++;
      slab.head[0] = this.#high;
    }
    const i = slot * I32;
    const generation = ((slab.i32[i + GENERATION] as number) + 1) & 0x7fffffff;
    slab.i32.fill(0, i, i + I32);
    slab.i32[i + GENERATION] = generation;
    slab.i32[i + CLIENT_FD] = clientFd;
    slab.i32[i + UPSTREAM_FD] = -1;
    slab.i32[i + CONTROL_FD] = -1;
    slab.i32[i + PROTOCOL] = protocol;
    slab.f64[slot * F64 + STARTED_AT] = now;
    slab.f64[slot * F64 + ACTIVE_AT] = now;
    this.#countLiving(protocol, 1);
    counters.totals[at.accepted] = (counters.totals[at.accepted] as number) + 1;
    return slot;
  }

  /** Names the service of a new flow; counts it there. */
  assign(slot: number, service: number): void {
    const { slab, counters } = this.#parts;
    slab.i32[slot * I32 + SERVICE] = service;
    const base = service * SERVICE_FIELDS;
    const { services } = counters;
    services[base + SERVICE_ACTIVE] = (services[base + SERVICE_ACTIVE] as number) + 1;
    services[base + SERVICE_TOTAL] = (services[base + SERVICE_TOTAL] as number) + 1;
  }

  /** Counts a flow as dialling; false when its service has `limit` of them already. */
  beginPending(slot: number, limit: number): boolean {
    const i = slot * I32;
    const { i32 } = this.#parts.slab;
    if (i32[i + PENDING] === 1) return true;
    const service = i32[i + SERVICE] as number;
    const count = this.#pending[service] as number;
    if (count >= limit) return false;
    this.#pending[service] = count + 1;
    i32[i + PENDING] = 1;
    return true;
  }

  endPending(slot: number): void {
    const i = slot * I32;
    const { i32 } = this.#parts.slab;
    if (i32[i + PENDING] === 0) return;
    i32[i + PENDING] = 0;
    const service = i32[i + SERVICE] as number;
    this.#pending[service] = (this.#pending[service] as number) - 1;
  }

  /** Watches a descriptor of the slot; `side` 0 is the client. Data: slot and side, generation. */
  watch(slot: number, side: number, fd: number): boolean {
    return this.#watch(slot, side, fd, WATCHED);
  }

  /** Watches the UDP socket that is the upstream of the slot. */
  watchDatagrams(slot: number, fd: number): boolean {
    return this.#watch(slot, 1, fd, WATCHED_DATAGRAMS);
  }

  #watch(slot: number, side: number, fd: number, events: number): boolean {
    const { slab, epfd } = this.#parts;
    writeEpollEvent(this.#event, events, slot * 2 + side, slab.i32[slot * I32 + GENERATION] as number);
    return libc.epoll_ctl(epfd, EPOLL_CTL_ADD, fd, this.#event) === 0;
  }

  /** The upstream's connection stays as the control connection of a session; its events are those of side 0. */
  keepAsControl(slot: number): boolean {
    const { slab, epfd } = this.#parts;
    const i = slot * I32;
    const fd = slab.i32[i + UPSTREAM_FD] as number;
    slab.i32[i + CONTROL_FD] = fd;
    slab.i32[i + UPSTREAM_FD] = -1;
    writeEpollEvent(this.#event, WATCHED, slot * 2, slab.i32[i + GENERATION] as number);
    return libc.epoll_ctl(epfd, EPOLL_CTL_MOD, fd, this.#event) === 0;
  }

  closeUpstream(slot: number, reset: boolean): void {
    const i = slot * I32;
    const { i32 } = this.#parts.slab;
    this.#closeControl(slot, reset);
    const fd = i32[i + UPSTREAM_FD] as number;
    if (fd < 0) return;
    i32[i + UPSTREAM_FD] = -1;
    i32[i + SIDE + 1] = 0;
    this.close(fd, reset);
  }

  /** Takes the client's descriptor out of the slot without closing it: somebody else owns it from now on. */
  handOver(slot: number): number {
    const i = slot * I32;
    const { i32 } = this.#parts.slab;
    const fd = i32[i + CLIENT_FD] as number;
    i32[i + CLIENT_FD] = -1;
    // It stays open, so the kernel would go on reporting it here.
    libc.epoll_ctl(this.#parts.epfd, EPOLL_CTL_DEL, fd, this.#event);
    this.#parts.ledger.closed(fd);
    return fd;
  }

  /** Closes a canary, or a flow that begins anew: it is no flow, so nobody hears of it. */
  discard(slot: number): void {
    const { slab, counters } = this.#parts;
    const i = slot * I32;
    slab.i32[i + STATE] = FREE;
    this.#forgetSession(slot);
    const client = slab.i32[i + CLIENT_FD] as number;
    if (client >= 0) this.close(client, false);
    slab.i32[i + CLIENT_FD] = -1;
    counters.totals[at.accepted] = (counters.totals[at.accepted] as number) - 1;
    const service = slab.i32[i + SERVICE] as number;
    if (service !== 0) {
      const base = service * SERVICE_FIELDS;
      const { services } = counters;
      services[base + SERVICE_ACTIVE] = (services[base + SERVICE_ACTIVE] as number) - 1;
      services[base + SERVICE_TOTAL] = (services[base + SERVICE_TOTAL] as number) - 1;
    }
    this.#countLiving(slab.i32[i + PROTOCOL] as number, -1);
    this.#free.push(slot);
  }

  /** Goes on with a flow that was handed over. Both its descriptors come back, and stand in the ledger. */
  adopt(message: Extract<ToWorker, { type: 'adopt' }>, now: number): void {
    const { slot, generation, clientFd, upstreamFd, early } = message;
    const { slab, relay } = this.#parts;
    const { i32, f64 } = slab;
    const i = slot * I32;
    if (i32[i + GENERATION] !== generation || i32[i + STATE] !== STREAMING) {
      this.close(clientFd, true);
      this.close(upstreamFd, true);
      return;
    }
    i32[i + STATE] = RELAYING;
    i32[i + RELAY] = RELAY_COPY;
    i32[i + CLIENT_FD] = clientFd;
    i32[i + UPSTREAM_FD] = upstreamFd;
    i32[i + SIDE] = 0;
    i32[i + SIDE + 1] = 0;
    f64[slot * F64 + CONNECTED_AT] = now;
    f64[slot * F64 + ACTIVE_AT] = now;
    if (early !== undefined) relay.prefillDown(slot, early);
    // The first events of both descriptors come at once and start the relay.
    if (!this.watch(slot, 0, clientFd) || !this.watch(slot, 1, upstreamFd)) this.finish(slot, 'error');
  }

  /**
   * Ends a flow: closes what is open, records it, frees the slot. A flow that did not end by FIN both ways is reset on
   * both sides, so that neither end takes it for complete.
   */
  finish(slot: number, outcome: FlowOutcome): void {
    const { slab, records, counters, relay, handshaking } = this.#parts;
    const { i32, f64 } = slab;
    const i = slot * I32;
    if (i32[i + STATE] === FREE) return;
    if (i32[i + HELD] !== 0 || i32[i + PROTOCOL] === IPPROTO_UDP) this.#parts.ending(slot, outcome);
    const reset = outcome !== 'closed';
    this.endPending(slot);
    relay.release(slot);
    handshaking.forget(slot);
    // What waited for an upstream in vain; what a canary has sent is nobody's.
    const waited = i32[i + PROTOCOL] === IPPROTO_UDP ? this.#parts.queue.take(slot).length : 0;
    counters.totals[at.datagramsDropped] = (counters.totals[at.datagramsDropped] as number) + waited;
    this.#forgetSession(slot);
    i32[i + STATE] = FREE;
    i32[i + OUTCOME] = outcomeCode(outcome);
    const client = i32[i + CLIENT_FD] as number;
    if (client >= 0) this.close(client, reset);
    this.#closeControl(slot, reset);
    const upstream = i32[i + UPSTREAM_FD] as number;
    if (upstream >= 0) this.close(upstream, reset || ((i32[i + SIDE + 1] as number) & SIDE_SHUT) === 0);
    f64[slot * F64 + ACTIVE_AT] = Date.now();
    records.push(slab.slotBytes(slot));
    i32[i + CLIENT_FD] = -1;
    i32[i + UPSTREAM_FD] = -1;

    const base = (i32[i + SERVICE] as number) * SERVICE_FIELDS;
    const { services, totals } = counters;
    services[base + SERVICE_ACTIVE] = Math.max(0, (services[base + SERVICE_ACTIVE] as number) - 1);
    services[base + SERVICE_BYTES_UP] =
      (services[base + SERVICE_BYTES_UP] as number) + (f64[slot * F64 + BYTES_UP] as number);
    services[base + SERVICE_BYTES_DOWN] =
      (services[base + SERVICE_BYTES_DOWN] as number) + (f64[slot * F64 + BYTES_DOWN] as number);
    totals[at.ended] = (totals[at.ended] as number) + 1;
    const counter = COUNTED[outcome];
    if (counter !== undefined) totals[counter] = (totals[counter] as number) + 1;
    this.#countLiving(i32[i + PROTOCOL] as number, -1);
    this.#free.push(slot);
  }

  #countLiving(protocol: number, by: number): void {
    const { head } = this.#parts.slab;
    if (protocol === IPPROTO_UDP) head[2] = this.#sessions += by;
    else head[1] = this.#active += by;
  }

  #forgetSession(slot: number): void {
    const { slab, sessions, queue, tunnels } = this.#parts;
    if (slab.i32[slot * I32 + PROTOCOL] !== IPPROTO_UDP) return;
    sessions.remove(slot);
    queue.take(slot);
    if (tunnels.size > 0) tunnels.delete(slot);
  }

  #closeControl(slot: number, reset: boolean): void {
    const { i32 } = this.#parts.slab;
    const fd = i32[slot * I32 + CONTROL_FD] as number;
    if (fd < 0) return;
    i32[slot * I32 + CONTROL_FD] = -1;
    this.close(fd, reset);
  }

  /** Closes a descriptor of the ledger. */
  close(fd: number, reset: boolean): void {
    if (reset) libc.setsockopt(fd, SOL_SOCKET, SO_LINGER, LINGER_ZERO, 8);
    this.#parts.ledger.closed(fd);
    libc.close(fd);
  }
}
