/** The capture points: TPROXY's, for the protocols that this interceptor announces. */
import { type HostFacts, type PointSpec, tproxyPoints } from '@weir/core';

export function pointsOn(facts: Pick<HostFacts, 'ipv6'>): readonly PointSpec[] {
  return tproxyPoints(facts, ['tcp']);
}
