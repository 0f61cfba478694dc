/** Flows that have used their share of a turn and have more to do: they come again after those that raised events. */
import { I32, READY, type FlowSlab } from './flow-slab.ts';

export class ReadyList {
  readonly #slab: FlowSlab;
  #slots: number[] = [];

  constructor(slab: FlowSlab) {
    this.#slab = slab;
  }

  get empty(): boolean {
    return this.#slots.length === 0;
  }

  add(slot: number): void {
    const { i32 } = this.#slab;
    const i = slot * I32;
    if (i32[i + READY] !== 0) return;
    i32[i + READY] = 1;
    this.#slots.push(slot);
  }

  /** Those that stand here now and have not ended meanwhile; what is added from now on has its turn next time. */
  *take(): Iterable<number> {
    const { i32 } = this.#slab;
    const slots = this.#slots;
    this.#slots = [];
    for (const slot of slots) {
      const i = slot * I32;
      // The slot was given back, and perhaps out again.
      if (i32[i + READY] === 0) continue;
      i32[i + READY] = 0;
      yield slot;
    }
  }
}
