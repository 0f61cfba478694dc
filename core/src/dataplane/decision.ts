/**
 * Who takes a captured flow: from source and original destination in its slot to a service's dial plan. The same for
 * connections and datagrams; asked once per flow.
 */
import { CANARY_SERVICE, NAMES_SERVICE } from '../api/capture.ts';
import type { LookupTable } from '../capture/lookup-table.ts';
import { NONE, SPARE } from '../capture/verdict.ts';
import type { Dialing } from './dialing.ts';
import type { FlowLifecycle } from './flow-lifecycle.ts';
import {
  FAMILY,
  GENERATION,
  HELD,
  I32,
  NAME,
  ORIGINAL,
  ORIGINAL_PORT,
  PROTOCOL,
  SOURCE,
  SOURCE_PORT,
  type FlowSlab,
} from './flow-slab.ts';
import type { DialStep, FromWorker } from './messages.ts';
import type { NameDirectory } from './name-directory.ts';

/** What the worker knows about services; replaced whole by a table message. */
export interface ServiceTables {
  readonly lookup: LookupTable;
  readonly names: NameDirectory;
  readonly plans: Map<number, readonly DialStep[]>;
  readonly unmatched: readonly DialStep[];
}

/** Dials the flow's own destination. */
const DIRECT: readonly DialStep[] = [{ kind: 'route', dialer: 0 }];

export interface DecisionParts {
  readonly slab: FlowSlab;
  readonly flows: FlowLifecycle;
  readonly dialing: Dialing;
  /** Of a flow that a mechanism holds: it is decided when it is accepted. */
  readonly connectFirst: (slot: number) => void;
  readonly post: (message: FromWorker) => void;
}

export class FlowDecision {
  readonly #parts: DecisionParts;
  tables: ServiceTables | undefined;
  /** Services take no flow any more: what arrives all the same goes where it meant to go. */
  dialsDirectly = false;
  /** The tables before the last change, and until when flows that only they want are dialled directly. */
  #retired: { readonly tables: ServiceTables; readonly until: number } | undefined;

  constructor(parts: DecisionParts) {
    this.#parts = parts;
  }

  /** @param graceUntil absent: what was replaced before stays retired as it is. */
  replaceTables(tables: ServiceTables, graceUntil?: number): void {
    if (graceUntil !== undefined) this.#retired = this.tables && { tables: this.tables, until: graceUntil };
    this.tables = tables;
  }

  planOf(service: number): readonly DialStep[] {
    return this.tables?.plans.get(service) ?? [];
  }

  /** Decides on a flow whose slot holds protocol, source and original destination; begins its dial or ends it. */
  begin(slot: number, now: number): void {
    const { slab, flows, dialing, connectFirst, post } = this.#parts;
    const { i32 } = slab;
    const i = slot * I32;
    const service = this.tables === undefined ? NONE : this.#decide(this.tables, slot);
    if (service === CANARY_SERVICE && i32[i + HELD] !== 0) connectFirst(slot);
    else if (service === CANARY_SERVICE) {
      const { protocol, original } = slab.snapshot(slot);
      post({ type: 'canary', protocol, ...original, sourcePort: i32[i + SOURCE_PORT] as number });
      flows.discard(slot);
    } else if (service === NAMES_SERVICE) {
      if (this.#beginNamed(slot, now)) return;
      const generation = i32[i + GENERATION] as number;
      post({ type: 'unnamed', slot, generation, address: slab.snapshot(slot).original.address });
    } else if (service >= 0 && !this.dialsDirectly) {
      flows.assign(slot, service);
      dialing.begin(slot, this.planOf(service), now);
    } else this.#unmatched(slot, service, now);
  }

  /** A flow to an assigned address that the directory did not know may go on now. */
  named(slot: number, found: boolean, now: number): void {
    if (!found || !this.#beginNamed(slot, now)) this.#parts.flows.finish(slot, 'unmatched');
  }

  #decide(tables: ServiceTables, slot: number): number {
    const { i32 } = this.#parts.slab;
    const i = slot * I32;
    const port = i32[i + ORIGINAL_PORT] as number;
    const protocol = i32[i + PROTOCOL] as number;
    if (i32[i + FAMILY] === 4) {
      const destination = swap(i32[i + ORIGINAL] as number);
      return tables.lookup.decide4(destination, port, protocol, swap(i32[i + SOURCE] as number));
    }
    return tables.lookup.decide6(
      swap(i32[i + ORIGINAL] as number),
      swap(i32[i + ORIGINAL + 1] as number),
      swap(i32[i + ORIGINAL + 2] as number),
      swap(i32[i + ORIGINAL + 3] as number),
      port,
      protocol,
      swap(i32[i + SOURCE] as number),
      swap(i32[i + SOURCE + 1] as number),
      swap(i32[i + SOURCE + 2] as number),
      swap(i32[i + SOURCE + 3] as number),
    );
  }

  /** False when the directory has no name for the address. */
  #beginNamed(slot: number, now: number): boolean {
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
    if (pattern >= 0 && !this.dialsDirectly) {
      service = tables.lookup.decideName(
        pattern,
        i32[i + ORIGINAL_PORT] as number,
        i32[i + PROTOCOL] as number,
        family,
        swap(i32[i + SOURCE] as number),
        swap(i32[i + SOURCE + 1] as number),
        swap(i32[i + SOURCE + 2] as number),
        swap(i32[i + SOURCE + 3] as number),
      );
    }
    flows.assign(slot, service >= 0 ? service : NAMES_SERVICE);
    // A port that no service wants, or a retired name: the name's real address, as if Weir were not there.
    const plan = service >= 0 ? this.planOf(service) : DIRECT;
    dialing.begin(slot, plan, now, undefined, tables.names.isReal(entry));
    return true;
  }

  /** Steered, and no service of this generation wants it. */
  #unmatched(slot: number, decision: number, now: number): void {
    const { flows, dialing } = this.#parts;
    const retired = this.#retired;
    let plan: readonly DialStep[] = this.tables?.unmatched ?? [];
    const isRetired = retired !== undefined && now < retired.until && this.#decide(retired.tables, slot) >= 0;
    if (decision === SPARE || isRetired || this.dialsDirectly) plan = DIRECT;
    if (plan[0]?.kind === 'reset') flows.finish(slot, 'unmatched');
    else dialing.begin(slot, plan, now);
  }
}

/** Network-order word as the kernel wrote it to the number it spells. */
function swap(word: number): number {
  return (((word & 0xff) << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)) >>> 0;
}
