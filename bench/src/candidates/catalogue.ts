/** Everything that can be compared. A new peer or backend is one more entry. */
import { UsageError } from '@weir/core';
import type { Candidate } from '../candidate.ts';
import { DIRECT } from './direct.ts';
import { HAPROXY } from './haproxy.ts';
import { weirCandidate } from './weir.ts';

/** The interceptors that the benchmark knows, as in `weir run --interceptor`. */
export const INTERCEPTORS: readonly string[] = ['nft', 'tproxy-iptables', 'ebpf-sklookup', 'tun'];

/** Other programs, compared when they are installed. */
export const PEERS: ReadonlyMap<string, Candidate> = new Map([[HAPROXY.id, HAPROXY]]);

/**
 * The candidates in the order in which they are shown: not intercepted, Weir's, the peers. `against` is another checkout.
 * @throws UsageError for a name that is not known.
 */
export function candidatesFor(
  interceptors: readonly string[],
  peers: readonly string[],
  against?: string,
): readonly Candidate[] {
  return [
    DIRECT,
    ...interceptors.flatMap((id) => {
      if (!INTERCEPTORS.includes(id)) throw unknown('interceptor', id, INTERCEPTORS);
      return against === undefined ? [weirCandidate(id)] : [weirCandidate(id), weirCandidate(id, against)];
    }),
    ...peers.map((id) => {
      const peer = PEERS.get(id);
      if (peer !== undefined) return peer;
      throw unknown('peer', id, [...PEERS.keys()]);
    }),
  ];
}

function unknown(what: string, id: string, known: readonly string[]): UsageError {
  return new UsageError({
    problem: `The benchmark knows no ${what} "${id}".`,
    remedy: `Known: ${known.join(', ')}.`,
  });
}
