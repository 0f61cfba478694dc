/**
 * Ended flows on their way from a worker to control: a bounded ring of slot images in shared memory, one writer, one
 * reader. When it is full the record is lost and counted; totals are kept elsewhere and stay exact.
 */
import { FLOW_SLOT_BYTES, FlowSlab, type SlotSnapshot } from './flow-slab.ts';

const WRITTEN = 0;
const READ = 1;
const LOST = 2;

export interface RecordRingData {
  readonly capacity: number;
  readonly slots: { readonly capacity: number; readonly buffer: SharedArrayBuffer; readonly head: SharedArrayBuffer };
  readonly head: SharedArrayBuffer;
}

export class RecordRing {
  readonly data: RecordRingData;
  readonly #head: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #slab: FlowSlab;

  constructor(data: RecordRingData) {
    this.data = data;
    this.#head = new Int32Array(data.head);
    this.#bytes = new Uint8Array(data.slots.buffer);
    this.#slab = new FlowSlab(data.slots);
  }

  static allocate(capacity: number): RecordRingData {
    return { capacity, slots: FlowSlab.allocate(capacity), head: new SharedArrayBuffer(12) };
  }

  /** Writer: appends the image of an ended flow's slot, or counts it as lost. */
  push(image: Uint8Array): void {
    const written = Atomics.load(this.#head, WRITTEN);
    if (written - Atomics.load(this.#head, READ) >= this.data.capacity) {
      Atomics.add(this.#head, LOST, 1);
      return;
    }
    this.#bytes.set(image, (written % this.data.capacity) * FLOW_SLOT_BYTES);
    Atomics.store(this.#head, WRITTEN, (written + 1) | 0);
  }

  /** Reader: hands each waiting record over, oldest first. */
  drain(each: (record: SlotSnapshot) => void): void {
    const written = Atomics.load(this.#head, WRITTEN);
    let read = Atomics.load(this.#head, READ);
    while (read !== written) {
      const record = this.#slab.snapshot(read % this.data.capacity);
      read = (read + 1) | 0;
      Atomics.store(this.#head, READ, read);
      each(record);
    }
  }

  /** Records that did not fit, ever. */
  get lost(): number {
    return Atomics.load(this.#head, LOST);
  }
}
