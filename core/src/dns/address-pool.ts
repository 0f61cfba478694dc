/**
 * Addresses for names; which ones, `address-range.ts` says. Configured names are assigned first and in sorted order, so
 * that hosts agree on all of them, collisions included. While a name has its addresses, no other name gets one of them:
 * also not the address that it had before it came into the configuration, or went out of it.
 */
import { ResolveError } from '../api/errors.ts';
import type { Family, Prefix } from '../api/flow.ts';
import { addressToNumber, familyOf, formatPrefix, isAddress, widthOf } from '../capture/address.ts';
import { AddressRange } from './address-range.ts';

export { reservedAddresses } from './address-range.ts';

/** A name and its addresses. */
export interface Assignment {
  /** Lower case, without trailing dot. */
  readonly name: string;
  readonly ipv4?: string;
  readonly ipv6?: string;
  /** Addresses that were its own, and that clients may still have; absent: none. */
  readonly former?: readonly string[];
}

/** What the pool knows of a name beside its addresses. */
export interface NameUse {
  /** Named by the configuration itself, and not only wanted by a pattern. */
  readonly configured: boolean;
  /** Monotonic milliseconds of the last answer or flow. */
  readonly usedAt: number;
  /** Another name had the IPv4 address that its hash gives, so that other hosts may have chosen otherwise. */
  readonly displaced: boolean;
}

interface Entry {
  assignment: Assignment;
  configured: boolean;
  usedAt: number;
  displaced: boolean;
}

export interface AddressPoolOptions {
  /** At most one of each family. */
  readonly ranges: readonly Prefix[];
  /** Families that names get addresses of. */
  readonly families: readonly Family[];
  /** Names at most, configured ones included. */
  readonly names: number;
  /** Mixed into the hash; empty or absent: none. */
  readonly secret?: string;
  /** Told of every assignment that is new or has changed, before `assign` returns. Must not throw. */
  readonly onAssign?: (assignment: Assignment, configured: boolean) => void;
  readonly onRelease?: (name: string) => void;
  /** Monotonic milliseconds, for tests. */
  readonly now?: () => number;
}

export class AddressPool {
  readonly #options: AddressPoolOptions;
  readonly #ranges: Readonly<Record<Family, AddressRange | undefined>>;
  readonly #byName = new Map<string, Entry>();
  readonly #byAddress = new Map<string, Entry>();
  readonly #now: () => number;
  #configured: ReadonlySet<string> = new Set();

  constructor(options: AddressPoolOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    const range = (family: Family): AddressRange | undefined => {
      const prefix = options.ranges.find((one) => one.family === family && one.length <= widthOf(family));
      if (prefix === undefined || !options.families.includes(family)) return undefined;
      return new AddressRange(prefix, options.secret ?? '');
    };
    this.#ranges = { 4: range(4), 6: range(6) };
  }

  get size(): number {
    return this.#byName.size;
  }

  /** How full each range is. */
  get use(): ReadonlyArray<{ readonly range: string; readonly taken: number; readonly size: number }> {
    return [this.#ranges[4], this.#ranges[6]].flatMap((range) =>
      range === undefined ? [] : [{ range: formatPrefix(range.prefix), taken: range.taken, size: range.size }],
    );
  }

  get(name: string): Assignment | undefined {
    return this.#byName.get(name)?.assignment;
  }

  /** Whose address this is, or was before its class changed. `address` in canonical text. */
  nameOf(address: string): string | undefined {
    return this.#byAddress.get(address)?.assignment.name;
  }

  *assignments(): Iterable<Assignment & NameUse> {
    for (const { assignment, configured, usedAt, displaced } of this.#byName.values()) {
      yield { ...assignment, configured, usedAt, displaced };
    }
  }

  /** Which names the configuration itself has, from now on. Takes effect for each name when it is assigned. */
  configure(names: Iterable<string>): void {
    this.#configured = new Set(names);
  }

  isConfigured(name: string): boolean {
    return this.#configured.has(name);
  }

  /**
   * The name's addresses, new ones when it has none yet: one of each family, or none at all. A name that came into the
   * configuration, or went out of it, moves to where all hosts expect it, and keeps its former address beside.
   * @throws ResolveError SERVFAIL when a range is full or `names` is reached. No address is ever taken from another name.
   */
  assign(name: string): Assignment {
    const configured = this.#configured.has(name);
    const known = this.#byName.get(name);
    if (known !== undefined) {
      known.usedAt = this.#now();
      if (known.configured !== configured) this.#reclassify(known, configured);
      return known.assignment;
    }
    if (this.#byName.size >= this.#options.names) {
      throw new ResolveError('SERVFAIL', {
        problem: `${name} gets no address: ${this.#options.names} names have one already.`,
        remedy: 'Raise limits.names, or narrow the patterns of the services.',
      });
    }
    for (const range of [this.#ranges[4], this.#ranges[6]]) {
      if (!range?.full) continue;
      throw new ResolveError('SERVFAIL', {
        problem: `${name} gets no address: all of ${formatPrefix(range.prefix)} are taken.`,
        remedy: 'Widen resolver.ranges, or narrow the patterns of the services.',
      });
    }
    const isTaken = (address: string): boolean => this.#byAddress.has(address);
    const ipv4 = this.#ranges[4]?.take(name, configured, isTaken);
    const ipv6 = this.#ranges[6]?.take(name, configured, isTaken);
    const assignment: Assignment = {
      name,
      ...(ipv4 === undefined ? {} : { ipv4: ipv4.address }),
      ...(ipv6 === undefined ? {} : { ipv6: ipv6.address }),
    };
    const entry = { assignment, configured, usedAt: this.#now(), displaced: ipv4?.displaced ?? false };
    this.#enter(entry);
    this.#options.onAssign?.(assignment, configured);
    return assignment;
  }

  /**
   * Gives a name the addresses that it had in an earlier run.
   * @returns false when the name, or one of its addresses, is not free, or does not lie in the ranges.
   */
  restore(assignment: Assignment, configured: boolean): boolean {
    const { name, ipv4, ipv6, former = [] } = assignment;
    if (this.#byName.has(name) || this.#byName.size >= this.#options.names) return false;
    // A family that the host has lost or gained since: the hash says it anew.
    if ((ipv4 === undefined) !== (this.#ranges[4] === undefined)) return false;
    if ((ipv6 === undefined) !== (this.#ranges[6] === undefined)) return false;
    const addresses = [ipv4, ipv6, ...former].filter((one) => one !== undefined);
    for (const address of addresses) {
      if (!isAddress(address) || this.#byAddress.has(address)) return false;
      if (this.#ranges[familyOf(address)]?.has(addressToNumber(address)) !== true) return false;
    }
    if (new Set(addresses).size < addresses.length) return false;
    const displaced = ipv4 !== undefined && ipv4 !== this.#ranges[4]?.natural(name, configured);
    this.#enter({ assignment, configured, usedAt: this.#now(), displaced });
    for (const address of addresses) this.#ranges[familyOf(address)]?.count(addressToNumber(address), 1);
    return true;
  }

  /** Notes that somebody uses the name. */
  touch(name: string): void {
    const entry = this.#byName.get(name);
    if (entry !== undefined) entry.usedAt = this.#now();
  }

  /** Takes back all addresses of a name; others may get them. */
  release(name: string): Assignment | undefined {
    const entry = this.#byName.get(name);
    if (entry === undefined) return undefined;
    const { ipv4, ipv6, former = [] } = entry.assignment;
    for (const address of [ipv4, ipv6, ...former]) {
      if (address === undefined) continue;
      this.#byAddress.delete(address);
      this.#ranges[familyOf(address)]?.count(addressToNumber(address), -1);
    }
    this.#byName.delete(name);
    this.#options.onRelease?.(name);
    return entry.assignment;
  }

  #enter(entry: Entry): void {
    const { name, ipv4, ipv6, former = [] } = entry.assignment;
    this.#byName.set(name, entry);
    for (const address of [ipv4, ipv6, ...former]) if (address !== undefined) this.#byAddress.set(address, entry);
  }

  #reclassify(entry: Entry, configured: boolean): void {
    const { name, ipv4, former = [] } = entry.assignment;
    entry.configured = configured;
    const range = this.#ranges[4];
    const moves = ipv4 !== undefined && range !== undefined && !range.belongs(addressToNumber(ipv4), configured);
    if (moves && !range.full) {
      // It may have been there before.
      const back = former.find(
        (address) => familyOf(address) === 4 && range.belongs(addressToNumber(address), configured),
      );
      const taken = back === undefined ? range.take(name, configured, (one) => this.#byAddress.has(one)) : undefined;
      const address = back ?? (taken as { readonly address: string }).address;
      entry.assignment = {
        ...entry.assignment,
        ipv4: address,
        former: [...former.filter((one) => one !== address), ipv4],
      };
      entry.displaced = taken?.displaced ?? false;
      this.#byAddress.set(address, entry);
    }
    this.#options.onAssign?.(entry.assignment, configured);
  }
}
