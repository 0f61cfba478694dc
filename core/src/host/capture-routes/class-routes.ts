/** How the routes of a class are written for the kernel. Pure. */
import type { Family } from '../../api/flow.ts';
import type { PlanInput } from '../../api/interceptor.ts';
import { formatRoute, type Route } from '../../sys/netlink/route.ts';
import { formatRule } from '../../sys/netlink/rule.ts';
import type { ClassRoute } from './route-class.ts';
import type { FamilyRouting, OwnSources } from './routing.ts';

export interface ClassRouteStyle {
  /** `local`: delivered to this host (sk_lookup). `unicast`: sent to the device (tun). */
  readonly type: 'local' | 'unicast';
  /** Index of the device that routes hang on: they go with it. */
  readonly device: number;
  readonly source: OwnSources;
  /** Behind each of them stands a route that refuses: what is captured stays blocked when the device is gone. */
  readonly guarded: boolean;
}

/** Behind the metric of any steering route: 0 in IPv4, 1024 in IPv6. */
const GUARD_METRIC = 4096;

export function steeringRoute(
  table: number,
  { prefix, steered }: ClassRoute,
  protocol: number,
  { type, device, source }: ClassRouteStyle,
): Route {
  const common = { destination: prefix, table, protocol };
  return steered ? { type, ...common, device, source: source[prefix.family] } : { type: 'throw', ...common };
}

export function guardRoute(table: number, { prefix }: ClassRoute, protocol: number): Route {
  return { type: 'unreachable', destination: prefix, table, metric: GUARD_METRIC, protocol };
}

/** Routes and rules of a family as commands of ip(8), for `weir plan`. */
export function routingLines(
  { tables, rules }: FamilyRouting,
  { numbers, onCrash }: Pick<PlanInput, 'numbers' | 'onCrash'>,
  how: {
    readonly type: ClassRouteStyle['type'];
    readonly device: string;
    readonly source: OwnSources;
    readonly guards: boolean;
  },
): readonly string[] {
  const style: ClassRouteStyle = {
    type: how.type,
    device: 1,
    source: how.source,
    guarded: how.guards && onCrash === 'closed',
  };
  const routes = [...tables].flatMap(([table, entries]) =>
    [...entries.values()].flatMap((entry) => [
      ...(entry.steered && style.guarded ? [guardRoute(table, entry, numbers.protocolId)] : []),
      steeringRoute(table, entry, numbers.protocolId, style),
    ]),
  );
  return [
    ...routes.map((route) => `route add ${formatRoute(route, how.device)}`),
    ...rules.map((rule) => `rule add ${formatRule(rule)}`),
  ];
}

/** The program that an operator would use for a family. */
export function ipTool(family: Family): 'ip' | 'ip -6' {
  return family === 6 ? 'ip -6' : 'ip';
}
