/**
 * From a captured connection in a listener's queue to a flow with a service: accept, original destination, decision.
 * Level-triggered and bounded per turn, so that accepting never starves living flows.
 */
import type { Prefix } from '../api/flow.ts';
import { NAT_ORIGINAL, NAT_ORIGINAL_PORT, NAT_SOURCE, NAT_SOURCE_PORT } from '../api/nat-table.ts';
import { addressToNumber, bytesToAddress, prefixContains } from '../capture/address.ts';
import {
  EPOLLIN,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  IPPROTO_TCP,
  O_CLOEXEC,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
} from '../sys/constants.ts';
import { writeEpollEvent } from '../sys/epoll.ts';
import { EAGAIN, ECONNABORTED, EINTR, EMFILE, ENFILE } from '../sys/errno.ts';
import { errno } from '../sys/library.ts';
import * as libc from '../sys/libc.ts';
import { closeWithReset } from '../sys/sockets.ts';
import { at, type Counters } from './counters.ts';
import type { FlowDecision } from './decision.ts';
import type { DescriptorLedger } from './descriptor-ledger.ts';
import type { Dialing } from './dialing.ts';
import type { FlowLifecycle } from './flow-lifecycle.ts';
import {
  DEADLINE,
  F64,
  FAMILY,
  I32,
  ORIGINAL,
  ORIGINAL_PORT,
  POINT,
  RESOLVING,
  SOURCE,
  SOURCE_PORT,
  STATE,
  type FlowSlab,
} from './flow-slab.ts';
import type { HeldDials } from './held-dials.ts';
import type { WorkerPoint } from './messages.ts';
import { NatLookup } from './nat-lookup.ts';

/** Connections taken from one listener per turn. */
const PER_TURN = 64;
/** How long a worker without descriptors waits before it accepts again. Milliseconds. */
const PAUSE = 100;

/** Data words that mark an event as one of a listener, of a UDP point or of the wake descriptor. */
export const LISTENER_EVENT = 0xfffffffe;
export const DATAGRAM_EVENT = 0xfffffffd;
export const WAKE_EVENT = 0xffffffff;

export interface AcceptorParts {
  readonly epfd: number;
  readonly slab: FlowSlab;
  readonly counters: Counters;
  readonly ledger: DescriptorLedger;
  readonly flows: FlowLifecycle;
  readonly dialing: Dialing;
  readonly decision: FlowDecision;
  readonly held: HeldDials;
}

export class Acceptor {
  readonly #parts: AcceptorParts;
  readonly #peer = Buffer.alloc(28);
  readonly #peerWords = new DataView(this.#peer.buffer, this.#peer.byteOffset, 28);
  readonly #own = Buffer.alloc(28);
  readonly #ownWords = new DataView(this.#own.buffer, this.#own.byteOffset, 28);
  readonly #length = Int32Array.of(28);
  readonly #event = new DataView(new ArrayBuffer(16));
  #points: readonly WorkerPoint[] = [];
  /** Of the points that have one, by index. */
  #nat: ReadonlyMap<number, NatLookup> = new Map();
  #spareFd = -1;
  #pausedUntil = 0;
  #listening = false;

  constructor(parts: AcceptorParts) {
    this.#parts = parts;
    this.#openSpare();
  }

  listen(points: readonly WorkerPoint[]): void {
    this.unlisten();
    this.#points = points.filter((point) => point.protocol === 'tcp');
    this.#nat = natLookups(this.#points);
    for (const point of this.#points) {
      writeEpollEvent(this.#event, EPOLLIN, LISTENER_EVENT, point.index);
      libc.epoll_ctl(this.#parts.epfd, EPOLL_CTL_ADD, point.fd, this.#event);
    }
    this.#listening = true;
  }

  /** Connections that come now stay in the queue of the listener, which is control's. */
  unlisten(): void {
    if (!this.#listening) return;
    for (const point of this.#points) libc.epoll_ctl(this.#parts.epfd, EPOLL_CTL_DEL, point.fd, this.#event);
    this.#listening = false;
  }

  /** Goes on accepting when a pause for want of descriptors is over. */
  resumeWhenDue(now: number): void {
    if (this.#pausedUntil === 0 || now < this.#pausedUntil) return;
    this.#pausedUntil = 0;
    this.listen(this.#points);
  }

  accept(pointIndex: number, now: number): void {
    const point = this.#points.find(({ index }) => index === pointIndex);
    if (point === undefined || !this.#listening) return;
    for (let taken = 0; taken < PER_TURN; taken++) {
      this.#length[0] = 28;
      const fd = libc.accept4(point.fd, this.#peer, this.#length, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) {
        const code = errno();
        if (code === EINTR || code === ECONNABORTED) continue;
        if (code === EMFILE || code === ENFILE) this.#refuseForWantOfDescriptors(point, now);
        else if (code !== EAGAIN) throw new Error(`accept4 on point ${pointIndex} failed with errno ${code}`);
        return;
      }
      this.#parts.ledger.opened(fd);
      this.#take(fd, point, now);
    }
  }

  closeSpare(): void {
    if (this.#spareFd < 0) return;
    this.#parts.ledger.closed(this.#spareFd);
    libc.close(this.#spareFd);
    this.#spareFd = -1;
  }

  #take(fd: number, point: WorkerPoint, now: number): void {
    const { slab, flows, counters, decision, held } = this.#parts;
    const offset = point.family === 4 ? 4 : 8;
    const nat = this.#nat.get(point.index);
    const entry = nat === undefined ? -1 : nat.find(this.#peerWords, offset, this.#peerWords.getUint16(2, false));
    if (entry >= 0 && held.accepted(point.index, entry, fd, now)) return;
    const slot = flows.open(fd, IPPROTO_TCP, now);
    if (slot < 0) {
      counters.totals[at.flowLimit] = (counters.totals[at.flowLimit] as number) + 1;
      this.#parts.ledger.closed(fd);
      closeWithReset(fd);
      return;
    }
    const i = slot * I32;
    const { i32 } = slab;
    i32[i + STATE] = RESOLVING;
    slab.f64[slot * F64 + DEADLINE] = now + this.#parts.dialing.timeouts.connect;
    i32[i + POINT] = point.index;
    i32[i + FAMILY] = point.family;
    i32[i + SOURCE_PORT] = this.#peerWords.getUint16(2, false);
    const words = point.family === 4 ? 1 : 4;
    for (let word = 0; word < words; word++) {
      i32[i + SOURCE + word] = this.#peerWords.getInt32(offset + 4 * word, true);
    }
    if (nat !== undefined) {
      if (entry < 0) {
        flows.finish(slot, 'denied');
        return;
      }
      for (let word = 0; word < words; word++) {
        i32[i + SOURCE + word] = nat.words[entry + NAT_SOURCE + word] as number;
        i32[i + ORIGINAL + word] = nat.words[entry + NAT_ORIGINAL + word] as number;
      }
      i32[i + SOURCE_PORT] = nat.words[entry + NAT_SOURCE_PORT] as number;
      i32[i + ORIGINAL_PORT] = nat.words[entry + NAT_ORIGINAL_PORT] as number;
      if (flows.watch(slot, 0, fd)) decision.begin(slot, now);
      else flows.finish(slot, 'error');
      return;
    }
    this.#length[0] = 28;
    if (libc.getsockname(fd, this.#own, this.#length) < 0 || !flows.watch(slot, 0, fd)) {
      flows.finish(slot, 'error');
      return;
    }
    const port = this.#ownWords.getUint16(2, false);
    i32[i + ORIGINAL_PORT] = port;
    for (let word = 0; word < words; word++) {
      i32[i + ORIGINAL + word] = this.#ownWords.getInt32(offset + 4 * word, true);
    }

    if (point.original.via === 'fixed') {
      const { service: only, target, sources = [] } = point.original;
      flows.assign(slot, only);
      if (sources.length > 0 && !this.#comesFrom(sources, offset, words)) flows.finish(slot, 'denied');
      else this.#parts.dialing.begin(slot, decision.planOf(only), now, target);
      return;
    }
    decision.begin(slot, now);
  }

  /** Sees the client's address in #peer. */
  #comesFrom(sources: readonly Prefix[], offset: number, words: number): boolean {
    const source = addressToNumber(bytesToAddress(this.#peer.subarray(offset, offset + 4 * words)));
    const family = words === 1 ? 4 : 6;
    return sources.some((prefix) => prefixContains(prefix, family, source));
  }

  /** Without a descriptor a queue cannot even be emptied: a spare one is given up for each connection that is refused. */
  #refuseForWantOfDescriptors(point: WorkerPoint, now: number): void {
    const { counters } = this.#parts;
    counters.totals[at.descriptorLimit] = (counters.totals[at.descriptorLimit] as number) + 1;
    this.closeSpare();
    const fd = libc.accept4(point.fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) closeWithReset(fd);
    this.#openSpare();
    this.unlisten();
    this.#pausedUntil = now + PAUSE;
  }

  #openSpare(): void {
    this.#spareFd = libc.open('/dev/null', O_CLOEXEC, 0);
    if (this.#spareFd >= 0) this.#parts.ledger.opened(this.#spareFd);
  }
}

/** What the points of a worker need to find their flows in a mechanism's table. */
export function natLookups(points: readonly WorkerPoint[]): ReadonlyMap<number, NatLookup> {
  const lookups = new Map<number, NatLookup>();
  for (const { index, original } of points) {
    if (original.via === 'nat-table') lookups.set(index, new NatLookup(original.table));
  }
  return lookups;
}
