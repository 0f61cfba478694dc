/** Everything that can be compared. A new peer or backend is one more entry. */
import { UsageError } from '@weir/core';
import type { Candidate } from '../candidate.ts';
import { DIRECT } from './direct.ts';
import { HAPROXY } from './haproxy.ts';
import { NAIVE } from './naive.ts';
import { REDSOCKS } from './redsocks.ts';
import { V2RAY } from './v2ray.ts';
import { VARIANTS, weirCandidate } from './weir.ts';

/** The interceptors that the benchmark knows, as in `weir run --interceptor`. */
export const INTERCEPTORS: readonly string[] = ['nft', 'tproxy-iptables', 'ebpf-sklookup', 'tun', 'proxy'];

/** What is compared of Weir when nothing is named: everything that a target is about, and every mechanism. */
export const ALL_OF_WEIR: readonly string[] = [
  'nft',
  'nft+socks5',
  'tproxy-iptables',
  'ebpf-sklookup',
  'tun',
  'tun+mtu1500',
  'proxy',
];
export const QUICK_OF_WEIR: readonly string[] = ['nft'];

/** Other programs, compared when they are installed. */
export const PEERS: ReadonlyMap<string, Candidate> = new Map(
  [HAPROXY, REDSOCKS, V2RAY, NAIVE].map((peer) => [peer.id, peer]),
);

function weirsFor(id: string, against: string | undefined): readonly Candidate[] {
  const [interceptor = '', ...variants] = id.split('+');
  if (!INTERCEPTORS.includes(interceptor)) throw unknown('interceptor', interceptor, INTERCEPTORS);
  for (const variant of variants) {
    if (!Object.hasOwn(VARIANTS, variant)) throw unknown('variant', variant, Object.keys(VARIANTS));
  }
  const own = weirCandidate({ interceptor, variants });
  return against === undefined ? [own] : [own, weirCandidate({ interceptor, variants, other: against })];
}

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
    ...interceptors.flatMap((id) => weirsFor(id, against)),
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
