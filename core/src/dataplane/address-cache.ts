/**
 * Addresses that names resolved to, in the worker. Control resolves; the worker keeps an answer as long as its TTL and
 * asks again. Keys: a number is the index of a name that Weir assigned an address to, a string the host of a route.
 * Flows that wait for the same key are answered together. A host that is an address is its own answer.
 */
import { addressToBytes, familyOf, isAddress } from '../capture/address.ts';

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

/** Answers kept at most, and as many addresses that were given as such; over it the oldest goes. */
const CAPACITY = 8192;

/** @throws RangeError when the text is no address. */
export function dialAddress(text: string): DialAddress {
  const bytes = new Uint8Array(16);
  bytes.set(addressToBytes(text));
  return { family: familyOf(text), words: new Int32Array(bytes.buffer) };
}

function keep<Key>(map: Map<Key, ResolvedAddresses>, key: Key, value: ResolvedAddresses): void {
  map.delete(key);
  if (map.size >= CAPACITY) {
    const [oldest] = map.keys();
    map.delete(oldest as Key);
  }
  map.set(key, value);
}

export class AddressCache {
  readonly #entries = new Map<number | string, ResolvedAddresses>();
  /** Apart, so that a dialer with ever-changing addresses costs no name its answer. */
  readonly #literals = new Map<string, ResolvedAddresses>();
  /** Slots waiting, with their generations, in pairs. */
  readonly #waiting = new Map<number | string, number[]>();
  readonly #ask: (key: number | string) => void;

  constructor(ask: (key: number | string) => void) {
    this.#ask = ask;
  }

  /** Answers and addresses that are kept. */
  get size(): number {
    return this.#entries.size + this.#literals.size;
  }

  /** What is known and still true at `now`. */
  get(key: number | string, now: number): ResolvedAddresses | undefined {
    const entry = this.last(key);
    return entry !== undefined && entry.expiresAt > now ? entry : undefined;
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
    keep(this.#entries, key, { addresses: addresses.map(dialAddress), expiresAt });
    const waiting = this.#waiting.get(key) ?? [];
    this.#waiting.delete(key);
    return waiting;
  }

  /** The last answer even if its time is over: for the flows that waited for it, also when its TTL was 0. */
  last(key: number | string): ResolvedAddresses | undefined {
    const known = this.#entries.get(key);
    if (known !== undefined || typeof key === 'number') return known;
    const given = this.#literals.get(key);
    if (given !== undefined || !isAddress(key)) return given;
    const literal = { addresses: [dialAddress(key)], expiresAt: Infinity };
    keep(this.#literals, key, literal);
    return literal;
  }
}
