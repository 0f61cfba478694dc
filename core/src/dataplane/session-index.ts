/**
 * UDP sessions by (client, original destination): open addressing over the slots of the slab, which hold the keys
 * themselves. Linear probing with backward-shift deletion, so that nothing has to be rebuilt.
 */
import { FAMILY, I32, ORIGINAL, ORIGINAL_PORT, SCOPE, SOURCE, SOURCE_PORT, type FlowSlab } from './flow-slab.ts';

const KEY_WORDS = 12;

export class SessionIndex {
  readonly #slab: FlowSlab;
  /** Slot plus one; 0: empty. */
  readonly #cells: Int32Array;
  readonly #mask: number;
  /** The key that is looked for: family, source words and port, original words and port, scope of the source. */
  readonly key = new Int32Array(KEY_WORDS);

  /** @param capacity sessions at most; the index stays at most half full */
  constructor(slab: FlowSlab, capacity: number) {
    this.#slab = slab;
    let size = 1024;
    while (size < capacity * 2) size *= 2;
    this.#cells = new Int32Array(size);
    this.#mask = size - 1;
  }

  /** The slot whose key is `key`, or -1. */
  find(): number {
    let cell = this.#hashOfKey() & this.#mask;
    for (;;) {
      const entry = this.#cells[cell] as number;
      if (entry === 0) return -1;
      if (this.#matches(entry - 1)) return entry - 1;
      cell = (cell + 1) & this.#mask;
    }
  }

  /** Enters a slot that holds its key already. */
  add(slot: number): void {
    let cell = this.#hashOfSlot(slot) & this.#mask;
    while (this.#cells[cell] !== 0) cell = (cell + 1) & this.#mask;
    this.#cells[cell] = slot + 1;
  }

  /** Takes a slot out; its key must still be there. */
  remove(slot: number): void {
    let hole = this.#hashOfSlot(slot) & this.#mask;
    while (this.#cells[hole] !== slot + 1) {
      if (this.#cells[hole] === 0) return;
      hole = (hole + 1) & this.#mask;
    }
    let cell = hole;
    for (;;) {
      cell = (cell + 1) & this.#mask;
      const entry = this.#cells[cell] as number;
      if (entry === 0) break;
      const home = this.#hashOfSlot(entry - 1) & this.#mask;
      // An entry may move into the hole unless its home lies behind the hole on the way to where it is.
      if (((cell - home) & this.#mask) >= ((cell - hole) & this.#mask)) {
        this.#cells[hole] = entry;
        hole = cell;
      }
    }
    this.#cells[hole] = 0;
  }

  #matches(slot: number): boolean {
    const { i32 } = this.#slab;
    const i = slot * I32;
    const { key } = this;
    if (i32[i + FAMILY] !== key[0] || i32[i + SOURCE_PORT] !== key[5]) return false;
    if (i32[i + ORIGINAL_PORT] !== key[10] || i32[i + SCOPE] !== key[11]) return false;
    for (let word = 0; word < 4; word++) {
      if (i32[i + SOURCE + word] !== key[1 + word] || i32[i + ORIGINAL + word] !== key[6 + word]) return false;
    }
    return true;
  }

  #hashOfKey(): number {
    let h = 0;
    for (let n = 0; n < KEY_WORDS; n++) h = mixed(h, this.key[n] as number);
    return h >>> 0;
  }

  #hashOfSlot(slot: number): number {
    const { i32 } = this.#slab;
    const i = slot * I32;
    let h = mixed(0, i32[i + FAMILY] as number);
    for (let word = 0; word < 4; word++) h = mixed(h, i32[i + SOURCE + word] as number);
    h = mixed(h, i32[i + SOURCE_PORT] as number);
    for (let word = 0; word < 4; word++) h = mixed(h, i32[i + ORIGINAL + word] as number);
    h = mixed(h, i32[i + ORIGINAL_PORT] as number);
    return mixed(h, i32[i + SCOPE] as number) >>> 0;
  }
}

function mixed(hash: number, word: number): number {
  const h = Math.imul(hash ^ word, 0x9e3779b1);
  return h ^ (h >>> 15);
}
