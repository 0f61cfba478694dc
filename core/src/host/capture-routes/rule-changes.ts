/**
 * Rules put into the kernel and taken out again. It compares only what a request says (rule_exists() and
 * fib_nl_delrule() in net/core/fib_rules.c): one without `from` or `to` is taken for any that has them and is the same
 * otherwise. A new one is then refused, although it is not there; and what is removed is the first that fits.
 */
import type { Family, Prefix } from '../../api/flow.ts';
import { comparePrefixes } from '../../capture/address.ts';
import { EEXIST, ENOENT } from '../../sys/errno.ts';
import { formatRule, listRules, type RoutingRule, ruleAddition, ruleRemoval } from '../../sys/netlink/rule.ts';
import { NetlinkError, type NetlinkSocket, settleAll } from '../../sys/netlink/socket.ts';

/** Adds what is not there. @throws NetlinkError; some of them may then be there. */
export function addRules(socket: NetlinkSocket, family: Family, rules: readonly RoutingRule[]): void {
  const outcome = socket.settle(rules.map((rule) => ruleAddition(rule)));
  const refused = outcome.find((error) => error && !(error instanceof NetlinkError && error.errno === EEXIST));
  if (refused) throw refused;
  const doubtful = rules.filter((_, index) => outcome[index] !== undefined);
  if (doubtful.length > 0) addMissing(socket, family, doubtful);
}

/**
 * Removes rules and leaves others.
 * @param kept what has to be there afterwards
 * @throws NetlinkError
 */
export function dropRules(
  socket: NetlinkSocket,
  family: Family,
  rules: readonly RoutingRule[],
  kept: readonly RoutingRule[],
): void {
  settleAll(socket, rules.map(ruleRemoval), [ENOENT]);
  const ambiguous = ambiguousOf(rules, kept);
  if (ambiguous.length === 0) return;
  // What went in their place comes back behind them. Until then they still steer what it did: they say less.
  for (let tries = kept.length; tries >= 0; tries--) {
    addMissing(socket, family, kept);
    const listed = textsOf(socket, family);
    const left = ambiguous.filter((rule) => listed.has(formatRule(rule)));
    if (left.length === 0) return;
    settleAll(socket, left.map(ruleRemoval), [ENOENT]);
  }
}

/** Also where the kernel takes them for others. */
function addMissing(socket: NetlinkSocket, family: Family, rules: readonly RoutingRule[]): void {
  const listed = textsOf(socket, family);
  const missing = rules.filter((rule) => !listed.has(formatRule(rule)));
  settleAll(
    socket,
    missing.map((rule) => ruleAddition(rule, 'again')),
  );
}

function textsOf(socket: NetlinkSocket, family: Family): ReadonlySet<string> {
  return new Set(listRules(socket, family).map(formatRule));
}

/** Finds the rules of which a request to remove one may remove another. */
function ambiguousOf(rules: readonly RoutingRule[], others: readonly RoutingRule[]): readonly RoutingRule[] {
  const loose = rules.filter(({ from, to }) => from === undefined || to === undefined);
  if (loose.length === 0) return [];
  const byRest = Map.groupBy(others, textOfRest);
  return loose.filter((rule) =>
    byRest.get(textOfRest(rule))?.some((other) => fits(rule.from, other.from) && fits(rule.to, other.to)),
  );
}

function textOfRest({ from: _from, to: _to, ...rest }: RoutingRule): string {
  return formatRule(rest);
}

function fits(asked: Prefix | undefined, found: Prefix | undefined): boolean {
  return asked === undefined || (found !== undefined && comparePrefixes(asked, found) === 0);
}
