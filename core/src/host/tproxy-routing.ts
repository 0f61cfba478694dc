/**
 * The rules and routes that every TPROXY mechanism needs beside its own rules, as data: pure. Two tables out of the
 * owner's block.
 *
 *   numbers.table      everything is local: what carries the capture mark is delivered to this host
 *   numbers.table + 1  captured destinations by way of lo, asked after main and default: without a route connect() would
 *                      fail before any rule of ours sees the flow; `throw` for what is left out of them
 */
import type { CaptureRow } from '../api/capture.ts';
import type { Family, Prefix, Protocol } from '../api/flow.ts';
import type { PlanInput, PlanStep } from '../api/interceptor.ts';
import { parsePrefix, prefixBounds, prefixContains, widthOf } from '../capture/address.ts';
import { RegionMemo, regionsOf } from '../capture/regions.ts';
import { formatRoute, type Route } from '../sys/netlink/route.ts';
import { formatRule, type RoutingRule } from '../sys/netlink/rule.ts';
import { usablePoints } from './tproxy-points.ts';

/** The loopback device has index 1 in every network namespace (include/net/net_namespace.h, LOOPBACK_IFINDEX). */
const LOOPBACK_IFINDEX = 1;

/** A source for local flows that have no route of their own, where the host has no global address. */
const ANY_SOURCE = '127.0.0.1';

export interface TproxyRouting {
  readonly rules: readonly RoutingRule[];
  /** Never changes while Weir runs. */
  readonly delivery: readonly Route[];
  /** Follows the capture set. */
  readonly fallback: readonly Route[];
}

const EVERYWHERE: Readonly<Record<Family, Prefix>> = { 4: parsePrefix('0.0.0.0/0'), 6: parsePrefix('::/0') };

/** Never looked for in any table but `local`. */
const LOOPBACK: readonly Prefix[] = [parsePrefix('127.0.0.0/8'), parsePrefix('::1/128')];

/** The families that there is a capture point for. */
export function tproxyFamilies(input: PlanInput): readonly Family[] {
  const used = new Set(usablePoints(input).map((point) => point.network.family));
  return ([4, 6] as const).filter((family) => used.has(family));
}

export function deliveryTable(input: Pick<PlanInput, 'numbers'>): number {
  return input.numbers.table;
}

export function fallbackTable(input: Pick<PlanInput, 'numbers'>): number {
  return input.numbers.table + 1;
}

/** The rules, routes of both tables and both families that an input calls for. */
export function tproxyRouting(input: PlanInput): TproxyRouting {
  const { numbers, set } = input;
  const protocol = numbers.protocolId;
  const rules: RoutingRule[] = [];
  const delivery: Route[] = [];
  for (const family of tproxyFamilies(input)) {
    delivery.push({
      type: 'local',
      destination: EVERYWHERE[family],
      table: deliveryTable(input),
      device: LOOPBACK_IFINDEX,
      protocol,
    });
    rules.push({
      family,
      preference: numbers.preference,
      table: deliveryTable(input),
      fwmark: { value: numbers.captureMark, mask: numbers.mask },
      protocol,
    });
    if (!set.scopes.output) continue;
    rules.push({
      family,
      preference: numbers.preferenceBehindMain,
      table: fallbackTable(input),
      fwmark: { value: 0, mask: numbers.bypassMark },
      iif: 'lo',
      protocol,
    });
  }
  return { rules, delivery, fallback: [...fallbackRoutes(input).values()] };
}

/** The routes of the second table by their keys; see {@link routeKey}. */
export function fallbackRoutes(input: PlanInput): Map<string, Route> {
  const routes = new Map<string, Route>();
  if (input.set.scopes.output) for (const family of tproxyFamilies(input)) addFallback(routes, input, family);
  return routes;
}

/** Routes of whole regions: what is the same as before are the same objects. */
const KNOWN = new RegionMemo<ReadonlyArray<readonly [key: string, route: Route]>>();

function addFallback(routes: Map<string, Route>, input: PlanInput, family: Family): void {
  const { numbers, facts, set } = input;
  const protocol = numbers.protocolId;
  const table = fallbackTable(input);
  const protocols = protocolsOf(input, family);
  // IPv6 finds a source by itself; in IPv4 the source would become 0.0.0.0.
  const source = family === 4 ? { source: facts.globalIpv4 ?? ANY_SOURCE } : {};
  const own = new Set(
    facts.ownAddresses.map((text) => parsePrefix(text)).flatMap((one) => (one.family === family ? [one.address] : [])),
  );
  const isElsewhere = ({ prefix }: CaptureRow) =>
    !(prefix.length === widthOf(family) && own.has(prefix.address)) &&
    !LOOPBACK.some((loopback) => prefixContains(loopback, family, prefix.address));
  const routesOf = KNOWN.under([family, table, protocol, source.source, ...protocols, ...own].join(' '), ({ rows }) =>
    reach(rows.filter(isElsewhere), protocols).map(({ destination, steered }) => {
      const route: Route = steered
        ? { type: 'unicast', destination, table, device: LOOPBACK_IFINDEX, ...source, protocol }
        : { type: 'throw', destination, table, protocol };
      return [routeKey(route), route] as const;
    }),
  );
  for (const region of regionsOf(set, family)) for (const [key, route] of routesOf(region)) routes.set(key, route);
}

function protocolsOf(input: PlanInput, family: Family): ReadonlySet<Protocol> {
  const networks = usablePoints(input).map((point) => point.network);
  return new Set(networks.filter((network) => network.family === family).map((network) => network.protocol));
}

function isSteered({ ports }: CaptureRow, protocols: ReadonlySet<Protocol>): boolean {
  return ports.some(
    ({ protocol, choices }) => protocols.has(protocol) && choices.some(({ verdict }) => verdict !== 'spare'),
  );
}

/**
 * Which destinations have anything steered, as the fewest routes that say so under longest-prefix match. Rows are of one
 * family, sorted by address and then length.
 */
function reach(
  rows: readonly CaptureRow[],
  protocols: ReadonlySet<Protocol>,
): ReadonlyArray<{ readonly destination: Prefix; readonly steered: boolean }> {
  const routes: Array<{ destination: Prefix; steered: boolean }> = [];
  const around: Array<{ last: bigint; steered: boolean }> = [];
  for (const row of rows) {
    const [first, last] = prefixBounds(row.prefix);
    while (around.length > 0 && (around.at(-1)?.last ?? 0n) < first) around.pop();
    const steered = isSteered(row, protocols);
    if ((around.at(-1)?.steered ?? false) === steered) continue;
    routes.push({ destination: row.prefix, steered });
    around.push({ last, steered });
  }
  return routes;
}

/** What makes them, in the notation of ip(8): one step for each family. */
export function routingSteps(input: PlanInput): readonly PlanStep[] {
  const { rules, delivery, fallback } = tproxyRouting(input);
  return tproxyFamilies(input).map((family): PlanStep => {
    const routes = [...delivery, ...fallback].filter((route) => route.destination.family === family);
    const lines = [
      ...routes.map((route) => `route add ${describeRoute(route)}`),
      ...rules.filter((rule) => rule.family === family).map((rule) => `rule add ${formatRule(rule)}`),
    ];
    return { tool: family === 4 ? 'ip' : 'ip -6', text: `${lines.join('\n')}\n` };
  });
}

/** In the notation of ip-route(8); the device of all our routes is lo. */
export function describeRoute(route: Route): string {
  return formatRoute(route, 'lo');
}

/** Equal exactly for routes that the kernel takes for the same and that do the same. */
export function routeKey(route: Pick<Route, 'destination' | 'source' | 'table'> & { readonly type: string }): string {
  const { family, address, length } = route.destination;
  return `${route.table} ${route.type} ${family} ${address}/${length} ${route.source ?? ''}`;
}
