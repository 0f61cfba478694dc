/** What this mechanism cannot do, said before anything is changed. */
import { formatPrefix, type PlanInput, UnsupportedError } from '@weir/core';
import { isNamedOwn, type MapContent } from './map-content.ts';

/** @throws UnsupportedError naming the limit. */
export function refuseUnsupported({ set }: PlanInput, content: MapContent): void {
  const named = namedOwnAddresses(content);
  if (named.length > 0 && set.owners.only.length + set.owners.except.length > 0) {
    throw new UnsupportedError({
      problem: `The interceptor ebpf-sklookup cannot choose users for ${named[0]}, which is an address of this host.`,
      remedy: 'Leave the address out, do not choose users, or use the interceptor nft.',
    });
  }
  if (named.length > 0 && set.scopes.forward) {
    throw new UnsupportedError({
      problem: `The interceptor ebpf-sklookup cannot capture what others send to ${named[0]}, an address of this host: no rule is asked for it.`,
      remedy:
        'Leave the address out of `services`, or `forward` out of `capture.scopes`; or use the interceptor nft or tproxy-iptables.',
    });
  }
}

/** Prefixes of this host's own addresses that something is steered of. */
export function namedOwnAddresses({ prefixes, ownAddresses }: MapContent): readonly string[] {
  if (ownAddresses.length === 0) return [];
  return [...prefixes.values()].filter(isNamedOwn).map(({ prefix }) => formatPrefix(prefix));
}
