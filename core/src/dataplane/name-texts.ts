/**
 * The texts of assigned names, in shared memory: control appends, workers read. A slot of 256 bytes per name, the length
 * first: a name has at most 253 octets (RFC 1035). Untouched slots cost nothing.
 */
const SLOT = 256;

export interface NameTextsData {
  readonly capacity: number;
  readonly buffer: SharedArrayBuffer;
}

export class NameTexts {
  readonly data: NameTextsData;
  readonly #bytes: Uint8Array;

  constructor(data: NameTextsData) {
    this.data = data;
    this.#bytes = new Uint8Array(data.buffer);
  }

  static allocate(capacity: number): NameTextsData {
    return { capacity, buffer: new SharedArrayBuffer(capacity * SLOT) };
  }

  /** Control: before the name's index is given to anybody. @throws RangeError when the index or the name is too large. */
  set(index: number, name: string): void {
    const text = Buffer.from(name, 'latin1');
    if (index >= this.data.capacity || text.length > SLOT - 1) {
      throw new RangeError(`name ${index} with ${text.length} octets does not fit`);
    }
    this.#bytes.set(text, index * SLOT + 1);
    this.#bytes[index * SLOT] = text.length;
  }

  get(index: number): string {
    const start = index * SLOT;
    const length = this.#bytes[start] as number;
    // A copy: text is not made of shared memory.
    return Buffer.from(this.#bytes.slice(start + 1, start + 1 + length)).toString('latin1');
  }
}
