/**
 * Names that keep their real addresses (`address: real`): which addresses they have, as upstreams say, and for how long
 * each of them is steered. An address is steered before it is first answered. Names are asked for again when their time is
 * over, as long as they are used; an address that a name no longer has stays steered for a grace, and while flows to it
 * live. Everything is bounded.
 */
import { ResolveError } from '../api/errors.ts';
import type { Family } from '../api/flow.ts';
import type { Logger } from '../api/logger.ts';
import { addressToNumber, familyOf, prefixContains, parsePrefix } from '../capture/address.ts';
import type { DnsCounters } from '../dns/counters.ts';
import type { LookupResult } from '../dns/lookup.ts';

/** Addresses of one name and family that are answered; more are left out. */
const MOST_OF_NAME = 16;
/** Milliseconds at most that an address stays steered after the name has it no more: clients may keep it longer than they should. */
const GRACE = 120_000;
/** Milliseconds between two look-ups of a name at least, and after a failed one. */
const SHORTEST = 5000;
const AFTER_FAILURE = 30_000;
/** Seconds that clients may keep an answer at most. */
const LONGEST_TTL = 300;
/** Seconds for an answer that is given while no upstream answers. */
const STALE_TTL = 5;
/** Names that are asked for again at a time. */
const PARALLEL = 8;
/** Milliseconds between two looks at what is over. */
const TICK = 1000;
/** Milliseconds in which new addresses are gathered before they are steered. */
const GATHER = 10;

/** What no service of a name can mean, whatever an upstream says: this host, the link, and nobody in particular. */
const NEVER = ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/3', '::/127', 'fe80::/10', 'ff00::/8'].map(
  (text) => parsePrefix(text),
);

/** A name and the addresses by which it is to be steered. */
export interface RealName {
  readonly name: string;
  readonly patternIndex: number;
  readonly addresses: readonly string[];
}

export interface RealNamesOptions {
  readonly families: readonly Family[];
  /** Addresses of all names at most. */
  readonly addresses: number;
  /** Names at most. */
  readonly names: number;
  /** Milliseconds after which a name that nobody uses is forgotten; configured ones never. */
  readonly keepMs: number;
  /** The pattern of a name that keeps its addresses; -1 for all others. */
  readonly patternOf: (name: string) => number;
  readonly lookup: (name: string, family: Family, signal: AbortSignal) => Promise<LookupResult>;
  /** Steers exactly these from now on; done when it resolves. Calls do not overlap. */
  readonly steer: (names: readonly RealName[]) => Promise<void>;
  /** Names of the flows that live now. */
  readonly inUse: () => Iterable<string>;
  /** Addresses of a name that flows go to now. */
  readonly destinations: (name: string) => ReadonlySet<string>;
  readonly counters: DnsCounters;
  readonly log: Logger;
}

interface Known {
  readonly name: string;
  /** By family: the answer as it is. */
  readonly answers: Map<Family, LookupResult & { readonly until: number }>;
  /** Every address that is steered; until when, Infinity while the name has it. */
  readonly addresses: Map<string, number>;
  usedAt: number;
  askAgainAt: number;
  asking: Promise<void> | undefined;
}

export class RealNames {
  readonly #options: RealNamesOptions;
  readonly #known = new Map<string, Known>();
  readonly #abort = new AbortController();
  #configured: ReadonlySet<string> = new Set();
  #timer: NodeJS.Timeout | undefined;
  #steered = 0;
  /** The change that is gathered, and the one that is made. */
  #next: Promise<void> | undefined;
  #last: Promise<void> = Promise.resolve();

  constructor(options: RealNamesOptions) {
    this.#options = options;
  }

  /** How many addresses are steered. */
  get size(): number {
    return this.#steered;
  }

  /** Asks for the configured names, without waiting for upstreams, and begins to ask again. */
  start(configured: readonly string[]): void {
    this.configure(configured);
    this.#timer = setInterval(() => this.#tick(), TICK);
    this.#timer.unref();
  }

  /** Other names are configured, or patterns have changed: names that keep their addresses no more are steered no more. */
  configure(configured: readonly string[]): void {
    this.#configured = new Set(configured.filter((name) => this.#options.patternOf(name) >= 0));
    for (const name of this.#known.keys()) if (this.#options.patternOf(name) < 0) this.#known.delete(name);
    for (const name of this.#configured) {
      if (!this.#known.has(name)) this.#refresh(this.#knownOf(name)).catch(() => {});
    }
    // The pattern of a name may be another one, and with it the ports that are steered.
    this.#change().catch(() => {});
  }

  /** Notes that a flow used the name. */
  touch(name: string): void {
    const known = this.#known.get(name);
    if (known !== undefined) known.usedAt = performance.now();
  }

  /**
   * The addresses of a name that keeps its own, all of them steered.
   * @throws ResolveError when upstreams cannot say, or when there are too many names or addresses.
   */
  async resolve(name: string, family: Family): Promise<LookupResult> {
    const { families, counters } = this.#options;
    if (!families.includes(family)) return { addresses: [], ttl: LONGEST_TTL };
    const known = this.#knownOf(name);
    known.usedAt = performance.now();
    const now = performance.now();
    let answer = known.answers.get(family);
    if (answer === undefined || answer.until <= now) {
      try {
        await this.#refresh(known);
      } catch (error) {
        if (answer === undefined || answer.addresses.length === 0) throw error;
        counters.realStale++;
        return { addresses: answer.addresses, ttl: STALE_TTL };
      }
      answer = known.answers.get(family);
      if (answer === undefined) return { addresses: [], ttl: 0 };
    }
    // Also what another client asked for a moment ago may not be steered yet.
    await this.#settled();
    const left = Math.max(0, Math.round((answer.until - now) / 1000));
    return { addresses: answer.addresses, ttl: Math.min(left, LONGEST_TTL) };
  }

  /** What is known, for reports. */
  list(): ReadonlyArray<RealName & { readonly unusedMs: number; readonly configured: boolean }> {
    const now = performance.now();
    return [...this.#known.values()].map((known) => ({
      ...this.#entry(known),
      unusedMs: Math.round(now - known.usedAt),
      configured: this.#configured.has(known.name),
    }));
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#abort.abort();
  }

  #entry({ name, addresses }: Known): RealName {
    return { name, patternIndex: this.#options.patternOf(name), addresses: [...addresses.keys()] };
  }

  #knownOf(name: string): Known {
    let known = this.#known.get(name);
    if (known !== undefined) return known;
    if (this.#known.size >= this.#options.names) {
      this.#options.counters.realLimitHits++;
      throw new ResolveError('SERVFAIL', {
        problem: `${name} is one name too many: limits.names is ${this.#options.names}.`,
        remedy: 'Raise limits.names, or name fewer.',
      });
    }
    known = {
      name,
      answers: new Map(),
      addresses: new Map(),
      usedAt: performance.now(),
      askAgainAt: 0,
      asking: undefined,
    };
    this.#known.set(name, known);
    return known;
  }

  /** Asks upstreams, once for all who wait, and steers what is new. */
  #refresh(known: Known): Promise<void> {
    known.asking ??= this.#ask(known).finally(() => {
      known.asking = undefined;
    });
    return known.asking;
  }

  async #ask(known: Known): Promise<void> {
    const { families, lookup, counters } = this.#options;
    const { signal } = this.#abort;
    known.askAgainAt = performance.now() + AFTER_FAILURE;
    counters.realLookups++;
    const found = await Promise.allSettled(families.map((family) => lookup(known.name, family, signal)));
    const now = performance.now();
    const failed = found.find((one) => one.status === 'rejected');
    if (failed !== undefined) {
      counters.realLookupsFailed++;
      // What is known stays, and nobody who was never answered stays behind.
      if (known.answers.size === 0 && !this.#configured.has(known.name)) this.#known.delete(known.name);
      throw failed.reason;
    }
    let shortest = Infinity;
    for (const [index, family] of families.entries()) {
      const one = found[index];
      if (one?.status !== 'fulfilled') continue;
      const addresses = one.value.addresses.slice(0, MOST_OF_NAME);
      if (addresses.length < one.value.addresses.length) counters.realLimitHits++;
      shortest = Math.min(shortest, one.value.ttl * 1000);
      known.answers.set(family, { ...one.value, addresses, until: now + one.value.ttl * 1000 });
    }
    known.askAgainAt = now + Math.max(SHORTEST, shortest);
    if (this.#take(known, now)) await this.#change();
  }

  /** Takes the addresses of the answers over. @returns whether there are others to steer now. */
  #take(known: Known, now: number): boolean {
    const { addresses: most, keepMs, counters } = this.#options;
    const current = new Set([...known.answers.values()].flatMap(({ addresses }) => addresses).filter(isSteerable));
    for (const [address, until] of known.addresses) {
      if (!current.has(address) && until === Infinity) {
        known.addresses.set(address, now + Math.min(GRACE, keepMs));
      }
    }
    const fresh = [...current].filter((address) => !known.addresses.has(address));
    // Old ones make room: first those of this name that it no longer has.
    for (const [address, until] of known.addresses) {
      if (known.addresses.size + fresh.length <= 2 * MOST_OF_NAME) break;
      if (until !== Infinity) known.addresses.delete(address);
    }
    if (this.#count() + fresh.length > most) {
      counters.realLimitHits++;
      known.answers.clear();
      throw new ResolveError('SERVFAIL', {
        problem: `The addresses of ${known.name} cannot be steered: ${most} others are.`,
        remedy: 'Raise limits.real-addresses, or leave addresses to Weir (address: assigned).',
      });
    }
    for (const address of current) known.addresses.set(address, Infinity);
    return fresh.length > 0;
  }

  #count(): number {
    let count = 0;
    for (const { addresses } of this.#known.values()) count += addresses.size;
    return count;
  }

  /** Gathers for a moment what has changed, and has it steered. @returns when what is known now is steered. */
  #change(): Promise<void> {
    this.#next ??= this.#last
      .catch(() => {})
      .then(() => new Promise((resolve) => setTimeout(resolve, GATHER)))
      .then(async () => {
        const made = this.#next as Promise<void>;
        this.#next = undefined;
        this.#last = made;
        const names = [...this.#known.values()].map((known) => this.#entry(known));
        this.#steered = new Set(names.flatMap(({ addresses }) => addresses)).size;
        if (!this.#abort.signal.aborted) await this.#options.steer(names);
      });
    return this.#next;
  }

  async #settled(): Promise<void> {
    await (this.#next ?? this.#last);
  }

  /** Asks again, forgets what is over. */
  #tick(): void {
    const { keepMs, inUse, destinations, log } = this.#options;
    const now = performance.now();
    for (const name of inUse()) this.touch(name);
    let changed = false;
    let asking = 0;
    for (const known of this.#known.values()) {
      const unused = now - known.usedAt;
      if (unused > keepMs && !this.#configured.has(known.name)) {
        this.#known.delete(known.name);
        changed = true;
        continue;
      }
      const over = [...known.addresses].filter(([, until]) => until <= now);
      if (over.length > 0) {
        const living = destinations(known.name);
        for (const [address] of over) if (!living.has(address) && known.addresses.delete(address)) changed = true;
      }
      if (known.asking !== undefined) asking++;
      else if (known.askAgainAt <= now && asking < PARALLEL) {
        asking++;
        this.#refresh(known).catch((error: unknown) => {
          log.debug(
            { name: known.name, reason: String(error) },
            'the addresses of a name could not be asked for again',
          );
        });
      }
    }
    if (changed)
      this.#change().catch((error: unknown) => log.error({ reason: String(error) }, 'names are not steered'));
  }
}

function isSteerable(address: string): boolean {
  const [family, number] = [familyOf(address), addressToNumber(address)];
  return !NEVER.some((prefix) => prefixContains(prefix, family, number));
}
