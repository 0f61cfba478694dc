/** Reads the table of a point whose flows come with a source that a mechanism gave them. See api/nat-table.ts. */
import {
  NAT_ADDRESSES,
  NAT_ENTRY,
  NAT_FAMILY,
  NAT_FIRST_ADDRESS,
  NAT_FIRST_PORT,
  NAT_HEAD,
  NAT_ORIGINAL_PORT,
  NAT_PORTS,
  NAT_TABLE_VERSION,
  NAT_VERSION,
} from '../api/nat-table.ts';
import { PluginError } from '../api/errors.ts';

export class NatLookup {
  /** The table; entries are read at the offsets that `find` gives. */
  readonly words: Int32Array;
  readonly #last: number;
  readonly #first: number;
  readonly #addresses: number;
  readonly #firstPort: number;
  readonly #ports: number;

  /** @throws PluginError for a table of another version or a wrong size. */
  constructor(table: SharedArrayBuffer) {
    this.words = new Int32Array(table);
    const { words } = this;
    const head = (at: number): number => words[at] ?? 0;
    this.#last = NAT_FIRST_ADDRESS + (head(NAT_FAMILY) === 4 ? 0 : 3);
    this.#first = swap(head(this.#last));
    this.#addresses = head(NAT_ADDRESSES);
    this.#firstPort = head(NAT_FIRST_PORT);
    this.#ports = head(NAT_PORTS);
    const length = NAT_HEAD + NAT_ENTRY * this.#addresses * this.#ports;
    if (head(NAT_VERSION) !== NAT_TABLE_VERSION || words.length !== length) {
      throw new PluginError({
        problem: `A capture point came with a table of ${words.length} words that is no NAT table of version ${NAT_TABLE_VERSION}.`,
        remedy: 'Make the table with createNatTable of @weir/core.',
      });
    }
  }

  /**
   * The entry of the flow that came from this source; -1 when there is none.
   * @param address words as read in little-endian order; IPv4 takes the first.
   */
  find(address: DataView, offset: number, port: number): number {
    for (let word = NAT_FIRST_ADDRESS; word < this.#last; word++) {
      if (address.getInt32(offset + 4 * (word - NAT_FIRST_ADDRESS), true) !== this.words[word]) return -1;
    }
    const last = address.getUint32(offset + 4 * (this.#last - NAT_FIRST_ADDRESS), false);
    const number = last - this.#first;
    const place = port - this.#firstPort;
    if (number < 0 || number >= this.#addresses || place < 0 || place >= this.#ports) return -1;
    const entry = NAT_HEAD + NAT_ENTRY * (number * this.#ports + place);
    return this.words[entry + NAT_ORIGINAL_PORT] === 0 && this.words[entry] === 0 ? -1 : entry;
  }
}

/** A word of the network as the number it spells, on a little-endian machine. */
function swap(word: number): number {
  return (((word & 0xff) << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)) >>> 0;
}
