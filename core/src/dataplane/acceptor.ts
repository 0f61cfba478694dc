/**
 * From a captured connection in a listener's queue to a flow with a service: accept, original destination, decision.
 * Level-triggered and bounded per turn, so that accepting never starves living flows.
 */
import { CANARY_SERVICE, NAMES_SERVICE } from '../api/capture.ts';
import type { Prefix } from '../api/flow.ts';
import { addressToNumber, bytesToAddress, prefixContains } from '../capture/address.ts';
import type { LookupTable } from '../capture/lookup-table.ts';
import { EPOLLIN, EPOLL_CTL_ADD, EPOLL_CTL_DEL, O_CLOEXEC, SOCK_CLOEXEC, SOCK_NONBLOCK } from '../sys/constants.ts';
import { writeEpollEvent } from '../sys/epoll.ts';
import { EAGAIN, ECONNABORTED, EINTR, EMFILE, ENFILE } from '../sys/errno.ts';
import { errno } from '../sys/library.ts';
import * as libc from '../sys/libc.ts';
import { closeWithReset } from '../sys/sockets.ts';
import { at, type Counters } from './counters.ts';
import type { DescriptorLedger } from './descriptor-ledger.ts';
import type { Dialing } from './dialing.ts';
import type { FlowLifecycle } from './flow-lifecycle.ts';
import {
  DEADLINE,
  F64,
  FAMILY,
  GENERATION,
  I32,
  NAME,
  ORIGINAL,
  ORIGINAL_PORT,
  POINT,
  RESOLVING,
  SOURCE,
  SOURCE_PORT,
  STATE,
  type FlowSlab,
} from './flow-slab.ts';
import type { DialStep, FromWorker, WorkerPoint } from './messages.ts';
import type { NameDirectory } from './name-directory.ts';

/** Connections taken from one listener per turn. */
const PER_TURN = 64;
/** How long a worker without descriptors waits before it accepts again. Milliseconds. */
const PAUSE = 100;

const TCP = 6;
const NONE = -1;
const SPARE = -2;

/** Data words that mark an event as one of a listener or of the wake descriptor. */
export const LISTENER_EVENT = 0xfffffffe;
export const WAKE_EVENT = 0xffffffff;

/** What the worker knows about services; replaced whole by a table message. */
export interface ServiceTables {
  readonly lookup: LookupTable;
  readonly names: NameDirectory;
  readonly plans: Map<number, readonly DialStep[]>;
  readonly unmatched: readonly DialStep[];
}

/** Dials the flow's own destination. */
const DIRECT: readonly DialStep[] = [{ kind: 'route', dialer: 0 }];

export interface AcceptorParts {
  readonly epfd: number;
  readonly slab: FlowSlab;
  readonly counters: Counters;
  readonly ledger: DescriptorLedger;
  readonly flows: FlowLifecycle;
  readonly dialing: Dialing;
  readonly post: (message: FromWorker) => void;
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
  #spareFd = -1;
  #pausedUntil = 0;
  #listening = false;
  tables: ServiceTables | undefined;
  /** The tables before the last change, and until when flows that only they want are dialled directly. */
  #retired: { readonly tables: ServiceTables; readonly until: number } | undefined;

  constructor(parts: AcceptorParts) {
    this.#parts = parts;
    this.#openSpare();
  }

  listen(points: readonly WorkerPoint[]): void {
    this.unlisten();
    this.#points = points;
    for (const point of points) {
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

  replaceTables(tables: ServiceTables, graceUntil: number): void {
    this.#retired = this.tables && { tables: this.tables, until: graceUntil };
    this.tables = tables;
  }

  /** Goes on accepting when a pause for want of descriptors is over. */
  resumeWhenDue(now: number): void {
    if (this.#pausedUntil === 0 || now < this.#pausedUntil) return;
    this.#pausedUntil = 0;
    this.listen(this.#points);
  }

  accept(pointIndex: number, now: number): void {
    const point = this.#points[pointIndex];
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

  /** A flow to an assigned address that the directory did not know may go on now. */
  named(slot: number, found: boolean, now: number): void {
    const { flows } = this.#parts;
    if (!found || !this.#decideNamed(slot, now)) flows.finish(slot, 'unmatched');
  }

  closeSpare(): void {
    if (this.#spareFd < 0) return;
    this.#parts.ledger.closed(this.#spareFd);
    libc.close(this.#spareFd);
    this.#spareFd = -1;
  }

  #take(fd: number, point: WorkerPoint, now: number): void {
    const { slab, flows, counters, post } = this.#parts;
    const slot = flows.open(fd, now);
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
    const offset = point.family === 4 ? 4 : 8;
    const words = point.family === 4 ? 1 : 4;
    for (let word = 0; word < words; word++) {
      i32[i + SOURCE + word] = this.#peerWords.getInt32(offset + 4 * word, true);
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
      else this.#parts.dialing.begin(slot, this.tables?.plans.get(only) ?? [], now, target);
      return;
    }
    const service = this.tables === undefined ? NONE : this.#decide(this.tables, point.family, port);
    if (service === CANARY_SERVICE) {
      post({
        type: 'canary',
        address: bytesToAddress(this.#own.subarray(offset, offset + 4 * words)),
        port,
        sourcePort: i32[i + SOURCE_PORT] as number,
      });
      flows.discard(slot);
    } else if (service === NAMES_SERVICE) {
      if (this.#decideNamed(slot, now)) return;
      const address = bytesToAddress(this.#own.subarray(offset, offset + 4 * words));
      post({ type: 'unnamed', slot, generation: i32[i + GENERATION] as number, address });
    } else if (service >= 0) {
      flows.assign(slot, service);
      this.#parts.dialing.begin(slot, this.tables?.plans.get(service) ?? [], now);
    } else this.#unmatched(slot, service, now);
  }

  /** Sees the client's address in #peer. */
  #comesFrom(sources: readonly Prefix[], offset: number, words: number): boolean {
    const source = addressToNumber(bytesToAddress(this.#peer.subarray(offset, offset + 4 * words)));
    const family = words === 1 ? 4 : 6;
    return sources.some((prefix) => prefixContains(prefix, family, source));
  }

  /** Sees the packet's addresses in #own and #peer. */
  #decide(tables: ServiceTables, family: 4 | 6, port: number): number {
    const own = this.#ownWords;
    const peer = this.#peerWords;
    if (family === 4) return tables.lookup.decide4(own.getUint32(4, false), port, TCP, peer.getUint32(4, false));
    return tables.lookup.decide6(
      own.getUint32(8, false),
      own.getUint32(12, false),
      own.getUint32(16, false),
      own.getUint32(20, false),
      port,
      TCP,
      peer.getUint32(8, false),
      peer.getUint32(12, false),
      peer.getUint32(16, false),
      peer.getUint32(20, false),
    );
  }

  /** False when the directory has no name for the address. */
  #decideNamed(slot: number, now: number): boolean {
    const { slab, flows, dialing } = this.#parts;
    const tables = this.tables;
    if (tables === undefined) return false;
    const { i32 } = slab;
    const i = slot * I32;
    const family = i32[i + FAMILY] as 4 | 6;
    const entry = tables.names.find(
      family,
      i32[i + ORIGINAL] as number,
      i32[i + ORIGINAL + 1] as number,
      i32[i + ORIGINAL + 2] as number,
      i32[i + ORIGINAL + 3] as number,
    );
    if (entry < 0) return false;
    i32[i + NAME] = tables.names.nameAt(entry) + 1;
    const pattern = tables.names.patternAt(entry);
    let service = NONE;
    if (pattern >= 0) {
      service = tables.lookup.decideName(
        pattern,
        i32[i + ORIGINAL_PORT] as number,
        TCP,
        family,
        swap(i32[i + SOURCE] as number),
        swap(i32[i + SOURCE + 1] as number),
        swap(i32[i + SOURCE + 2] as number),
        swap(i32[i + SOURCE + 3] as number),
      );
    }
    flows.assign(slot, service >= 0 ? service : NAMES_SERVICE);
    // A port that no service wants, or a retired name: the name's real address, as if Weir were not there.
    dialing.begin(slot, service >= 0 ? (tables.plans.get(service) ?? []) : DIRECT, now);
    return true;
  }

  /** Steered, and no service of this generation wants it. */
  #unmatched(slot: number, decision: number, now: number): void {
    const { slab, flows, dialing } = this.#parts;
    const retired = this.#retired;
    let plan: readonly DialStep[] = this.tables?.unmatched ?? [];
    if (decision === SPARE) plan = DIRECT;
    else if (retired !== undefined && now < retired.until) {
      const family = slab.i32[slot * I32 + FAMILY] as 4 | 6;
      if (this.#decide(retired.tables, family, slab.i32[slot * I32 + ORIGINAL_PORT] as number) >= 0) plan = DIRECT;
    }
    if (plan[0]?.kind === 'reset') flows.finish(slot, 'unmatched');
    else dialing.begin(slot, plan, now);
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

/** Network-order word as the kernel wrote it to the number it spells. */
function swap(word: number): number {
  return (((word & 0xff) << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)) >>> 0;
}
