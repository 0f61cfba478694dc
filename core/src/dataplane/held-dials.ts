/**
 * Flows that are dialled before they are accepted: a mechanism announces them in a table beside its NAT table and holds
 * their first packet until the answer stands there. See api/held-flows.ts. Such a flow has a slot without a client from
 * the announcement on; the connection that is accepted later is put into it, by whichever worker accepts it.
 */
import type { FlowOutcome } from '../api/flow.ts';
import { HELD_ASKED, HELD_ENDED, HELD_FREE, HELD_GIVEN_UP, HeldAnswer, HeldTable } from '../api/held-flows.ts';
import {
  NAT_ENTRY,
  NAT_HEAD,
  NAT_HELD,
  NAT_ORIGINAL,
  NAT_ORIGINAL_PORT,
  NAT_SOURCE,
  NAT_SOURCE_PORT,
} from '../api/nat-table.ts';
import { IPPROTO_TCP } from '../sys/constants.ts';
import { ENETUNREACH } from '../sys/errno.ts';
import * as libc from '../sys/libc.ts';
import { closeWithReset } from '../sys/sockets.ts';
import { at, type Counters } from './counters.ts';
import type { FlowDecision } from './decision.ts';
import type { DescriptorLedger } from './descriptor-ledger.ts';
import type { Dialing } from './dialing.ts';
import type { FlowLifecycle } from './flow-lifecycle.ts';
import {
  ACTIVE_AT,
  AWAITING,
  CLIENT_FD,
  DEADLINE,
  DROPPED,
  ERRNO,
  F64,
  FAMILY,
  GENERATION,
  HELD,
  I32,
  ORIGINAL,
  ORIGINAL_PORT,
  POINT,
  RELAYING,
  RESOLVING,
  SIDE,
  SOURCE,
  SOURCE_PORT,
  STATE,
  type FlowSlab,
} from './flow-slab.ts';
import type { FromWorker, WorkerPoint } from './messages.ts';

const wakeValue = new BigInt64Array([1n]);

export interface HeldDialsParts {
  readonly slab: FlowSlab;
  readonly counters: Counters;
  readonly ledger: DescriptorLedger;
  readonly flows: FlowLifecycle;
  readonly dialing: Dialing;
  readonly decision: FlowDecision;
  /** The number of this worker. */
  readonly worker: number;
  readonly post: (message: FromWorker) => void;
}

interface HeldPoint {
  readonly point: WorkerPoint;
  readonly table: HeldTable;
  /** The NAT table. */
  readonly nat: Int32Array;
}

export class HeldDials {
  readonly #parts: HeldDialsParts;
  #points = new Map<number, HeldPoint>();

  constructor(parts: HeldDialsParts) {
    this.#parts = parts;
  }

  set points(points: readonly WorkerPoint[]) {
    this.#points = new Map();
    for (const point of points) {
      if (point.original.via !== 'nat-table' || point.original.held === undefined) continue;
      const { table, held } = point.original;
      this.#points.set(point.index, { point, table: new HeldTable(held), nat: new Int32Array(table) });
    }
    for (const each of this.#points.values()) this.#endLost(each);
  }

  /** Begins what was announced, and ends what was given up. */
  look(now: number): void {
    for (const each of this.#points.values()) {
      const { table } = each;
      const { high } = table;
      for (let place = 0; place < high; place++) {
        const state = table.state(place);
        if (state === HELD_ASKED && table.worker(place) === this.#parts.worker) this.#begin(each, place, now);
        else if (state === HELD_GIVEN_UP && table.worker(place) === this.#parts.worker) this.#giveUp(each, place);
      }
    }
  }

  /** A held flow has its upstream: its client may connect. */
  dialled(slot: number, now: number): void {
    const { slab, flows, dialing } = this.#parts;
    const held = this.#of(slot);
    slab.f64[slot * F64 + DEADLINE] = now + dialing.timeouts.connect;
    if (held?.table.dialled(held.place)) wake(held.table);
    else flows.finish(slot, 'client-reset');
  }

  /** A held flow can only be dialled when it is accepted: it begins anew then. */
  connectFirst(slot: number): void {
    this.#end(slot, HeldAnswer.connect);
    this.#parts.flows.discard(slot);
  }

  /** A held flow ends. */
  ended(slot: number, outcome: FlowOutcome): void {
    const { i32 } = this.#parts.slab;
    const i = slot * I32;
    this.#end(slot, answerTo(outcome, i32[i + STATE] as number, i32[i + ERRNO] as number));
  }

  /**
   * A connection was accepted.
   * @param entry of the NAT table, its first word.
   * @returns whether it belongs to a held flow, which has it now.
   */
  accepted(pointIndex: number, entry: number, fd: number, now: number): boolean {
    const held = this.#points.get(pointIndex);
    if (held === undefined) return false;
    const { table, nat } = held;
    const place = (nat[entry + NAT_HELD] as number) - 1;
    if (place < 0 || place >= table.capacity || table.entry(place) !== (entry - NAT_HEAD) / NAT_ENTRY) return false;
    const [worker, slot, generation] = [table.worker(place), table.slot(place), table.generation(place)];
    if (!table.take(place)) return false;
    wake(table);
    if (worker === this.#parts.worker) this.attach(slot, generation, fd, now);
    else {
      this.#parts.ledger.closed(fd);
      this.#parts.post({ type: 'held', worker, slot, generation, fd });
    }
    return true;
  }

  /** Puts an accepted connection into the slot of its flow. The descriptor stands in this worker's ledger. */
  attach(slot: number, generation: number, fd: number, now: number): void {
    const { slab, flows, ledger } = this.#parts;
    const { i32, f64 } = slab;
    const i = slot * I32;
    if (i32[i + GENERATION] !== generation || i32[i + STATE] !== AWAITING) {
      ledger.closed(fd);
      closeWithReset(fd);
      return;
    }
    i32[i + CLIENT_FD] = fd;
    i32[i + HELD] = 0;
    i32[i + SIDE] = 0;
    i32[i + STATE] = RELAYING;
    f64[slot * F64 + DEADLINE] = 0;
    f64[slot * F64 + ACTIVE_AT] = now;
    // Its first event comes at once and starts the relay.
    if (!flows.watch(slot, 0, fd)) flows.finish(slot, 'error');
  }

  #begin({ point, table, nat }: HeldPoint, place: number, now: number): void {
    const { slab, flows, counters, dialing, decision } = this.#parts;
    const slot = flows.open(-1, IPPROTO_TCP, now);
    if (slot < 0) {
      counters.totals[at.flowLimit] = (counters.totals[at.flowLimit] as number) + 1;
      if (table.dialling(place, 0, 0)) table.end(place, HeldAnswer.refused);
      wake(table);
      return;
    }
    const { i32 } = slab;
    const i = slot * I32;
    if (!table.dialling(place, slot, i32[i + GENERATION] as number)) {
      flows.discard(slot);
      return;
    }
    counters.totals[at.heldDials] = (counters.totals[at.heldDials] as number) + 1;
    const entry = NAT_HEAD + NAT_ENTRY * table.entry(place);
    i32[i + STATE] = RESOLVING;
    slab.f64[slot * F64 + DEADLINE] = now + dialing.timeouts.connect;
    i32[i + HELD] = place + 1;
    i32[i + POINT] = point.index;
    i32[i + FAMILY] = point.family;
    for (let word = 0; word < (point.family === 4 ? 1 : 4); word++) {
      i32[i + SOURCE + word] = nat[entry + NAT_SOURCE + word] as number;
      i32[i + ORIGINAL + word] = nat[entry + NAT_ORIGINAL + word] as number;
    }
    i32[i + SOURCE_PORT] = nat[entry + NAT_SOURCE_PORT] as number;
    i32[i + ORIGINAL_PORT] = nat[entry + NAT_ORIGINAL_PORT] as number;
    decision.begin(slot, now);
  }

  #giveUp({ point, table }: HeldPoint, place: number): void {
    const slot = table.slot(place);
    if (this.#isOurs(point.index, table, place)) this.#parts.flows.finish(slot, 'client-reset');
    else {
      table.end(place, HeldAnswer.taken);
      wake(table);
    }
  }

  /** Places of a worker that died in our stead: their upstreams are gone with it. */
  #endLost({ point, table }: HeldPoint): void {
    const { high } = table;
    for (let place = 0; place < high; place++) {
      const state = table.state(place);
      if (state === HELD_FREE || state === HELD_ASKED || state === HELD_ENDED) continue;
      if (table.worker(place) !== this.#parts.worker || this.#isOurs(point.index, table, place)) continue;
      table.end(place, HeldAnswer.lost);
      wake(table);
    }
  }

  #isOurs(pointIndex: number, table: HeldTable, place: number): boolean {
    const { i32 } = this.#parts.slab;
    const i = table.slot(place) * I32;
    return (
      i32[i + HELD] === place + 1 && i32[i + POINT] === pointIndex && i32[i + GENERATION] === table.generation(place)
    );
  }

  #of(slot: number): { readonly table: HeldTable; readonly place: number } | undefined {
    const { i32 } = this.#parts.slab;
    const held = this.#points.get(i32[slot * I32 + POINT] as number);
    const place = (i32[slot * I32 + HELD] as number) - 1;
    return held === undefined || place < 0 ? undefined : { table: held.table, place };
  }

  #end(slot: number, answer: HeldAnswer): void {
    const held = this.#of(slot);
    if (held === undefined) return;
    this.#parts.slab.i32[slot * I32 + HELD] = 0;
    held.table.end(held.place, answer);
    wake(held.table);
  }
}

function wake(table: HeldTable): void {
  const fd = table.wake;
  if (fd >= 0) libc.write(fd, wakeValue, 8);
}

/** What the client would have seen of the upstream without Weir. */
function answerTo(outcome: FlowOutcome, state: number, errno: number): HeldAnswer {
  switch (outcome) {
    case 'dial-unreachable':
      return errno === ENETUNREACH ? HeldAnswer.networkUnreachable : HeldAnswer.hostUnreachable;
    case 'dial-timeout':
      return HeldAnswer.hostUnreachable;
    case 'client-reset':
      return HeldAnswer.taken;
    case 'drained':
      return HeldAnswer.lost;
    default:
      return state === DROPPED ? HeldAnswer.silence : HeldAnswer.refused;
  }
}
