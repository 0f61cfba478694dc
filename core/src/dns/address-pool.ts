/**
 * Addresses for names. An address is the hash of its name, brought into the range, so that every host with the same
 * ranges gives a name the same address; where two names fall on one address, the later one takes the next that is free.
 * Configured names are assigned first and in sorted order, so that hosts agree on all of them, collisions included.
 * An assignment is for the life of the pool: an address never changes its name, and no name its address.
 */
import { createHash } from 'node:crypto';
import { ResolveError } from '../api/errors.ts';
import type { Family, Prefix } from '../api/flow.ts';
import { formatPrefix, numberToAddress, prefixBounds, widthOf } from '../capture/address.ts';

/** The first addresses of a range that no name ever gets: Weir's own use (self-test, devices). */
const RESERVED_FIRST = 16n;
/** A range with fewer addresses than this has no room for a reserve. */
const SMALLEST_WITH_RESERVE = 64n;

/** A name and its addresses. */
export interface Assignment {
  /** Lower case, without trailing dot. */
  readonly name: string;
  readonly ipv4?: string;
  readonly ipv6?: string;
}

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

function hashOf(family: Family, name: string): bigint {
  const digest = createHash('sha256').update(`${family} ${name}`).digest();
  return (digest.readBigUInt64BE(0) << 64n) | digest.readBigUInt64BE(8);
}

/** One range and what is taken of it. */
class Range {
  readonly prefix: Prefix;
  readonly #allocatable: Allocatable;
  #taken = 0;

  constructor(prefix: Prefix) {
    this.prefix = prefix;
    this.#allocatable = allocatable(prefix);
  }

  get full(): boolean {
    return BigInt(this.#taken) >= this.#allocatable.size;
  }

  /** The address for `name`; the range must not be full. */
  take(name: string, isTaken: (address: string) => boolean): string {
    const { first, size } = this.#allocatable;
    let offset = hashOf(this.prefix.family, name) % size;
    for (;;) {
      const address = numberToAddress(this.prefix.family, first + offset);
      if (!isTaken(address)) {
        this.#taken++;
        return address;
      }
      offset = (offset + 1n) % size;
    }
  }
}

export interface AddressPoolOptions {
  /** At most one of each family. */
  readonly ranges: readonly Prefix[];
  /** Families that names get addresses of. */
  readonly families: readonly Family[];
  /** Names at most, configured ones included. */
  readonly names: number;
}

export class AddressPool {
  readonly #ipv4: Range | undefined;
  readonly #ipv6: Range | undefined;
  readonly #limit: number;
  readonly #byName = new Map<string, Assignment>();
  readonly #byAddress = new Map<string, Assignment>();

  constructor(options: AddressPoolOptions) {
    const range = (family: Family): Range | undefined => {
      const prefix = options.ranges.find((one) => one.family === family && one.length <= widthOf(family));
      return prefix === undefined || !options.families.includes(family) ? undefined : new Range(prefix);
    };
    this.#ipv4 = range(4);
    this.#ipv6 = range(6);
    this.#limit = options.names;
  }

  get size(): number {
    return this.#byName.size;
  }

  get(name: string): Assignment | undefined {
    return this.#byName.get(name);
  }

  /** Whose address this is. `address` in canonical text. */
  nameOf(address: string): string | undefined {
    return this.#byAddress.get(address)?.name;
  }

  assignments(): Iterable<Assignment> {
    return this.#byName.values();
  }

  /**
   * The name's addresses, new ones when it has none yet: one of each family, or none at all.
   * @throws ResolveError SERVFAIL when a range is full or `names` is reached. No address is ever taken from another name.
   */
  assign(name: string): Assignment {
    const known = this.#byName.get(name);
    if (known !== undefined) return known;
    if (this.#byName.size >= this.#limit) {
      throw new ResolveError('SERVFAIL', {
        problem: `${name} gets no address: ${this.#limit} names have one already.`,
        remedy: 'Raise limits.names, or narrow the wildcard names of the services.',
      });
    }
    for (const range of [this.#ipv4, this.#ipv6]) {
      if (!range?.full) continue;
      throw new ResolveError('SERVFAIL', {
        problem: `${name} gets no address: all of ${formatPrefix(range.prefix)} are taken.`,
        remedy: 'Widen resolver.ranges, or narrow the wildcard names of the services.',
      });
    }
    const isTaken = (address: string): boolean => this.#byAddress.has(address);
    const ipv4 = this.#ipv4?.take(name, isTaken);
    const ipv6 = this.#ipv6?.take(name, isTaken);
    const assignment: Assignment = {
      name,
      ...(ipv4 === undefined ? {} : { ipv4 }),
      ...(ipv6 === undefined ? {} : { ipv6 }),
    };
    this.#byName.set(name, assignment);
    for (const address of [ipv4, ipv6]) if (address !== undefined) this.#byAddress.set(address, assignment);
    return assignment;
  }
}
