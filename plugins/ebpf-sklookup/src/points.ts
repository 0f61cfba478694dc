/** The capture points: transparent sockets on loopback addresses, to which the program gives flows. */
import { type HostFacts, type PointSpec, tproxyPoints } from '@weir/core';

// Transparent: in IPv4 the answer to a SYN has no route from an address that is only in our tables.
export function pointsOn(facts: Pick<HostFacts, 'ipv6'>): readonly PointSpec[] {
  return tproxyPoints(facts);
}
