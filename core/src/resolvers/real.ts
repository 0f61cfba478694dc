/** Names that keep their real addresses: what upstreams say, once it is steered. */
import type { Answer, Question, Resolver } from '../api/resolver.ts';
import type { DnsCounters } from '../dns/counters.ts';
import { isHostName } from '../dns/name.ts';
import { noRecords } from './negative.ts';
import type { RealNames } from './real-names.ts';

export interface RealResolverOptions {
  readonly names: RealNames;
  /** Whether a name keeps its addresses. */
  readonly keeps: (name: string) => boolean;
  readonly counters: DnsCounters;
  /** Seconds that the news hold that there is no address. */
  readonly ttl: number;
}

/** Answers for addresses only; all else of these names is the assigned zone's, as for other names of services. */
export class RealResolver implements Resolver {
  readonly #options: RealResolverOptions;

  constructor(options: RealResolverOptions) {
    this.#options = options;
  }

  async answer({ name, type }: Question): Promise<Answer | undefined> {
    const { names, keeps, counters, ttl: negative } = this.#options;
    if ((type !== 'A' && type !== 'AAAA') || !isHostName(name) || !keeps(name)) return undefined;
    const { addresses, ttl } = await names.resolve(name, type === 'A' ? 4 : 6);
    counters.answeredReal++;
    if (addresses.length === 0) return noRecords(name, Math.min(negative, Math.max(ttl, 1)));
    return { records: addresses.map((data) => ({ name, type, ttl, data })), authoritative: false };
  }
}
