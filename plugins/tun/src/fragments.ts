/**
 * Which flow later fragments belong to: they have no ports, so the first fragment of a datagram says it for them. RFC 791,
 * RFC 8200 section 4.5. A ring of the last ones; what comes after it has gone on is dropped, and the datagram is lost, as
 * on any link.
 */
import type { Packet } from './packet.ts';

const MOST = 512;
/** Tenths of a second; net.ipv4.ipfrag_time is 30 s. */
const LIFETIME = 300;
/** Words of a key: protocol and family, identification, two addresses. */
const KEY = 10;

export class Fragments {
  readonly #keys = new Int32Array(MOST * KEY);
  readonly #entries = new Int32Array(MOST).fill(-1);
  readonly #until = new Float64Array(MOST);
  readonly #key = new Int32Array(KEY);
  #at = 0;

  /** The first fragment of a datagram goes to that entry. */
  remember(packet: Packet, entry: number, now: number): void {
    this.#read(packet);
    this.#keys.set(this.#key, this.#at * KEY);
    this.#entries[this.#at] = entry;
    this.#until[this.#at] = now + LIFETIME;
    this.#at = (this.#at + 1) % MOST;
  }

  /** The entry of a later fragment; -1 when its first one was not seen. */
  find(packet: Packet, now: number): number {
    this.#read(packet);
    // The newest first: that of a datagram which is under way.
    for (let back = 1; back <= MOST; back++) {
      const place = (this.#at - back + MOST) % MOST;
      if (this.#entries[place] === -1) return -1;
      if (this.#matches(place) && now < (this.#until[place] as number)) return this.#entries[place] as number;
    }
    return -1;
  }

  #matches(place: number): boolean {
    for (let word = 0; word < KEY; word++) if (this.#keys[place * KEY + word] !== this.#key[word]) return false;
    return true;
  }

  #read({ view, family, protocol, fragmentId, source, destination }: Packet): void {
    const key = this.#key;
    const words = family === 4 ? 1 : 4;
    key.fill(0);
    key[0] = family * 256 + protocol;
    key[1] = fragmentId;
    for (let word = 0; word < words; word++) {
      key[2 + word] = view.getInt32(source + 4 * word, true);
      key[6 + word] = view.getInt32(destination + 4 * word, true);
    }
  }
}
