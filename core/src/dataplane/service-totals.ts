/** What services did, over all workers: one pass over the living flows, however many services there are. */
import {
  type Counters,
  SERVICE_ACTIVE,
  SERVICE_BYTES_DOWN,
  SERVICE_BYTES_UP,
  SERVICE_FIELDS,
  SERVICE_TOTAL,
} from './counters.ts';
import { BYTES_DOWN, BYTES_UP, F64, I32, SERVICE, type FlowSlab } from './flow-slab.ts';

export interface ServiceCounts {
  /** Living flows. */
  readonly active: number;
  /** All flows, living ones included. */
  readonly total: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
}

const NONE: ServiceCounts = { active: 0, total: 0, bytesUp: 0, bytesDown: 0 };

export class ServiceTotals {
  readonly #counters: readonly Counters[];
  /** By service: what stands in no worker's counters, above all the bytes of living flows. */
  readonly #more = new Map<number, ServiceCounts>();

  constructor(counters: readonly Counters[]) {
    this.#counters = counters;
  }

  add(service: number, more: ServiceCounts): void {
    const before = this.#more.get(service) ?? NONE;
    this.#more.set(service, {
      active: before.active + more.active,
      total: before.total + more.total,
      bytesUp: before.bytesUp + more.bytesUp,
      bytesDown: before.bytesDown + more.bytesDown,
    });
  }

  /** @param active 0 for a flow that a worker counts among its living ones */
  addLiving(slab: FlowSlab, slot: number, active: 0 | 1): void {
    const bytesUp = slab.f64[slot * F64 + BYTES_UP] as number;
    const bytesDown = slab.f64[slot * F64 + BYTES_DOWN] as number;
    this.add(slab.i32[slot * I32 + SERVICE] as number, { active, total: 0, bytesUp, bytesDown });
  }

  /** What one service did. */
  of(service: number): ServiceCounts {
    const more = this.#more.get(service) ?? NONE;
    const base = service * SERVICE_FIELDS;
    const sum = (field: number): number =>
      this.#counters.reduce((total, { services }) => total + (services[base + field] as number), 0);
    return {
      active: more.active + sum(SERVICE_ACTIVE),
      total: more.total + sum(SERVICE_TOTAL),
      bytesUp: more.bytesUp + sum(SERVICE_BYTES_UP),
      bytesDown: more.bytesDown + sum(SERVICE_BYTES_DOWN),
    };
  }
}
