/** Datagrams that wait until their session has an upstream: few per session and few bytes in all, the rest is dropped. */

/** Per session. */
const DATAGRAMS = 16;
/** Of all sessions together. */
const BYTES = 4 * 1024 * 1024;

export class DatagramQueue {
  readonly #waiting = new Map<number, Uint8Array[]>();
  #bytes = 0;

  /** Keeps a copy; false when there is no room. */
  push(slot: number, datagram: Uint8Array): boolean {
    const queue = this.#waiting.get(slot) ?? [];
    if (queue.length >= DATAGRAMS || this.#bytes + datagram.length > BYTES) return false;
    if (queue.length === 0) this.#waiting.set(slot, queue);
    queue.push(datagram.slice());
    this.#bytes += datagram.length;
    return true;
  }

  /** Takes out what waits for a session, oldest first. */
  take(slot: number): readonly Uint8Array[] {
    const queue = this.#waiting.get(slot);
    if (queue === undefined) return [];
    this.#waiting.delete(slot);
    for (const datagram of queue) this.#bytes -= datagram.length;
    return queue;
  }
}
