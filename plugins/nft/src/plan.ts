/** What `start` makes, as text in the notation of nft(8) and ip(8). Pure. */
import type { Family, Plan, PlanInput, PlanStep } from '@weir/core';
import { formatRule } from '@weir/core/sys';
import { type NftChain, type NftRule, type NftStatement, renderTable } from './nftables-json/index.ts';
import { describeRoute, families, routingOf } from './routing.ts';
import { kernelSet, type TableContent, tableOf } from './table.ts';

/** A rule with its place, as JSON has it. */
export function ruleOf(chain: NftChain, expr: readonly NftStatement[]): NftRule {
  return { family: chain.family, table: chain.table, chain: chain.name, expr };
}

/** The table as `nft -f` reads it. */
export function tableText({ table, sets, chains }: TableContent): string {
  return renderTable({
    family: 'inet',
    table,
    sets: sets.flatMap((set) => set.shards.map((shard) => kernelSet(table, set, shard))),
    chains: chains.map(({ chain, rules }) => ({ chain, rules: rules.map((expr) => ruleOf(chain, expr)) })),
  });
}

function ipStep(input: PlanInput, family: Family): PlanStep {
  const { rules, delivery, fallback } = routingOf(input);
  const routes = [...delivery, ...fallback].filter((route) => route.destination.family === family);
  const lines = [
    ...routes.map((route) => `route add ${describeRoute(route)}`),
    ...rules.filter((rule) => rule.family === family).map((rule) => `rule add ${formatRule(rule)}`),
  ];
  return { tool: family === 4 ? 'ip' : 'ip -6', text: `${lines.join('\n')}\n` };
}

const OWNED = '# Made with "flags owner" where the kernel has it: the table goes with the process that made it.\n';

/** Routes and rules first, the table last: nothing is steered before it can arrive. */
export function planOf(input: PlanInput): Plan {
  const text = tableText(tableOf(input));
  return {
    interceptor: 'nft',
    steps: [
      ...families(input).map((family) => ipStep(input, family)),
      { tool: 'nft', text: input.onCrash === 'open' ? `${OWNED}${text}` : text },
    ],
  };
}
