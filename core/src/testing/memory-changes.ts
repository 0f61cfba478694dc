/** Changes of the host without a journal, for tests of interceptors: made, remembered and undone as the engine does. */
import type { HostChange, HostChanges } from '../api/host.ts';
import type { Logger } from '../api/logger.ts';

export class MemoryChanges implements HostChanges {
  readonly #made: HostChange[] = [];
  readonly #failAt: number;
  #count = 0;

  /** @param failAt counted from 1: this change fails before it is made. 0: none does. */
  constructor(failAt = 0) {
    this.#failAt = failAt;
  }

  /** Ids of what is made now, oldest first. */
  get made(): readonly string[] {
    return this.#made.map((change) => change.id);
  }

  /** How many changes were asked for. */
  get count(): number {
    return this.#count;
  }

  async change(change: HostChange): Promise<void> {
    this.#count++;
    if (this.#count === this.#failAt) throw new Error(`a failure was injected at ${change.id}`);
    this.#made.push(change);
    try {
      await change.do();
    } catch (error) {
      await this.undo(change.id);
      throw error;
    }
  }

  async undo(id: string): Promise<void> {
    const index = this.#made.findLastIndex((change) => change.id === id);
    const change = this.#made[index];
    if (!change) return;
    await change.undo();
    this.#made.splice(index, 1);
  }

  async undoAll(): Promise<void> {
    for (const id of this.made.toReversed()) {
      // eslint-disable-next-line no-await-in-loop -- newest first
      await this.undo(id);
    }
  }
}

/** A logger that keeps what it is told to itself. */
export const SILENT: Logger = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  child: () => SILENT,
};
