/** What `start` makes, as text in the notation of nft(8) and ip(8). Pure. */
import { type Plan, type PlanInput, routingSteps } from '@weir/core';
import { type NftChain, type NftRule, type NftStatement, renderTable } from './nftables-json/index.ts';
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

const OWNED = '# Made with "flags owner" where the kernel has it: the table goes with the process that made it.\n';

/** Routes and rules first, the table last: nothing is steered before it can arrive. */
export function planOf(input: PlanInput): Plan {
  const text = tableText(tableOf(input));
  return {
    interceptor: 'nft',
    steps: [...routingSteps(input), { tool: 'nft', text: input.onCrash === 'open' ? `${OWNED}${text}` : text }],
  };
}
