/**
 * Which flows have begun. Workers tell control of ends only, so that a flow costs them no message; beginnings are seen by
 * looking at the slab, while somebody wants to know.
 */
import type { FlowRecord } from '../api/flow.ts';

/** Between two looks. Milliseconds. */
const INTERVAL = 100;

export interface FlowOpeningsParts {
  /** Records of the living flows whose ids are not in `known`; tells the ids of all living ones. */
  readonly begun: (known: ReadonlySet<string>, living: (id: string) => void) => readonly FlowRecord[];
  /** Hands over what has ended. */
  readonly collect: () => void;
  readonly wanted: () => boolean;
  readonly opened: (record: FlowRecord) => void;
}

export class FlowOpenings {
  readonly #parts: FlowOpeningsParts;
  readonly #known = new Set<string>();
  /** Of those, the ones that have ended: their slots may still be seen, since a record comes before its slot is free. */
  readonly #ended = new Set<string>();
  #missing = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: FlowOpeningsParts) {
    this.#parts = parts;
  }

  /** Looks again and again while it is wanted. */
  watch(): void {
    if (this.#timer !== undefined || !this.#parts.wanted()) return;
    this.#look();
    const schedule = (): void => {
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        if (!this.#parts.wanted()) {
          this.close();
          return;
        }
        this.#look();
        schedule();
      }, INTERVAL);
      this.#timer.unref();
    };
    schedule();
  }

  /** Before the end of a flow is told: its beginning, where nobody saw it. */
  ending({ outcome: _outcome, ...record }: FlowRecord): void {
    if (!this.#parts.wanted()) return;
    this.#ended.add(record.id);
    if (this.#known.has(record.id)) return;
    this.#known.add(record.id);
    this.#parts.opened(record);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#known.clear();
    this.#ended.clear();
  }

  #look(): void {
    const { begun, collect, opened } = this.#parts;
    collect();
    const living = new Set<string>();
    for (const record of begun(this.#known, (id) => living.add(id))) {
      this.#known.add(record.id);
      opened(record);
    }
    // The record of one that ended just now comes with the next look; of one missing twice it was lost.
    const missing = [...this.#known].filter((id) => !living.has(id));
    for (const id of missing) if (this.#ended.delete(id) || this.#missing.has(id)) this.#known.delete(id);
    this.#missing = new Set(missing.filter((id) => this.#known.has(id)));
  }
}
