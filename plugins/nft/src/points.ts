/** The capture points of nft: those of every TPROXY mechanism, for both protocols. */
import { type HostFacts, type PointSpec, tproxyPoints } from '@weir/core';

export function pointsOn(facts: Pick<HostFacts, 'ipv6'>): readonly PointSpec[] {
  return tproxyPoints(facts, ['tcp', 'udp']);
}
