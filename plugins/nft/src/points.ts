/** The capture points of TPROXY: transparent listeners on loopback addresses; a flow's own name is its destination. */
import type { Family, HostFacts, PointSpec, Protocol } from '@weir/core';

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

/** Where IPv6 is off, nothing can be bound to ::1 and no IPv6 flow exists. */
export function pointsOn({ ipv6 }: Pick<HostFacts, 'ipv6'>): readonly PointSpec[] {
  const families: readonly Family[] = ipv6 ? [4, 6] : [4];
  return (['tcp', 'udp'] as const).flatMap((protocol) => families.map((family) => pointSpec(family, protocol)));
}
