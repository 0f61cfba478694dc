/**
 * From one content of the table to the next in one transaction: pure. Small differences of a set are elements, larger
 * ones a new set beside the old one and then in its place; a set is never flushed (that takes the kernel seconds).
 */
import type { Box } from '@weir/core';
import { addChain, addRules, addSet, changeElements, deleteChain, deleteSet, flushChain } from './commands.ts';
import { elementOf, type ElementSet, setId } from './elements.ts';
import type { NftCommand } from './nftables-json/index.ts';
import { place, type PlacedSet, type Shard, SHARD_SIZE, type TableChain, type TableContent } from './table.ts';

/** More changed elements than this in one set: swap it. Deleting one takes up to 13 ms in a full shard. */
const ELEMENT_CHANGES = 8;

/** How much an element set may outgrow its kernel sets before they are made anew. */
const SLACK = 200;

interface SetChange {
  readonly sets: readonly PlacedSet[];
  readonly before: readonly NftCommand[];
  readonly after: readonly NftCommand[];
}

/** Like the old shards, with the difference in them; `undefined` when a swap is better. */
function inPlace(table: string, old: PlacedSet, wanted: ElementSet): SetChange | undefined {
  const added: Array<readonly [string, Box]> = [];
  for (const entry of wanted.elements) {
    if (old.shards.some((shard) => shard.elements.has(entry[0]))) continue;
    if (added.push(entry) > ELEMENT_CHANGES) return undefined;
  }
  const gone = old.shards.map(({ elements }) => {
    const keys: string[] = [];
    for (const key of elements.keys()) if (!wanted.elements.has(key)) keys.push(key);
    return keys;
  });
  const changes = added.length + gone.reduce((sum, keys) => sum + keys.length, 0);
  if (changes === 0) return { sets: [old], before: [], after: [] };
  if (changes > ELEMENT_CHANGES) return undefined;
  const element = (box: Box) => elementOf(old.family, box);
  const deletions: NftCommand[] = [];
  const shards = old.shards.map(({ name, elements }, place) => {
    const keys = gone[place] ?? [];
    if (keys.length === 0) return { name, elements };
    const left = new Map(elements);
    const removed = keys.flatMap((key) => elements.get(key) ?? []);
    for (const key of keys) left.delete(key);
    deletions.push(...changeElements(table, name, [], removed.map(element)));
    return { name, elements: left };
  });
  const target = shards.toSorted((a, b) => a.elements.size - b.elements.size)[0];
  if (!target || target.elements.size + added.length > SHARD_SIZE + SLACK) return undefined;
  const elements = new Map(target.elements);
  for (const [key, box] of added) elements.set(key, box);
  const filled = { ...target, elements };
  // Deletions first: what is added may overlap what goes.
  const additions = changeElements(
    table,
    target.name,
    added.map(([, box]) => element(box)),
    [],
  );
  return {
    sets: [{ ...old, shards: shards.map((shard) => (shard === target ? filled : shard)) }],
    before: [...deletions, ...additions],
    after: [],
  };
}

function swapped(table: string, old: PlacedSet | undefined, wanted: ElementSet | undefined, suffix: string): SetChange {
  const set = wanted && place(wanted, suffix);
  return {
    sets: set ? [set] : [],
    before: set ? set.shards.map((shard) => addSet(table, set, shard)) : [],
    after: old ? old.shards.map((shard) => deleteSet(table, shard.name)) : [],
  };
}

// A generation comes twice when only facts of the host changed.
function freeSuffix(sets: readonly PlacedSet[], generation: number): string {
  const used = new Set(sets.flatMap((set) => set.shards.map((shard: Shard) => shard.name.split('_')[1])));
  for (let round = 0; ; round++) {
    const suffix = `g${generation}${round === 0 ? '' : `r${round}`}`;
    if (!used.has(suffix)) return suffix;
  }
}

export interface TableChange {
  readonly sets: readonly PlacedSet[];
  /** New sets and elements; before the chains. */
  readonly before: readonly NftCommand[];
  /** Sets that no chain uses any more; after the chains. */
  readonly after: readonly NftCommand[];
}

/** @param swapAll makes every changed set anew, for kernels that refuse the change in place. */
export function changeSets(
  table: string,
  old: readonly PlacedSet[],
  wanted: readonly ElementSet[],
  generation: number,
  swapAll: boolean,
): TableChange {
  const suffix = freeSuffix(old, generation);
  const byId = new Map(old.map((set) => [setId(set), set]));
  const changes = wanted.map((set) => {
    const before = byId.get(setId(set));
    byId.delete(setId(set));
    const change = before && inPlace(table, before, set);
    if (change && !(swapAll && change.before.length > 0)) return change;
    return swapped(table, before, set, suffix);
  });
  const removals = [...byId.values()].map((set) => swapped(table, set, undefined, suffix));
  const all = [...changes, ...removals];
  return {
    sets: all.flatMap((change) => change.sets),
    before: all.flatMap((change) => change.before),
    after: all.flatMap((change) => change.after),
  };
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** Makes the chains that are new, fills those that differ anew, and removes those that are gone. */
export function changeChains(old: readonly TableChain[], wanted: readonly TableChain[]): readonly NftCommand[] {
  const before = new Map(old.map((each) => [each.chain.name, each]));
  const kept = new Set(wanted.map((each) => each.chain.name));
  const gone = old.filter((each) => !kept.has(each.chain.name));
  const differing = wanted.filter((each) => {
    const previous = before.get(each.chain.name);
    return !previous || previous.stamp !== each.stamp || !same(previous.rules, each.rules);
  });
  return [
    ...differing.filter((each) => !before.has(each.chain.name)).map(addChain),
    ...differing.filter((each) => before.has(each.chain.name)).map((each) => flushChain(each.chain)),
    ...gone.map((each) => flushChain(each.chain)),
    ...differing.flatMap(addRules),
    ...gone.map((each) => deleteChain(each.chain)),
  ];
}

/** The transaction from `old` to what is wanted, and the content afterwards. */
export function changeTable(
  old: TableContent,
  wanted: {
    readonly sets: readonly ElementSet[];
    readonly chains: (sets: readonly PlacedSet[]) => readonly TableChain[];
  },
  generation: number,
  swapAll: boolean,
): { readonly content: TableContent; readonly commands: readonly NftCommand[] } {
  const { sets, before, after } = changeSets(old.table, old.sets, wanted.sets, generation, swapAll);
  const chains = wanted.chains(sets);
  return {
    content: { table: old.table, sets, chains },
    commands: [...before, ...changeChains(old.chains, chains), ...after],
  };
}
