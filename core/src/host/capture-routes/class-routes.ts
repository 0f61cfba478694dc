/** How the routes of a class are written for the kernel. Pure. */
import type { Family } from '../../api/flow.ts';
import type { HostNumbers } from '../../api/host.ts';
import { formatRoute, type Route } from '../../sys/netlink/route.ts';
import { formatRule } from '../../sys/netlink/rule.ts';
import type { OwnSources } from './own-sources.ts';
import type { ClassRoute } from './route-class.ts';
import type { FamilyRouting } from './routing.ts';

export interface ClassRouteStyle {
  /** `local`: delivered to this host (sk_lookup). `unicast`: sent to the device (tun). */
  readonly type: 'local' | 'unicast';
  /** Index of the device that routes hang on: they go with it. */
  readonly device: number;
  readonly source: OwnSources;
}

export function classRoute(
  table: number,
  { prefix, steered }: ClassRoute,
  protocol: number,
  { type, device, source }: ClassRouteStyle,
): Route {
  const common = { destination: prefix, table, protocol };
  return steered ? { type, ...common, device, source: source[prefix.family] } : { type: 'throw', ...common };
}

/** Routes and rules of a family as commands of ip(8), for `weir plan`. */
export function routingLines(
  { tables, rules }: FamilyRouting,
  { protocolId }: Pick<HostNumbers, 'protocolId'>,
  { device, ...how }: Omit<ClassRouteStyle, 'device'> & { readonly device: string },
): readonly string[] {
  const routes = [...tables].flatMap(([table, entries]) =>
    [...entries.values()].map((entry) => classRoute(table, entry, protocolId, { ...how, device: 1 })),
  );
  return [
    ...routes.map((route) => `route add ${formatRoute(route, device)}`),
    ...rules.map((rule) => `rule add ${formatRule(rule)}`),
  ];
}

/** The program that an operator would use for a family. */
export function ipTool(family: Family): 'ip' | 'ip -6' {
  return family === 6 ? 'ip -6' : 'ip';
}
