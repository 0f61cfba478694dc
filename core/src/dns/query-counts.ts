/** Queries by type and outcome. Types that nobody should ask for are counted together, so that clients cannot fill it. */
import type { ResponseCode } from './message.ts';

/** Types with a count of their own; the others are `other`. */
const TYPES = new Set(
  'A AAAA ANY CAA CNAME DNSKEY DS HINFO HTTPS LOC MX NAPTR NS NSEC NSEC3 OPENPGPKEY PTR RRSIG SMIMEA SOA SPF SRV SSHFP SVCB TLSA TXT URI'.split(
    ' ',
  ),
);

/** What became of a query: its response code, or no response at all. */
export type QueryOutcome = ResponseCode | 'none';

export interface QueryCount {
  readonly type: string;
  readonly outcome: QueryOutcome;
  count: number;
}

export class QueryCounts {
  readonly #counts = new Map<string, QueryCount>();

  /** The count itself, for those that count often. */
  of(type: string, outcome: QueryOutcome): QueryCount {
    const known = TYPES.has(type) ? type : 'other';
    const key = `${known} ${outcome}`;
    let count = this.#counts.get(key);
    if (count === undefined) this.#counts.set(key, (count = { type: known, outcome, count: 0 }));
    return count;
  }

  /** Sorted by type. */
  list(): readonly QueryCount[] {
    return [...this.#counts.values()]
      .map((one) => ({ ...one }))
      .toSorted((a, b) => (a.type < b.type ? -1 : a.type > b.type ? 1 : a.outcome < b.outcome ? -1 : 1));
  }
}
