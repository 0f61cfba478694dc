/** The capture points of TPROXY: transparent sockets on loopback addresses; a flow's own name is its destination. */
import type { Family, Protocol } from '../api/flow.ts';
import type { HostFacts } from '../api/host.ts';
import type { PlanInput } from '../api/interceptor.ts';
import type { BoundPoint, PointSpec } from '../api/point.ts';

const LOOPBACK: Readonly<Record<Family, string>> = { 4: '127.0.0.1', 6: '::1' };

function pointSpec(family: Family, protocol: Protocol): PointSpec {
  return {
    id: `${protocol}${family}`,
    network: { family, protocol },
    bind: { address: LOOPBACK[family], port: 0 },
    transparent: true,
    original: { via: 'socket-name' },
  };
}

/** One point per family and protocol. Where IPv6 is off, nothing can be bound to ::1 and no IPv6 flow exists. */
export function tproxyPoints({ ipv6 }: Pick<HostFacts, 'ipv6'>, protocols: readonly Protocol[]): readonly PointSpec[] {
  const families: readonly Family[] = ipv6 ? [4, 6] : [4];
  return protocols.flatMap((protocol) => families.map((family) => pointSpec(family, protocol)));
}

/** The points that this machine can deliver to. */
export function usablePoints(input: Pick<PlanInput, 'points' | 'facts'>): readonly BoundPoint[] {
  return input.points.filter((point) => point.network.family === 4 || input.facts.ipv6);
}
