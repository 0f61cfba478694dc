/**
 * Weir's own zone: names that a service intercepts get addresses of the assigned ranges. An address is announced
 * (`onAssign`) before it is first answered, so that whoever connects to it at once finds it known.
 */
import { ResolveError } from '../api/errors.ts';
import type { Answer, Question, ResourceRecord, Resolver } from '../api/resolver.ts';
import type { AddressPool, Assignment } from '../dns/address-pool.ts';
import type { DnsCounters } from '../dns/counters.ts';
import { isHostName } from '../dns/name.ts';

/** Seconds that a client may keep an assigned address, or the news that a name has no record of a type. */
export const ASSIGNED_TTL = 60;

/** Which pattern of the configuration a name falls under; made by capture from all services. */
export interface NameMatcher {
  /** Index of the pattern, or -1. `name` is lower case without trailing dot. */
  match(name: string): number;
}

/** A name, its addresses, and the pattern it falls under now; -1 when none does any more. */
export interface NameAssignment extends Assignment {
  readonly patternIndex: number;
}

export interface AssignedOptions {
  readonly matcher: NameMatcher;
  readonly pool: AddressPool;
  readonly counters: DnsCounters;
  /**
   * Called before an address is answered for the first time, and again after `replace` because the pattern may have
   * changed. The answer waits for it; when it fails, the client is told SERVFAIL and the next query tries again.
   */
  readonly onAssign: (assignment: NameAssignment) => void | Promise<void>;
}

/** The negative-caching record of a name that exists without the type asked for (RFC 2308). */
function startOfAuthority(name: string): ResourceRecord {
  const data = {
    mname: 'weir.internal',
    rname: 'hostmaster.weir.internal',
    serial: 1,
    refresh: 3600,
    retry: 600,
    expire: 86_400,
    minimum: ASSIGNED_TTL,
  };
  return { name, type: 'SOA', ttl: ASSIGNED_TTL, data };
}

/** A name whose address was announced under the current matcher, or is being announced. */
interface Announcement {
  readonly generation: number;
  done: boolean;
  promise: Promise<void>;
}

export class AssignedResolver implements Resolver {
  readonly #pool: AddressPool;
  readonly #counters: DnsCounters;
  readonly #onAssign: AssignedOptions['onAssign'];
  readonly #announced = new Map<string, Announcement>();
  readonly #probes = new Map<string, Assignment>();
  #matcher: NameMatcher;
  #generation = 0;

  constructor(options: AssignedOptions) {
    this.#matcher = options.matcher;
    this.#pool = options.pool;
    this.#counters = options.counters;
    this.#onAssign = options.onAssign;
  }

  async answer(question: Question): Promise<Answer | undefined> {
    const probe = this.#probes.get(question.name);
    if (probe !== undefined) return this.#records(question, probe, 0);
    if (this.#matcher.match(question.name) < 0) return undefined;
    this.#counters.answeredAssigned++;
    if (!isHostName(question.name)) {
      return {
        records: [],
        authority: [startOfAuthority(question.name)],
        responseCode: 'NXDOMAIN',
        authoritative: true,
      };
    }
    if (question.type !== 'A' && question.type !== 'AAAA') return this.#records(question, { name: question.name }, 0);
    return this.#records(question, await this.assign(question.name), ASSIGNED_TTL);
  }

  /**
   * Gives the name its addresses and announces them.
   * @throws ResolveError SERVFAIL when there are none left; whatever `onAssign` throws.
   */
  async assign(name: string): Promise<Assignment> {
    const assignment = this.#take(name);
    const known = this.#announced.get(name);
    if (known?.done && known.generation === this.#generation) return assignment;
    // Bounded: each turn but the last follows a `replace` that happened meanwhile.
    for (;;) {
      const generation = this.#generation;
      await this.#announce(assignment, generation);
      if (generation === this.#generation) return assignment;
    }
  }

  /**
   * Names are judged by this matcher from now on. Those it does not know are no longer answered; their addresses stay
   * theirs, so that flows to them can still be told apart.
   */
  replace(matcher: NameMatcher): void {
    this.#matcher = matcher;
    this.#generation++;
  }

  /** Which pattern a name falls under now, or -1. */
  patternOf(name: string): number {
    return this.#matcher.match(name);
  }

  /** Answers a name of the self-test with a fixed address and TTL 0. @returns what ends that. */
  addProbe(assignment: Assignment): () => void {
    this.#probes.set(assignment.name, assignment);
    return () => this.#probes.delete(assignment.name);
  }

  #take(name: string): Assignment {
    const before = this.#pool.size;
    try {
      const assignment = this.#pool.assign(name);
      this.#counters.assigned += this.#pool.size - before;
      return assignment;
    } catch (error) {
      if (error instanceof ResolveError) this.#counters.poolExhausted++;
      throw error;
    }
  }

  #announce(assignment: Assignment, generation: number): Promise<void> {
    const { name } = assignment;
    const running = this.#announced.get(name);
    if (running?.generation === generation) return running.promise;
    const patternIndex = this.#matcher.match(name);
    const run = async (): Promise<void> => {
      try {
        await this.#onAssign({ ...assignment, patternIndex });
        announcement.done = true;
      } catch (error) {
        if (this.#announced.get(name) === announcement) this.#announced.delete(name);
        throw error;
      }
    };
    const announcement: Announcement = { generation, done: false, promise: Promise.resolve() };
    this.#announced.set(name, announcement);
    announcement.promise = run();
    return announcement.promise;
  }

  #records(question: Question, assignment: Assignment, ttl: number): Answer {
    const data = question.type === 'A' ? assignment.ipv4 : question.type === 'AAAA' ? assignment.ipv6 : undefined;
    if (data === undefined) {
      return { records: [], authority: [startOfAuthority(question.name)], authoritative: true };
    }
    return { records: [{ name: question.name, type: question.type, ttl, data }], authoritative: true };
  }
}
