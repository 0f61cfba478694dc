/**
 * Weir's own zone: names that a service intercepts get addresses of the assigned ranges. An address is announced
 * (`onAssign`) before it is first answered, so that whoever connects to it at once finds it known.
 */
import { ResolveError } from '../api/errors.ts';
import type { Answer, Question, Resolver } from '../api/resolver.ts';
import type { AddressPool, Assignment } from '../dns/address-pool.ts';
import type { DnsCounters } from '../dns/counters.ts';
import { isHostName } from '../dns/name.ts';
import { noRecords, noSuchName } from './negative.ts';

/** Seconds that a client may keep an assigned address, or the news that a name has no record of a type. */
export const ASSIGNED_TTL = 60;

/** Types that say where else a name is reached (RFC 9460): addresses in them would lead past the capture. */
const SERVICE_BINDING = new Set(['HTTPS', 'SVCB', 'TYPE65', 'TYPE64']);

/** Which pattern of the configuration a name falls under; made by capture from all services. */
export interface NameMatcher {
  /** Index of the pattern, or -1. `name` is lower case without trailing dot. @throws RangeError at a bound. */
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
  /** Seconds; default {@link ASSIGNED_TTL}. */
  readonly ttl?: number;
  /** Whether other records of a name are left to the resolvers behind (`resolve: upstream`). */
  readonly resolvesUpstream?: (patternIndex: number) => boolean;
}

/** A name whose address was announced under the current matcher, or is being announced. */
interface Announcement {
  readonly generation: number;
  readonly assignment: Assignment;
  done: boolean;
  promise: Promise<void>;
}

export class AssignedResolver implements Resolver {
  readonly #pool: AddressPool;
  readonly #counters: DnsCounters;
  readonly #onAssign: AssignedOptions['onAssign'];
  readonly #resolvesUpstream: (patternIndex: number) => boolean;
  readonly #ttl: number;
  readonly #announced = new Map<string, Announcement>();
  readonly #probes = new Map<string, Assignment>();
  #matcher: NameMatcher;
  #generation = 0;

  constructor(options: AssignedOptions) {
    this.#matcher = options.matcher;
    this.#pool = options.pool;
    this.#counters = options.counters;
    this.#onAssign = options.onAssign;
    this.#ttl = options.ttl ?? ASSIGNED_TTL;
    this.#resolvesUpstream = options.resolvesUpstream ?? (() => false);
  }

  async answer(question: Question): Promise<Answer | undefined> {
    const { name, type } = question;
    const probe = this.#probes.get(name);
    if (probe !== undefined) return this.#addresses(question, probe, 0);
    const pattern = this.#match(name);
    if (pattern < 0) return this.#belowKnown(question);
    if (!isHostName(name)) {
      this.#counters.answeredAssigned++;
      return noSuchName(name, this.#ttl);
    }
    if (type === 'A' || type === 'AAAA') {
      this.#counters.answeredAssigned++;
      return this.#addresses(question, await this.assign(name), this.#ttl);
    }
    if (this.#resolvesUpstream(pattern) && type !== 'ANY' && !SERVICE_BINDING.has(type)) return undefined;
    this.#counters.answeredAssigned++;
    if (type !== 'ANY') return noRecords(name, this.#ttl);
    // Nobody needs all records, and those who ask forge their address (RFC 8482 4.2).
    const data = { cpu: 'RFC8482', os: '' };
    return { records: [{ name, type: 'HINFO', ttl: this.#ttl, data }], authoritative: true };
  }

  /**
   * Gives the name its addresses and announces them.
   * @throws ResolveError SERVFAIL when there are none left; whatever `onAssign` throws.
   */
  async assign(name: string): Promise<Assignment> {
    // Bounded: each turn but the last follows a `replace` or a change of class that happened meanwhile.
    for (;;) {
      const assignment = this.#take(name);
      const generation = this.#generation;
      await this.#announce(assignment, generation);
      if (generation === this.#generation && this.#pool.get(name) === assignment) return assignment;
    }
  }

  /** Announces a name that has its addresses from an earlier run, without using it. */
  restore(assignment: Assignment): Promise<void> {
    return this.#announce(assignment, this.#generation);
  }

  /** Whether the name's addresses are announced as they are now. */
  isAnnounced(name: string): boolean {
    const known = this.#announced.get(name);
    return known !== undefined && known.done && this.#holds(known, this.#pool.get(name), this.#generation);
  }

  /** The name has no addresses any more. */
  forget(name: string): void {
    this.#announced.delete(name);
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
    return this.#match(name);
  }

  /** Answers a name of the self-test with a fixed address and TTL 0. @returns what ends that. */
  addProbe(assignment: Assignment): () => void {
    this.#probes.set(assignment.name, assignment);
    return () => this.#probes.delete(assignment.name);
  }

  /** Whether it is a name of the self-test. */
  isProbe(name: string): boolean {
    return this.#probes.has(name);
  }

  #match(name: string): number {
    try {
      return this.#matcher.match(name);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.#counters.poolExhausted++;
      throw new ResolveError('SERVFAIL', {
        problem: `${name} cannot be told from other names: ${error.message}.`,
        remedy: 'Use fewer patterns with * and ? inside of labels.',
        cause: error,
      });
    }
  }

  /** `_8443._https.web.internal` says where else `web.internal` is reached (RFC 9460 2.3), as that name itself would. */
  #belowKnown({ name, type }: Question): Answer | undefined {
    if (!SERVICE_BINDING.has(type)) return undefined;
    const owner = /^(?:_\d+\.)?_[a-z0-9-]+\.(.+)$/.exec(name)?.[1];
    if (owner === undefined || this.#match(owner) < 0) return undefined;
    this.#counters.answeredAssigned++;
    return noRecords(name, this.#ttl);
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

  #holds(known: Announcement, assignment: Assignment | undefined, generation: number): boolean {
    return known.generation === generation && known.assignment === assignment;
  }

  #announce(assignment: Assignment, generation: number): Promise<void> {
    const { name } = assignment;
    const running = this.#announced.get(name);
    if (running !== undefined && this.#holds(running, assignment, generation)) return running.promise;
    const run = async (): Promise<void> => {
      try {
        await this.#onAssign({ ...assignment, patternIndex: this.#match(name) });
        announcement.done = true;
      } catch (error) {
        if (this.#announced.get(name) === announcement) this.#announced.delete(name);
        throw error;
      }
    };
    const announcement: Announcement = { generation, assignment, done: false, promise: Promise.resolve() };
    this.#announced.set(name, announcement);
    announcement.promise = run();
    return announcement.promise;
  }

  #addresses(question: Question, assignment: Assignment, ttl: number): Answer {
    const data = question.type === 'A' ? assignment.ipv4 : question.type === 'AAAA' ? assignment.ipv6 : undefined;
    if (data === undefined) return noRecords(question.name, this.#ttl);
    return { records: [{ name: question.name, type: question.type, ttl, data }], authoritative: true };
  }
}
