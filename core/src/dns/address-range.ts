/**
 * A range of assigned addresses, and who gets which of it. An address is the hash of its name, brought into the range;
 * where it is taken, the next free one is. A large IPv4 range is halved: names of the configuration in the one half,
 * names that only a pattern wants in the other, so that what clients of one host ask for never decides which address a
 * configured name has there.
 */
import { createHash } from 'node:crypto';
import type { Family, Prefix } from '../api/flow.ts';
import { numberToAddress, prefixBounds } from '../capture/address.ts';

/** The first addresses of a range that no name ever gets: Weir's own use (self-test, devices). */
const RESERVED_FIRST = 16n;
/** A range with fewer addresses than this has no room for a reserve, nor for two halves. */
const SMALLEST_WITH_RESERVE = 64n;

/** The addresses of a range that names may get, both inclusive. */
interface Allocatable {
  readonly first: bigint;
  readonly size: bigint;
}

/**
 * Network address and broadcast are never given to names, except in ranges of one or two addresses (RFC 3021), nor are
 * the first 16 of a range that has at least 64.
 */
function allocatable(range: Prefix): Allocatable {
  const [low, high] = prefixBounds(range);
  const size = high - low + 1n;
  if (size <= 2n) return { first: low, size };
  const first = low + (size >= SMALLEST_WITH_RESERVE ? RESERVED_FIRST : 1n);
  return { first, size: high - first };
}

/** The first addresses of a range, which no name gets; empty in ranges too small to keep any back. */
export function reservedAddresses(range: Prefix): readonly string[] {
  const { first } = allocatable(range);
  const reserved: string[] = [];
  for (let address = range.address + 1n; address < first; address++) {
    reserved.push(numberToAddress(range.family, address));
  }
  return reserved;
}

/** Without a secret, anybody can tell a name's address beforehand. */
function hashOf(family: Family, name: string, secret: string): bigint {
  const hash = createHash('sha256');
  if (secret !== '') hash.update(createHash('sha256').update(secret).digest());
  const digest = hash.update(`${family} ${name}`).digest();
  return (digest.readBigUInt64BE(0) << 64n) | digest.readBigUInt64BE(8);
}

/** A part of a range: offsets from `start`, `size` of them. */
interface Area {
  readonly start: bigint;
  readonly size: bigint;
  taken: number;
}

export interface TakenAddress {
  readonly address: string;
  /** Another name had the address that the hash gives. */
  readonly displaced: boolean;
}

export class AddressRange {
  readonly prefix: Prefix;
  readonly #secret: string;
  readonly #first: bigint;
  readonly #size: bigint;
  /** Of configured names, then of others; one for both in IPv6, where hashes do not meet, and in small ranges. */
  readonly #areas: readonly Area[];

  constructor(prefix: Prefix, secret: string) {
    this.prefix = prefix;
    this.#secret = secret;
    const { first, size } = allocatable(prefix);
    this.#first = first;
    this.#size = size;
    const half = prefix.family === 4 && size >= SMALLEST_WITH_RESERVE ? size / 2n : size;
    this.#areas = [
      { start: 0n, size: half, taken: 0 },
      ...(half < size ? [{ start: half, size: size - half, taken: 0 }] : []),
    ];
  }

  /** How many addresses names may have. */
  get size(): number {
    return Number(this.#size);
  }

  get taken(): number {
    return this.#areas.reduce((sum, { taken }) => sum + taken, 0);
  }

  get full(): boolean {
    return BigInt(this.taken) >= this.#size;
  }

  /** Whether a name may have this address. */
  has(address: bigint): boolean {
    return address >= this.#first && address < this.#first + this.#size;
  }

  /** Whether the address lies where names of that class belong. */
  belongs(address: bigint, configured: boolean): boolean {
    const area = this.#areaOf(configured);
    const offset = address - this.#first;
    return offset >= area.start && offset < area.start + area.size;
  }

  /** The address that a name gets where no other has it. */
  natural(name: string, configured: boolean): string {
    const { start, size } = this.#areaOf(configured);
    const offset = hashOf(this.prefix.family, name, this.#secret) % size;
    return numberToAddress(this.prefix.family, this.#first + start + offset);
  }

  /** The address for a name; the range must not be full. */
  take(name: string, configured: boolean, isTaken: (address: string) => boolean): TakenAddress {
    const own = this.#areaOf(configured);
    // When the own half is full, the other one: better an address that hosts may not agree on than none.
    const areas = [own, ...this.#areas.filter((area) => area !== own)];
    const area = areas.find(({ taken, size }) => BigInt(taken) < size) as Area;
    let offset = hashOf(this.prefix.family, name, this.#secret) % area.size;
    for (let displaced = area !== own; ; displaced = true) {
      const address = numberToAddress(this.prefix.family, this.#first + area.start + offset);
      if (!isTaken(address)) {
        area.taken++;
        return { address, displaced };
      }
      offset = (offset + 1n) % area.size;
    }
  }

  /** Counts an address that a name brought along, or gave back. */
  count(address: bigint, change: 1 | -1): void {
    const offset = address - this.#first;
    const area = this.#areas.find(({ start, size }) => offset >= start && offset < start + size);
    if (area !== undefined) area.taken += change;
  }

  #areaOf(configured: boolean): Area {
    return this.#areas[configured ? 0 : this.#areas.length - 1] as Area;
  }
}
