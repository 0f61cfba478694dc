/**
 * Entries of a NAT table by client and original destination: open addressing over the table, which holds the keys itself.
 */
import { NAT_ENTRY, NAT_HEAD, NAT_ORIGINAL, NAT_ORIGINAL_PORT, NAT_SOURCE, NAT_SOURCE_PORT } from '@weir/core/api';
import type { Packet } from './packet.ts';

const FIRST_CELLS = 4096;

export class FlowIndex {
  readonly #words: Int32Array;
  readonly #addressWords: number;
  /** Entry plus one by hash; 0: empty. At most half of them are in use. */
  #cells = new Int32Array(FIRST_CELLS);
  #count = 0;

  /** @param words the NAT table; @param addressWords of an address: 1 or 4. */
  constructor(words: Int32Array, addressWords: number) {
    this.#words = words;
    this.#addressWords = addressWords;
  }

  /** The entry that a packet of a client belongs to; -1: none. */
  find(packet: Packet): number {
    const mask = this.#cells.length - 1;
    let cell = this.#hashOfPacket(packet) & mask;
    for (;;) {
      const entry = (this.#cells[cell] as number) - 1;
      if (entry < 0) return -1;
      if (this.#belongs(entry, packet)) return entry;
      cell = (cell + 1) & mask;
    }
  }

  /** Takes an entry in that has its key already. */
  add(entry: number): void {
    if (++this.#count * 2 > this.#cells.length) this.#grow();
    this.#place(entry);
  }

  /** Linear probing with backward-shift deletion, so that nothing has to be rebuilt. The key must still be there. */
  remove(entry: number): void {
    const mask = this.#cells.length - 1;
    let hole = this.#hashOfEntry(entry) & mask;
    while (this.#cells[hole] !== entry + 1) {
      if (this.#cells[hole] === 0) return;
      hole = (hole + 1) & mask;
    }
    this.#count--;
    let cell = hole;
    for (;;) {
      cell = (cell + 1) & mask;
      const other = this.#cells[cell] as number;
      if (other === 0) break;
      const home = this.#hashOfEntry(other - 1) & mask;
      if (((cell - home) & mask) >= ((cell - hole) & mask)) {
        this.#cells[hole] = other;
        hole = cell;
      }
    }
    this.#cells[hole] = 0;
  }

  #place(entry: number): void {
    const mask = this.#cells.length - 1;
    let cell = this.#hashOfEntry(entry) & mask;
    while (this.#cells[cell] !== 0) cell = (cell + 1) & mask;
    this.#cells[cell] = entry + 1;
  }

  #grow(): void {
    const old = this.#cells;
    this.#cells = new Int32Array(old.length * 2);
    for (const cell of old) if (cell !== 0) this.#place(cell - 1);
  }

  #belongs(entry: number, { view, source, destination, transport }: Packet): boolean {
    const words = this.#words;
    const at = NAT_HEAD + NAT_ENTRY * entry;
    if (view.getUint16(transport, false) !== words[at + NAT_SOURCE_PORT]) return false;
    if (view.getUint16(transport + 2, false) !== words[at + NAT_ORIGINAL_PORT]) return false;
    for (let word = 0; word < this.#addressWords; word++) {
      if (view.getInt32(source + 4 * word, true) !== words[at + NAT_SOURCE + word]) return false;
      if (view.getInt32(destination + 4 * word, true) !== words[at + NAT_ORIGINAL + word]) return false;
    }
    return true;
  }

  #hashOfPacket({ view, source, destination, transport }: Packet): number {
    let hash = mixed(view.getUint16(transport, false), view.getUint16(transport + 2, false));
    for (let word = 0; word < this.#addressWords; word++) {
      hash = mixed(hash, view.getInt32(source + 4 * word, true));
      hash = mixed(hash, view.getInt32(destination + 4 * word, true));
    }
    return hash;
  }

  #hashOfEntry(entry: number): number {
    const words = this.#words;
    const at = NAT_HEAD + NAT_ENTRY * entry;
    let hash = mixed(words[at + NAT_SOURCE_PORT] as number, words[at + NAT_ORIGINAL_PORT] as number);
    for (let word = 0; word < this.#addressWords; word++) {
      hash = mixed(hash, words[at + NAT_SOURCE + word] as number);
      hash = mixed(hash, words[at + NAT_ORIGINAL + word] as number);
    }
    return hash;
  }
}

/** Ends in the low bits what all bits say, since only those choose a cell. */
function mixed(hash: number, word: number): number {
  const h = Math.imul(hash ^ word, 0x9e3779b1);
  return (h ^ (h >>> 15)) >>> 0;
}
