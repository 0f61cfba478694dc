/** What this mechanism cannot do, said before anything is changed. */
import { formatPrefix, type PlanInput, UnsupportedError } from '@weir/core';
import { isNamedOwn, type MapContent } from './map-content.ts';

/** @throws UnsupportedError naming the limit. */
export function refuseUnsupported({ set }: PlanInput, content: MapContent): void {
  if (set.scopes.forward) {
    throw new UnsupportedError({
      problem: 'The interceptor ebpf-sklookup does not steer forwarded traffic yet.',
      remedy: 'Forward comes later; leave `forward` out of `capture.scopes`.',
    });
  }
  const named = namedOwnAddresses(content);
  if (named.length > 0 && set.owners.only.length + set.owners.except.length > 0) {
    throw new UnsupportedError({
      problem: `The interceptor ebpf-sklookup cannot choose users for ${named[0]}, which is an address of this host.`,
      remedy: 'Leave the address out, do not choose users, or use the interceptor nft.',
    });
  }
}

/** Prefixes of this host's own addresses that something is steered of. */
export function namedOwnAddresses({ prefixes }: MapContent): readonly string[] {
  return [...prefixes.values()].filter(isNamedOwn).map(({ prefix }) => formatPrefix(prefix));
}
