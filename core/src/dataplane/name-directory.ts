/**
 * Which name stands behind an assigned address, in shared memory: control writes before the name is answered, workers
 * read without locks. Open addressing with linear probing; an entry is written value first, key last, so that a reader
 * sees either nothing or a whole entry. Entries are never removed: one that was taken back only says so, and when too
 * many say so control makes a new directory and gives it to the workers.
 *
 * An entry is 8 int32: family, 4 address words (as in sockaddr, IPv4 in the first), name index, pattern index, and
 * whether it is a real address of the name.
 */
import type { Family } from '../api/flow.ts';
import { addressToBytes, familyOf } from '../capture/address.ts';

const ENTRY = 8;
const VALUE_NAME = 5;
const VALUE_PATTERN = 6;
const VALUE_REAL = 7;

/** The pattern of a name that no service wants any more. */
export const RETIRED_PATTERN = -1;
/** The pattern of an address that is nobody's any more. */
const FREED_PATTERN = -2;

export interface NameDirectoryData {
  /** A power of two. */
  readonly capacity: number;
  readonly buffer: SharedArrayBuffer;
}

function hash(family: number, a: number, b: number, c: number, d: number): number {
  let h = Math.imul(a ^ family, 0x9e3779b1);
  h = Math.imul(h ^ (h >>> 15) ^ b, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13) ^ c, 0xc2b2ae35);
  h = Math.imul(h ^ (h >>> 16) ^ d, 0x27d4eb2f);
  return (h ^ (h >>> 15)) >>> 0;
}

/** As the kernel writes them. */
function wordsOf(address: string): readonly [number, number, number, number] {
  const bytes = new Uint8Array(16);
  bytes.set(addressToBytes(address));
  const [a = 0, b = 0, c = 0, d = 0] = new Int32Array(bytes.buffer);
  return [a, b, c, d];
}

export class NameDirectory {
  readonly data: NameDirectoryData;
  readonly #words: Int32Array;
  readonly #mask: number;
  /** Entries that are not empty; known to control only, which makes them. */
  #entered = 0;

  constructor(data: NameDirectoryData) {
    this.data = data;
    this.#words = new Int32Array(data.buffer);
    this.#mask = data.capacity - 1;
  }

  /** Room for `names` names with an address of each family and a former one; less than half full with all of them. */
  static allocate(names: number): NameDirectoryData {
    let capacity = 1024;
    while (capacity < names * 8) capacity *= 2;
    return { capacity, buffer: new SharedArrayBuffer(capacity * ENTRY * 4) };
  }

  /** Control: whether half of the entries are in use, those of addresses that were taken back included. */
  get crowded(): boolean {
    return this.#entered * 2 > this.data.capacity;
  }

  /** Control: the address is nobody's any more. */
  free(address: string): void {
    const words = wordsOf(address);
    const base = this.find(familyOf(address), ...words);
    if (base >= 0) Atomics.store(this.#words, base + VALUE_PATTERN, FREED_PATTERN);
  }

  /** Control: enters an address, or changes the pattern of one that is entered. */
  set(address: string, name: number, pattern: number, real = false): void {
    const family = familyOf(address);
    const [a, b, c, d] = wordsOf(address);
    let entry = hash(family, a, b, c, d) & this.#mask;
    for (;;) {
      const base = entry * ENTRY;
      const found = Atomics.load(this.#words, base);
      if (found === 0) {
        this.#words.set([a, b, c, d, name, pattern, Number(real)], base + 1);
        Atomics.store(this.#words, base, family);
        this.#entered++;
        return;
      }
      if (this.#matches(base, family, a, b, c, d)) {
        this.#words[base + VALUE_NAME] = name;
        this.#words[base + VALUE_REAL] = Number(real);
        Atomics.store(this.#words, base + VALUE_PATTERN, pattern);
        return;
      }
      entry = (entry + 1) & this.#mask;
    }
  }

  /** Worker: where the entry of an address stands, or -1. Words as the kernel wrote them. */
  find(family: Family, a: number, b: number, c: number, d: number): number {
    let entry = hash(family, a, b, c, d) & this.#mask;
    for (;;) {
      const base = entry * ENTRY;
      if (Atomics.load(this.#words, base) === 0) return -1;
      if (this.#matches(base, family, a, b, c, d)) return this.patternAt(base) === FREED_PATTERN ? -1 : base;
      entry = (entry + 1) & this.#mask;
    }
  }

  nameAt(entry: number): number {
    return this.#words[entry + VALUE_NAME] as number;
  }

  /** Whether the address is one that the name really has. */
  isReal(entry: number): boolean {
    return this.#words[entry + VALUE_REAL] === 1;
  }

  patternAt(entry: number): number {
    return Atomics.load(this.#words, entry + VALUE_PATTERN);
  }

  #matches(base: number, family: number, a: number, b: number, c: number, d: number): boolean {
    const words = this.#words;
    return (
      words[base] === family &&
      words[base + 1] === a &&
      words[base + 2] === b &&
      words[base + 3] === c &&
      words[base + 4] === d
    );
  }
}
