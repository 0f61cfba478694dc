/** From `nft -j -a list table` to chains. libnftables-json(5). */
import type { Condition, FirewallChain, FirewallRule, MarkChange, Verdict } from './firewall.ts';

type Json = Readonly<Record<string, unknown>>;

const ALL = 0xffff_ffff;
/** Tables of these names in the families ip and ip6 are those of iptables, which has its own words for them. */
const IPTABLES = /^ip6? (?:filter|nat|mangle|raw|security)$/;

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isMark(value: unknown): boolean {
  const key = isObject(value) ? (value['meta'] ?? value['ct']) : undefined;
  return isObject(key) && key['key'] === 'mark';
}

/** A text, a list of texts, or a set of texts. */
function textsOf(value: unknown): readonly string[] | undefined {
  const list = isObject(value) && Array.isArray(value['set']) ? (value['set'] as unknown[]) : value;
  const texts: readonly unknown[] = Array.isArray(list) ? list : [list];
  return texts.every((text) => typeof text === 'string') ? texts : undefined;
}

function conditionOf(match: Json): Condition {
  const { op, left, right } = match;
  const negated = op === '!=';
  if (!isObject(left)) return { kind: 'other' };
  const key = (part: string) => (isObject(left[part]) ? left[part]['key'] : undefined);
  const texts = textsOf(right);
  if ((key('meta') === 'iif' || key('meta') === 'iifname') && texts) return { kind: 'device', names: texts, negated };
  if (key('ct') === 'state' && texts) return { kind: 'state', states: texts, negated };
  if (key('meta') === 'l4proto' && texts?.includes('tcp') && !negated) return { kind: 'tcp' };
  const mark = markTest(left, right);
  return mark === undefined ? { kind: 'other' } : { kind: 'mark', ...mark, negated };
}

function markTest(left: Json, right: unknown): { readonly mask: number; readonly value: number } | undefined {
  if (typeof right !== 'number') return undefined;
  if (isMark(left)) return { mask: ALL, value: right };
  const operands = left['&'];
  if (!Array.isArray(operands) || !isMark(operands[0]) || typeof operands[1] !== 'number') return undefined;
  return { mask: operands[1], value: right };
}

/** What `mark set <value>` does to the bits. */
function changeOf(value: unknown): MarkChange {
  if (typeof value === 'number') return { sets: value, clears: ~value >>> 0 };
  // Another mark, whose bits nobody knows: those of a connection that Weir did not mark are 0.
  if (!isObject(value)) return { sets: 0, clears: ALL };
  if (isMark(value)) return { sets: 0, clears: 'ct' in value ? ALL : 0 };
  for (const [operator, operands] of Object.entries(value)) {
    if (!Array.isArray(operands) || typeof operands[1] !== 'number') continue;
    const before = changeOf(operands[0]);
    const bits = operands[1];
    if (operator === '&') return { sets: (before.sets & bits) >>> 0, clears: (before.clears | ~bits) >>> 0 };
    if (operator === '|' || operator === '^') {
      return { sets: (before.sets | bits) >>> 0, clears: (before.clears & ~bits) >>> 0 };
    }
  }
  return { sets: 0, clears: ALL };
}

function verdictOf(statement: Json): Verdict | undefined {
  if ('accept' in statement) return 'accept';
  if ('drop' in statement || 'reject' in statement) return 'drop';
  if ('return' in statement) return 'return';
  for (const kind of ['jump', 'goto'] as const) {
    const target = isObject(statement[kind]) ? statement[kind]['target'] : undefined;
    if (typeof target === 'string') return kind === 'jump' ? { jump: target } : { goto: target };
  }
  return undefined;
}

function ruleOf(rule: Json): FirewallRule {
  const conditions: Condition[] = [];
  const changes: MarkChange[] = [];
  const compares: number[] = [];
  let verdict: Verdict | undefined;
  let [tproxy, notrack] = [false, false];
  const expressions = Array.isArray(rule['expr']) ? rule['expr'].filter(isObject) : [];
  for (const statement of expressions) {
    const { match, mangle } = statement;
    if (isObject(match)) {
      const condition = conditionOf(match);
      conditions.push(condition);
      if (condition.kind === 'mark') compares.push(condition.value);
    } else if (isObject(mangle)) {
      const { key, value } = mangle;
      // What becomes of a connection's mark is the connection's affair until it is copied back.
      if (isMark(key) && isObject(key) && 'meta' in key) changes.push(changeOf(value));
    } else if (!('counter' in statement)) {
      const found = verdictOf(statement);
      verdict ??= found;
      tproxy ||= 'tproxy' in statement;
      notrack ||= 'notrack' in statement;
      // A verdict map, a limit, an extension of iptables.
      if (found === undefined && /"(?:vmap|limit|xt|lookup)"/.test(JSON.stringify(statement))) {
        conditions.push({ kind: 'other' });
      }
    }
  }
  const place = `${String(rule['family'])} ${String(rule['table'])} ${String(rule['chain'])}`;
  return {
    conditions,
    ...(verdict === undefined ? {} : { verdict }),
    changes,
    compares,
    tproxy,
    notrack,
    text: `rule ${String(rule['handle'])} of ${place}`,
    removal: `nft delete rule ${place} handle ${String(rule['handle'])}`,
  };
}

/**
 * @param json output of `nft -j -a list table` or `list ruleset`
 * @param withIptables whether tables of iptables are wanted too
 * @throws SyntaxError when it is no JSON
 */
export function parseNft(json: string, withIptables: boolean): readonly FirewallChain[] {
  const { nftables } = JSON.parse(json) as { readonly nftables?: readonly unknown[] };
  const entries = (nftables ?? []).filter(isObject);
  const objects = (kind: string) => entries.map((entry) => entry[kind]).filter(isObject);
  const rules = objects('rule');
  const wanted = (family: unknown, table: unknown) =>
    withIptables || !IPTABLES.test(`${String(family)} ${String(table)}`);
  return objects('chain')
    .filter(({ family, table }) => wanted(family, table))
    .map(({ family, table, name, hook, policy }): FirewallChain => {
      const owner = /^weir_(.+)$/.exec(String(table))?.[1];
      const place = `${String(family)} ${String(table)} ${String(name)}`;
      return {
        table: `nft ${String(family)} ${String(table)}`,
        name: String(name),
        ...(owner === undefined ? {} : { owner }),
        ...(typeof hook === 'string' ? { hook } : {}),
        ...(policy === 'drop' || policy === 'accept' ? { policy } : {}),
        rules: rules
          .filter((rule) => rule['family'] === family && rule['table'] === table && rule['chain'] === name)
          .map(ruleOf),
        acceptLoopback: `nft insert rule ${place} iifname lo accept`,
      };
    });
}
