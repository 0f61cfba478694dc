/** The changes of the host that one interceptor has made, so that it can undo its own and nobody else's. */
import type { HostChange, HostChanges } from '../api/host.ts';

export class OwnChanges {
  readonly #host: HostChanges;
  /** Ids, oldest first. */
  readonly #made: string[] = [];

  constructor(host: HostChanges) {
    this.#host = host;
  }

  get count(): number {
    return this.#made.length;
  }

  /** @throws HostChangeError; the change is then not made. */
  async make(change: HostChange): Promise<void> {
    await this.#host.change(change);
    this.#made.push(change.id);
  }

  /**
   * All of them in their order, or none: what had been made is undone when one fails or the signal is aborted.
   * @throws HostChangeError, or the signal's reason.
   */
  async makeAll(changes: Iterable<HostChange>, signal: AbortSignal): Promise<void> {
    const before = this.count;
    try {
      for (const change of changes) {
        signal.throwIfAborted();
        // eslint-disable-next-line no-await-in-loop -- their order is what makes a half-made start harmless
        await this.make(change);
      }
    } catch (error) {
      await this.undoTo(before);
      throw error;
    }
  }

  /** Undoes all but the first `count` changes, newest first. @throws HostChangeError; what is left can be undone later. */
  async undoTo(count: number): Promise<void> {
    for (let id = this.#made.at(-1); id !== undefined && this.count > count; id = this.#made.at(-1)) {
      // eslint-disable-next-line no-await-in-loop -- newest first
      await this.#host.undo(id);
      this.#made.pop();
    }
  }
}
