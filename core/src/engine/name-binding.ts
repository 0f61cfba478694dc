/**
 * Names between the resolver and the data plane: numbers for names, the shared directory of their addresses, and the
 * real addresses that workers ask for when they dial.
 */
import { ResolveError } from '../api/errors.ts';
import type { Family } from '../api/flow.ts';
import { NameDirectory, RETIRED_PATTERN, type NameDirectoryData } from '../dataplane/name-directory.ts';
import { NameTexts, type NameTextsData } from '../dataplane/name-texts.ts';
import type { NameAssignment } from '../resolvers/assigned.ts';
import type { RealName } from '../resolvers/real-names.ts';

/** Real addresses of a name through upstreams. Rejects when there are none. */
export type LookUp = (
  name: string,
  family: Family,
) => Promise<{ readonly addresses: readonly string[]; readonly ttl: number }>;

/** Longest that an answer is kept by a worker, and shortest that a failure is. Seconds. */
const LONGEST_TTL = 300;
const FAILURE_TTL = 1;
/** Milliseconds before a number is given to another name: by then no worker remembers where the old one was. */
const QUARANTINE = (LONGEST_TTL + 10) * 1000;

/** What the binding knows of one name. */
interface Bound {
  readonly index: number;
  assignment: NameAssignment;
  /** Its addresses are its real ones: dials go where the client meant to. */
  real: boolean;
}

export interface NameBindingOptions {
  /** Real addresses of names at most. */
  readonly realAddresses?: number;
  /** Called when the directory was replaced: workers must have the new one before anybody is told an address of it. */
  readonly onReplaced?: () => Promise<void>;
  /** Monotonic milliseconds, for tests. */
  readonly now?: () => number;
}

export class NameBinding {
  readonly #names: number;
  readonly #options: NameBindingOptions;
  readonly #now: () => number;
  readonly #shared: NameTexts;
  readonly #texts: string[] = [];
  readonly #bound = new Map<string, Bound>();
  /** Numbers of names that have no addresses any more, and since when; oldest first. */
  readonly #left: Array<{ readonly index: number; readonly since: number }> = [];
  readonly #free: number[] = [];
  #directory: NameDirectory;
  /** Real addresses that were entered. */
  #kept: ReadonlySet<string> = new Set();
  #replacing: Promise<void> | undefined;

  /** @param names how many names can have an address at a time */
  constructor(names: number, options: NameBindingOptions = {}) {
    this.#names = names;
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#directory = new NameDirectory(NameDirectory.allocate(this.#entries));
    // Twice: numbers wait before they are used again.
    this.#shared = new NameTexts(NameTexts.allocate(2 * names));
  }

  /** How many names of three addresses the directory has room for. */
  get #entries(): number {
    return this.#names + Math.ceil((this.#options.realAddresses ?? 0) / 3);
  }

  get data(): NameDirectoryData {
    return this.#directory.data;
  }

  get texts(): NameTextsData {
    return this.#shared.data;
  }

  /** How many names have addresses. */
  get size(): number {
    return this.#bound.size;
  }

  /**
   * Tells the workers whose the addresses are. Done when it returns or, when that is a promise, when it resolves: only
   * then may the answer be given.
   * @throws ResolveError SERVFAIL when no number is free.
   */
  enter(assignment: NameAssignment, real = false): void | Promise<void> {
    const { name } = assignment;
    let bound = this.#bound.get(name);
    if (bound === undefined) {
      bound = { index: this.#number(name), assignment, real };
      this.#bound.set(name, bound);
    } else {
      bound.assignment = assignment;
      bound.real = real;
    }
    this.#set(bound);
    if (this.#directory.crowded && this.#replacing === undefined) this.#replace();
    return this.#replacing;
  }

  /** These names keep their real addresses. As `enter`. */
  async keep(names: readonly RealName[]): Promise<void> {
    for (const { name, patternIndex, addresses } of names) {
      // What it had stays entered until nothing is steered there any more.
      await this.enter({ name, patternIndex, former: addresses }, true);
    }
  }

  /** No other names keep their real addresses, and none of them has any other: to be called when nothing else is steered. */
  keepOnly(names: readonly RealName[]): void {
    const now = new Set(names.flatMap(({ addresses }) => addresses));
    const wanted = new Set(names.map(({ name }) => name));
    for (const address of this.#kept) if (!now.has(address)) this.#directory.free(address);
    this.#kept = now;
    for (const [name, { index, real }] of this.#bound) {
      if (!real || wanted.has(name)) continue;
      this.#bound.delete(name);
      this.#left.push({ index, since: this.#now() });
    }
  }

  /** Gives every known name the pattern it has under a new matcher; names that nobody wants any more are retired. */
  rematch(match: (name: string) => number): void {
    for (const bound of this.#bound.values()) {
      const patternIndex = match(bound.assignment.name);
      if (patternIndex === bound.assignment.patternIndex) continue;
      bound.assignment = { ...bound.assignment, patternIndex: patternIndex < 0 ? RETIRED_PATTERN : patternIndex };
      this.#set(bound);
    }
  }

  /** The name has no addresses any more. Flows that live keep its number. */
  release(name: string): void {
    const bound = this.#bound.get(name);
    if (bound === undefined) return;
    this.#bound.delete(name);
    for (const address of addressesOf(bound.assignment)) this.#directory.free(address);
    this.#left.push({ index: bound.index, since: this.#now() });
  }

  /** Lets numbers be used again that are forgotten everywhere. @param inUse numbers that living flows carry */
  recycle(inUse: ReadonlySet<number>): void {
    const before = this.#now() - QUARANTINE;
    const waiting = this.#left.splice(0);
    for (const left of waiting) {
      if (left.since > before || inUse.has(left.index)) this.#left.push(left);
      else this.#free.push(left.index);
    }
  }

  /** The number of a name that has addresses. */
  indexOf(name: string): number | undefined {
    return this.#bound.get(name)?.index;
  }

  textOf(index: number): string | undefined {
    return this.#texts[index];
  }

  /**
   * Real addresses for a dial. Never rejects: no address means that it could not be resolved.
   * @param key index of an assigned name, or the host of a route
   */
  async resolve(
    key: number | string,
    families: readonly Family[],
    lookUp: LookUp,
  ): Promise<{ readonly addresses: readonly string[]; readonly expiresAt: number }> {
    const name = typeof key === 'number' ? this.textOf(key) : key;
    if (name === undefined) return { addresses: [], expiresAt: 0 };
    const answers = await Promise.allSettled(families.map((family) => lookUp(name, family)));
    const addresses: string[] = [];
    let ttl = LONGEST_TTL;
    for (const answer of answers) {
      if (answer.status === 'rejected' || answer.value.addresses.length === 0) continue;
      addresses.push(...answer.value.addresses);
      ttl = Math.min(ttl, answer.value.ttl);
    }
    return { addresses, expiresAt: Date.now() + 1000 * (addresses.length > 0 ? ttl : FAILURE_TTL) };
  }

  #number(name: string): number {
    let index = this.#free.pop();
    if (index === undefined) {
      if (this.#texts.length >= this.#shared.data.capacity) {
        throw new ResolveError('SERVFAIL', {
          problem: `${name} gets no address: too many names came and went lately.`,
          remedy: 'Raise limits.names, or resolver.keep, so that names stay longer.',
        });
      }
      index = this.#texts.length;
    }
    this.#texts[index] = name;
    this.#shared.set(index, name);
    return index;
  }

  #set({ index, assignment, real }: Bound): void {
    for (const address of addressesOf(assignment)) {
      this.#directory.set(address, index, assignment.patternIndex, real);
    }
  }

  /** Half of the directory is of addresses that are nobody's any more: a new one holds only those that are somebody's. */
  #replace(): void {
    this.#directory = new NameDirectory(NameDirectory.allocate(this.#entries));
    for (const bound of this.#bound.values()) this.#set(bound);
    const run = async (): Promise<void> => {
      try {
        await this.#options.onReplaced?.();
      } finally {
        this.#replacing = undefined;
      }
    };
    this.#replacing = run();
  }
}

function addressesOf({ ipv4, ipv6, former = [] }: NameAssignment): readonly string[] {
  return [ipv4, ipv6, ...former].filter((address) => address !== undefined);
}
