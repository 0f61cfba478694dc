/** The kernel's routing as it answers, in a few lines, for comparison with `decide`. */
import type { Family, FlowKey, Prefix } from '../../src/api/flow.ts';
import { prefixContains } from '../../src/capture/address.ts';
import type { TableRoutes } from '../../src/host/capture-routes/routing.ts';
import { IPPROTO_TCP, IPPROTO_UDP, type RoutingRule } from '../../src/sys/index.ts';

/** The longest prefix around an address. */
function longest<T extends { readonly prefix: Prefix }>(
  all: Iterable<T>,
  family: Family,
  address: bigint,
): T | undefined {
  let found: T | undefined;
  for (const each of all) {
    if (!prefixContains(each.prefix, family, address)) continue;
    if (!found || each.prefix.length > found.prefix.length) found = each;
  }
  return found;
}

/** Rules and tables of one family, in whatever state they are. */
export interface RoutingState {
  readonly rules: readonly RoutingRule[];
  readonly tables: ReadonlyMap<number, TableRoutes>;
}

export interface Unbound extends Pick<FlowKey, 'family' | 'protocol' | 'destination' | 'port'> {
  readonly mark?: number;
  readonly uid?: number;
  /** Absent: not chosen yet. */
  readonly source?: bigint;
}

function matches(rule: RoutingRule, flow: Unbound): boolean {
  const { from, to, fwmark, iif, uids, ipProtocol, ports } = rule;
  const hasSource = flow.source !== undefined;
  const isFrom =
    !from ||
    (flow.family === 4
      ? prefixContains(from, 4, flow.source ?? 0n)
      : hasSource && prefixContains(from, 6, flow.source ?? 0n));
  const all =
    isFrom &&
    (!to || prefixContains(to, flow.family, flow.destination)) &&
    (!fwmark || ((flow.mark ?? 0) & fwmark.mask) === fwmark.value) &&
    (iif === undefined || iif === 'lo') &&
    (!uids || (uids.first <= (flow.uid ?? 0) && (flow.uid ?? 0) <= uids.last)) &&
    (ipProtocol === undefined || ipProtocol === (flow.protocol === 'tcp' ? IPPROTO_TCP : IPPROTO_UDP)) &&
    (!ports || (ports.first <= flow.port && flow.port <= ports.last));
  return all !== (rule.not ?? false);
}

/** Whether our rules bring a local flow to this host, asked as the kernel asks them. fib_rules_lookup(). */
export function steeredByRules({ rules, tables }: RoutingState, flow: Unbound): boolean {
  const ordered = rules.toSorted((a, b) => a.preference - b.preference);
  let from = 0;
  for (const rule of ordered) {
    if (rule.preference < from || rule.action === 'nop' || !matches(rule, flow)) continue;
    if (rule.action) {
      from = rule.action.goto;
      continue;
    }
    const route = longest(tables.get(rule.table)?.values() ?? [], flow.family, flow.destination);
    if (route?.steered) return true;
  }
  return false;
}
