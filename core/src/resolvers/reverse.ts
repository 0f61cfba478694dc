/** Whose the addresses of the assigned ranges are. Nobody else can say, so that nothing of these zones goes upstream. */
import type { Prefix } from '../api/flow.ts';
import type { Answer, Question, Resolver } from '../api/resolver.ts';
import { numberToAddress, widthOf } from '../capture/address.ts';
import type { DnsCounters } from '../dns/counters.ts';
import { isReverseOf, parseReverseName } from '../dns/reverse-name.ts';
import { noRecords, noSuchName } from './negative.ts';

export interface ReverseOptions {
  readonly ranges: readonly Prefix[];
  /** The name that an address is given to, in canonical text. */
  readonly nameOf: (address: string) => string | undefined;
  /** Seconds. */
  readonly ttl: number;
  readonly counters: DnsCounters;
}

export class ReverseResolver implements Resolver {
  readonly #options: ReverseOptions;

  constructor(options: ReverseOptions) {
    this.#options = options;
  }

  answer({ name, type }: Question): Promise<Answer | undefined> {
    return Promise.resolve(this.#answer(name, type));
  }

  #answer(name: string, type: string): Answer | undefined {
    if (!name.endsWith('.arpa')) return undefined;
    const reverse = parseReverseName(name);
    const { ranges, nameOf, ttl, counters } = this.#options;
    if (reverse === undefined || !ranges.some((range) => isReverseOf(reverse, range))) return undefined;
    counters.answeredReverse++;
    // Below it there are addresses, so that it exists.
    if (reverse.bits < widthOf(reverse.family)) return noRecords(name, ttl);
    const owner = nameOf(numberToAddress(reverse.family, reverse.address));
    // It may be given to a name at any moment.
    if (owner === undefined) return noSuchName(name, 0);
    if (type !== 'PTR') return noRecords(name, ttl);
    return { records: [{ name, type, ttl, data: owner }], authoritative: true };
  }
}
