/** Transactions on our table as lists of commands: pure. Each list is applied whole or not at all. */
import type { NftCommand, NftExpression } from './nftables-json/index.ts';
import { ruleOf } from './plan.ts';
import { kernelSet, type PlacedSet, type Shard, type TableChain, type TableContent } from './table.ts';

export function createTable(table: string): NftCommand {
  // `create` and not `add`: a table that exists already is not ours to fill.
  return { create: { table: { family: 'inet', name: table } } };
}

export function deleteTable(table: string): NftCommand {
  return { delete: { table: { family: 'inet', name: table } } };
}

export function addSet(table: string, set: Omit<PlacedSet, 'shards'>, shard: Shard): NftCommand {
  return { add: { set: kernelSet(table, set, shard) } };
}

export function deleteSet(table: string, name: string): NftCommand {
  return { delete: { set: { family: 'inet', table, name } } };
}

export function changeElements(
  table: string,
  name: string,
  added: readonly NftExpression[],
  removed: readonly NftExpression[],
): readonly NftCommand[] {
  const at = { family: 'inet', table, name } as const;
  return [
    ...(removed.length > 0 ? [{ delete: { element: { ...at, elem: removed } } }] : []),
    ...(added.length > 0 ? [{ add: { element: { ...at, elem: added } } }] : []),
  ];
}

export function addChain({ chain }: TableChain): NftCommand {
  return { add: { chain } };
}

export function deleteChain({ family, table, name }: TableChain['chain']): NftCommand {
  return { delete: { chain: { family, table, name } } };
}

export function flushChain({ family, table, name }: TableChain['chain']): NftCommand {
  return { flush: { chain: { family, table, name } } };
}

export function addRules({ chain, rules }: TableChain): readonly NftCommand[] {
  return rules.map((expr) => ({ add: { rule: ruleOf(chain, expr) } }));
}

/** Everything inside an empty table. */
export function fillTable({ table, sets, chains }: TableContent): readonly NftCommand[] {
  return [
    ...sets.flatMap((set) => set.shards.map((shard) => addSet(table, set, shard))),
    ...chains.map(addChain),
    ...chains.flatMap(addRules),
  ];
}
