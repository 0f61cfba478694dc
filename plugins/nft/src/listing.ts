/** What nft lists, against what the table should hold. Pure. */
import type { Drift } from '@weir/core';
import { elementKey } from './elements.ts';
import { type NftChain, type NftListing, type NftRule, type NftSet, renderRule } from './nftables-json/index.ts';
import { setType } from './elements.ts';
import type { TableContent } from './table.ts';

/** A table as nft lists it. */
export interface ListedTable {
  readonly sets: ReadonlyMap<string, NftSet>;
  readonly chains: ReadonlyMap<string, { readonly chain: NftChain; readonly rules: readonly NftRule[] }>;
}

export function readListing(listing: NftListing): ListedTable {
  const sets = new Map<string, NftSet>();
  const chains = new Map<string, { chain: NftChain; rules: NftRule[] }>();
  for (const entry of listing.nftables) {
    if ('set' in entry) sets.set(entry.set.name, entry.set);
    else if ('chain' in entry) chains.set(entry.chain.name, { chain: entry.chain, rules: [] });
    else if ('rule' in entry) chains.get(entry.rule.chain)?.rules.push(entry.rule);
  }
  return { sets, chains };
}

/** The rules of each chain in nft's own form: what a later listing must show again, whatever the version of nft. */
export type RulesAsListed = ReadonlyMap<string, string>;

function rulesText(rules: readonly NftRule[]): string {
  return JSON.stringify(rules.map((rule) => rule.expr));
}

/** To be taken directly after a transaction. */
export function rulesAsListed(listed: ListedTable): RulesAsListed {
  return new Map([...listed.chains].map(([name, { rules }]) => [name, rulesText(rules)]));
}

function headOf({ type, hook, prio, policy }: NftChain): string {
  return hook === undefined ? 'a plain chain' : `type ${type} hook ${hook} priority ${prio} policy ${policy}`;
}

/** Names of drifted objects carry the kind first, so that a repair can tell what to do. */
export const OBJECT = {
  table: (table: string) => `nft table inet ${table}`,
  chain: (table: string, name: string) => `nft chain inet ${table} ${name}`,
  set: (table: string, name: string) => `nft set inet ${table} ${name}`,
} as const;

function chainDrift(content: TableContent, listed: ListedTable, asListed: RulesAsListed): readonly Drift[] {
  const drifts: Drift[] = [];
  for (const { chain, rules } of content.chains) {
    const object = OBJECT.chain(content.table, chain.name);
    const found = listed.chains.get(chain.name);
    if (!found) {
      drifts.push({ object, expected: `${rules.length} rules`, found: 'missing' });
    } else if (headOf(found.chain) !== headOf(chain)) {
      drifts.push({ object, expected: headOf(chain), found: headOf(found.chain) });
    } else if (rulesText(found.rules) !== asListed.get(chain.name)) {
      const text = found.rules.map((rule) => renderForPeople(rule)).join('; ');
      drifts.push({ object, expected: `${rules.length} rules of Weir`, found: text === '' ? 'no rules' : text });
    }
  }
  const known = new Set(content.chains.map(({ chain }) => chain.name));
  for (const name of listed.chains.keys()) {
    if (known.has(name)) continue;
    drifts.push({ object: OBJECT.chain(content.table, name), expected: 'no such chain', found: 'a chain' });
  }
  return drifts;
}

// Somebody else's rule may hold expressions that our types do not know.
function renderForPeople(rule: NftRule): string {
  try {
    return renderRule(rule).slice(0, 200);
  } catch {
    return JSON.stringify(rule.expr).slice(0, 200);
  }
}

/** The listed elements by key. */
export function listedElements(set: NftSet): ReadonlyMap<string, NonNullable<NftSet['elem']>[number]> {
  return new Map((set.elem ?? []).map((element) => [elementKey(element), element]));
}

function setDrift(content: TableContent, listed: ListedTable): readonly Drift[] {
  const drifts: Drift[] = [];
  const known = new Set<string>();
  for (const set of content.sets) {
    for (const shard of set.shards) {
      known.add(shard.name);
      const object = OBJECT.set(content.table, shard.name);
      const found = listed.sets.get(shard.name);
      const expected = `${shard.elements.size} elements`;
      if (!found) {
        drifts.push({ object, expected, found: 'missing' });
        continue;
      }
      if (String(found.type) !== String(setType(set))) {
        drifts.push({ object, expected: `type ${String(setType(set))}`, found: `type ${String(found.type)}` });
        continue;
      }
      const keys = listedElements(found);
      const lost = [...shard.elements.keys()].filter((key) => !keys.has(key));
      const extra = [...keys.keys()].filter((key) => !shard.elements.has(key));
      if (lost.length === 0 && extra.length === 0) continue;
      const sample = [...lost.map((key) => `without ${key}`), ...extra.map((key) => `with ${key}`)].slice(0, 3);
      drifts.push({ object, expected, found: `${keys.size} elements (${sample.join(', ')})` });
    }
  }
  for (const name of listed.sets.keys()) {
    if (!known.has(name))
      drifts.push({ object: OBJECT.set(content.table, name), expected: 'no such set', found: 'a set' });
  }
  return drifts;
}

/** What differs between the table as it is and as it should be. */
export function tableDrift(content: TableContent, listed: ListedTable, asListed: RulesAsListed): readonly Drift[] {
  return [...chainDrift(content, listed, asListed), ...setDrift(content, listed)];
}
