/** The capture points of TPROXY: transparent sockets on loopback addresses; a flow's own name is its destination. */
import type { Family, Protocol } from '../api/flow.ts';
import type { HostFacts } from '../api/host.ts';
import type { Capabilities, PlanInput } from '../api/interceptor.ts';
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

const FAMILIES: readonly Family[] = [4, 6];
const PROTOCOLS: readonly Protocol[] = ['tcp', 'udp'];

/** What TPROXY can do, whoever makes the rules. */
export const TPROXY_CAPABILITIES: Capabilities = {
  networks: PROTOCOLS.flatMap((protocol) => FAMILIES.map((family) => ({ family, protocol }))),
  scopes: ['output', 'forward'],
  transparent: true,
  preservesSource: true,
  owners: ['uid', 'gid', 'cgroup'],
};

/** One point per family and protocol. Where IPv6 is off, nothing can be bound to ::1 and no IPv6 flow exists. */
export function tproxyPoints({ ipv6 }: Pick<HostFacts, 'ipv6'>): readonly PointSpec[] {
  const networks = TPROXY_CAPABILITIES.networks.filter(({ family }) => family === 4 || ipv6);
  return networks.map(({ family, protocol }) => pointSpec(family, protocol));
}

/** The points that this machine can deliver to. */
export function usablePoints(input: Pick<PlanInput, 'points' | 'facts'>): readonly BoundPoint[] {
  return input.points.filter((point) => point.network.family === 4 || input.facts.ipv6);
}
