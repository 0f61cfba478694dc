/**
 * Which descriptors a worker has open: one bit per descriptor number in shared memory. A thread that dies takes no
 * descriptor with it, so control must know what to close.
 */

/** Descriptor numbers above this cannot be entered; the worker refuses such a descriptor as if the limit were reached. */
export const LEDGER_CAPACITY = 1 << 20;

export class DescriptorLedger {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(LEDGER_CAPACITY / 8)) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
  }

  opened(fd: number): void {
    const word = fd >> 5;
    this.#words[word] = (this.#words[word] as number) | (1 << (fd & 31));
  }

  closed(fd: number): void {
    const word = fd >> 5;
    this.#words[word] = (this.#words[word] as number) & ~(1 << (fd & 31));
  }

  /** All descriptors that are entered; clears the ledger. Only when the worker is gone. */
  takeAll(): readonly number[] {
    const fds: number[] = [];
    for (let word = 0; word < this.#words.length; word++) {
      let bits = this.#words[word] as number;
      if (bits === 0) continue;
      this.#words[word] = 0;
      while (bits !== 0) {
        const bit = 31 - Math.clz32(bits & -bits);
        fds.push(word * 32 + bit);
        bits &= bits - 1;
      }
    }
    return fds;
  }
}
