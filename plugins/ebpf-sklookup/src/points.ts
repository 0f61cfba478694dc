/** The capture points: listeners that the program gives flows to; a flow's own name is its destination. */
import type { Family, HostFacts, PointSpec } from '@weir/core';

const LOOPBACK: Readonly<Record<Family, string>> = { 4: '127.0.0.1', 6: '::1' };

// Transparent: in IPv4 the answer to a SYN has no route from an address that is only in our tables.
function pointSpec(family: Family): PointSpec {
  return {
    id: `tcp${family}`,
    network: { family, protocol: 'tcp' },
    bind: { address: LOOPBACK[family], port: 0 },
    transparent: true,
    original: { via: 'socket-name' },
  };
}

/** Where IPv6 is off, nothing can be bound to ::1 and no IPv6 flow exists. */
export function pointsOn({ ipv6 }: Pick<HostFacts, 'ipv6'>): readonly PointSpec[] {
  return ipv6 ? [pointSpec(4), pointSpec(6)] : [pointSpec(4)];
}
