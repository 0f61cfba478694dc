/**
 * Addresses that names resolved to, in the worker. Control resolves; the worker keeps an answer as long as its TTL and
 * asks again. Keys: a number is the index of a name that Weir assigned an address to, a string the host of a route.
 * Flows that wait for the same key are answered together.
 */
import { addressToBytes, familyOf } from '../capture/address.ts';

/** An address ready for connect(2): words as in a sockaddr. */
export interface DialAddress {
  readonly family: 4 | 6;
  readonly words: Int32Array;
}

export interface ResolvedAddresses {
  readonly addresses: readonly DialAddress[];
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
}

/** Entries kept at most; over it the oldest goes. */
const CAPACITY = 8192;

/** @throws RangeError when the text is no address. */
export function dialAddress(text: string): DialAddress {
  const bytes = new Uint8Array(16);
  bytes.set(addressToBytes(text));
  return { family: familyOf(text), words: new Int32Array(bytes.buffer) };
}

export class AddressCache {
  readonly #entries = new Map<number | string, ResolvedAddresses>();
  /** Slots waiting, with their generations, in pairs. */
  readonly #waiting = new Map<number | string, number[]>();
  readonly #ask: (key: number | string) => void;

  constructor(ask: (key: number | string) => void) {
    this.#ask = ask;
  }

  /** What is known and still true at `now`. */
  get(key: number | string, now: number): ResolvedAddresses | undefined {
    const entry = this.#entries.get(key);
    if (entry !== undefined && entry.expiresAt > now) return entry;
    return undefined;
  }

  /** Puts a flow on the list of those that wait for the key; the first one asks. */
  wait(key: number | string, slot: number, generation: number): void {
    const waiting = this.#waiting.get(key);
    if (waiting === undefined) {
      this.#waiting.set(key, [slot, generation]);
      this.#ask(key);
    } else waiting.push(slot, generation);
  }

  /** Stores an answer. Hands back the flows that waited, in pairs of slot and generation. */
  resolved(key: number | string, addresses: readonly string[], expiresAt: number): readonly number[] {
    if (this.#entries.size >= CAPACITY && !this.#entries.has(key)) {
      const oldest = this.#entries.keys().next().value;
      if (oldest !== undefined) this.#entries.delete(oldest);
    }
    this.#entries.delete(key);
    this.#entries.set(key, { addresses: addresses.map(dialAddress), expiresAt });
    const waiting = this.#waiting.get(key) ?? [];
    this.#waiting.delete(key);
    return waiting;
  }

  /** The last answer even if its time is over: for the flows that waited for it, also when its TTL was 0. */
  last(key: number | string): ResolvedAddresses | undefined {
    return this.#entries.get(key);
  }
}
