/**
 * Names between the resolver and the data plane: numbers for names, the shared directory of their addresses, and the
 * real addresses that workers ask for when they dial.
 */
import type { Family } from '../api/flow.ts';
import { NameDirectory, RETIRED_PATTERN, type NameDirectoryData } from '../dataplane/name-directory.ts';
import { NameTexts, type NameTextsData } from '../dataplane/name-texts.ts';
import type { NameAssignment } from '../resolvers/assigned.ts';

/** Real addresses of a name through upstreams. Rejects when there are none. */
export type LookUp = (
  name: string,
  family: Family,
) => Promise<{ readonly addresses: readonly string[]; readonly ttl: number }>;

/** Longest that an answer is kept by a worker, and shortest that a failure is. Seconds. */
const LONGEST_TTL = 300;
const FAILURE_TTL = 1;

export class NameBinding {
  readonly #directory: NameDirectory;
  readonly #shared: NameTexts;
  readonly #texts: string[] = [];
  readonly #indexes = new Map<string, number>();
  readonly #assigned = new Map<string, NameAssignment>();

  /** @param names how many names can get an address */
  constructor(names: number) {
    this.#directory = new NameDirectory(NameDirectory.allocate(names));
    this.#shared = new NameTexts(NameTexts.allocate(names));
  }

  get data(): NameDirectoryData {
    return this.#directory.data;
  }

  get texts(): NameTextsData {
    return this.#shared.data;
  }

  get size(): number {
    return this.#texts.length;
  }

  /** Tells the workers whose the addresses are. Done when it returns: only then may the answer be given. */
  enter(assignment: NameAssignment): void {
    const { name, patternIndex, ipv4, ipv6 } = assignment;
    let index = this.#indexes.get(name);
    if (index === undefined) {
      index = this.#texts.push(name) - 1;
      this.#shared.set(index, name);
      this.#indexes.set(name, index);
    }
    this.#assigned.set(name, assignment);
    for (const address of [ipv4, ipv6]) if (address !== undefined) this.#directory.set(address, index, patternIndex);
  }

  /** Gives every known name the pattern it has under a new matcher; names that nobody wants any more are retired. */
  rematch(match: (name: string) => number): void {
    for (const assignment of this.#assigned.values()) {
      const patternIndex = match(assignment.name);
      if (patternIndex === assignment.patternIndex) continue;
      this.enter({ ...assignment, patternIndex: patternIndex < 0 ? RETIRED_PATTERN : patternIndex });
    }
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
}
