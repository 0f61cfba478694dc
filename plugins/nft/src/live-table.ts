/** Our table in the kernel: made, changed, looked at, mended, removed. */
import { type Drift, HostChangeError, type PlanInput, UnsupportedError } from '@weir/core';
import { nftTable, rulesetGeneration } from '@weir/core/sys';
import { changeTable } from './change-table.ts';
import { addChain, addRules, addSet, createTable, deleteChain, deleteSet, deleteTable, fillTable } from './commands.ts';
import { changeElements, flushChain } from './commands.ts';
import { elementOf } from './elements.ts';
import { listedElements, OBJECT, readListing, rulesAsListed, type RulesAsListed, tableDrift } from './listing.ts';
import type { NftCommand } from './nftables-json/index.ts';
import type { Ruleset } from './ruleset.ts';
import { chainsOf, setsOf, type TableContent, tableName, tableOf } from './table.ts';

/** Deletes the table if it is there. @throws NotPermittedError when a living process owns it. */
export function removeTable(ruleset: Ruleset, table: string): boolean {
  if (!nftTable('inet', table)) return false;
  ruleset.apply([deleteTable(table)], `delete table inet ${table}`);
  return true;
}

export class LiveTable {
  readonly #ruleset: Ruleset;
  #input: PlanInput;
  #content: TableContent;
  #draining = false;
  #made = false;
  #owned = false;
  /** Only where others can change the table: what the rules look like in this nft's listing. */
  #asListed: RulesAsListed | undefined;
  /** Generation of the whole ruleset when the table was last found right. */
  #verified: number | undefined;

  /** Makes nothing yet. */
  constructor(ruleset: Ruleset, input: PlanInput) {
    this.#ruleset = ruleset;
    this.#input = input;
    this.#content = tableOf(input);
  }

  get name(): string {
    return this.#content.table;
  }

  /** Whether the kernel removes the table when this process ends. */
  get owned(): boolean {
    return this.#owned;
  }

  /** Makes the table with everything in it. Nothing is left when it throws. */
  create(): void {
    const { table } = this.#content;
    const ownedFirst = this.#input.onCrash === 'open' && this.#ruleset.kind === 'library' && this.#createOwned();
    try {
      const commands = [...(ownedFirst ? [] : [createTable(table)]), ...fillTable(this.#content)];
      this.#ruleset.apply(commands, `make table inet ${table}`);
    } catch (error) {
      if (ownedFirst) this.#ruleset.apply([deleteTable(table)], `delete table inet ${table}`);
      throw error;
    }
    this.#made = true;
    this.#owned = nftTable('inet', table)?.owned ?? false;
    this.#remember();
  }

  /**
   * Changes what is steered, in one transaction. Flows that were claimed stay claimed.
   * @throws HostChangeError, NotPermittedError; the table is then as it was.
   */
  update(input: PlanInput): void {
    if (tableName(input.owner) !== this.#content.table) {
      throw new HostChangeError({
        problem: `The table ${this.#content.table} cannot become one of the owner "${input.owner}".`,
        remedy: 'Stop Weir and start it with the other owner.',
      });
    }
    const sets = setsOf(input);
    const chains = (placed: TableContent['sets']) => chainsOf(input, placed, this.#draining);
    const plan = (swapAll: boolean) => changeTable(this.#content, { sets, chains }, input.set.generation, swapAll);
    const apply = ({ commands }: ReturnType<typeof plan>) =>
      this.#ruleset.apply(commands, `change table inet ${this.#content.table}`);
    let change = plan(false);
    try {
      apply(change);
    } catch (error) {
      // Some kernels refuse to delete and add overlapping elements in one transaction; a new set they take.
      if (!(error instanceof HostChangeError)) throw absent(error);
      change = plan(true);
      apply(change);
    }
    this.#input = input;
    this.#content = change.content;
    if (change.commands.length > 0) this.#remember();
  }

  /** From now on no new flow is steered. */
  drain(): void {
    this.#draining = true;
    this.update(this.#input);
  }

  /** Cheap while nobody changed any table; a full comparison otherwise. Owner tables nobody else can change. */
  verify(): readonly Drift[] {
    const { table } = this.#content;
    const state = nftTable('inet', table);
    if (!state) return [{ object: OBJECT.table(table), expected: 'present', found: 'missing' }];
    if (state.dormant) return [{ object: OBJECT.table(table), expected: 'active', found: 'dormant' }];
    if (state.owned !== this.#owned) {
      const say = (owned: boolean) => (owned ? 'owned by Weir' : 'not owned');
      return [{ object: OBJECT.table(table), expected: say(this.#owned), found: say(state.owned) }];
    }
    if (this.#owned) return [];
    const generation = rulesetGeneration();
    if (generation === this.#verified) return [];
    const listing = this.#ruleset.list(table);
    if (!listing) return [{ object: OBJECT.table(table), expected: 'present', found: 'missing' }];
    const drift = tableDrift(this.#content, readListing(listing), this.#asListed ?? new Map());
    if (drift.length === 0) this.#verified = generation;
    return drift;
  }

  /** Puts the named objects back, in one transaction. A table that is gone or not ours any more is made anew. */
  repair(objects: ReadonlySet<string>): void {
    const { table, chains } = this.#content;
    const state = nftTable('inet', table);
    if (!state || objects.has(OBJECT.table(table))) {
      if (state) this.#ruleset.apply([deleteTable(table)], `delete table inet ${table}`);
      this.create();
      return;
    }
    const listing = this.#ruleset.list(table);
    if (!listing) throw absent(undefined);
    const listed = readListing(listing);
    const named = (kind: 'chain' | 'set', name: string) => objects.has(OBJECT[kind](table, name));
    const broken = chains.filter(({ chain }) => named('chain', chain.name));
    const foreign = [...listed.chains.values()]
      .map((each) => each.chain)
      .filter((chain) => named('chain', chain.name) && !chains.some((each) => each.chain.name === chain.name));
    // A chain whose hook or priority differs must go before it can come again, and what jumps to it before that.
    const present = broken.filter(({ chain }) => listed.chains.has(chain.name));
    const commands: NftCommand[] = [
      ...[...present.map(({ chain }) => chain), ...foreign].map(flushChain),
      ...present.filter(({ chain }) => chain.hook !== undefined).map(({ chain }) => deleteChain(chain)),
      ...broken.filter(({ chain }) => chain.hook !== undefined || !listed.chains.has(chain.name)).map(addChain),
      ...this.#repairSets(listed, (name) => named('set', name)),
      ...broken.flatMap(addRules),
      ...foreign.map(deleteChain),
    ];
    const expected = new Set(this.#content.sets.flatMap((set) => set.shards.map((shard) => shard.name)));
    const extra = [...listed.sets.keys()].filter((name) => named('set', name) && !expected.has(name));
    commands.push(...extra.map((name) => deleteSet(table, name)));
    this.#ruleset.apply(commands, `mend table inet ${table}`);
    this.#remember();
  }

  /** Removes what `create` made; a table of this name that was there before is not ours. */
  remove(): void {
    if (this.#made) removeTable(this.#ruleset, this.#content.table);
    this.#made = false;
  }

  #repairSets(listed: ReturnType<typeof readListing>, named: (name: string) => boolean): readonly NftCommand[] {
    const { table, sets } = this.#content;
    return sets.flatMap((set) =>
      set.shards.flatMap((shard): readonly NftCommand[] => {
        if (!named(shard.name)) return [];
        const found = listed.sets.get(shard.name);
        if (!found) return [addSet(table, set, shard)];
        const have = listedElements(found);
        const lost = [...shard.elements].filter(([key]) => !have.has(key)).map(([, box]) => elementOf(set.family, box));
        const extra = [...have].filter(([key]) => !shard.elements.has(key)).map(([, element]) => element);
        return changeElements(table, shard.name, lost, extra);
      }),
    );
  }

  // In native syntax: nft 1.0.6 drops the flag from JSON without a word.
  #createOwned(): boolean {
    return this.#ruleset.try(`create table inet ${this.#content.table} { flags owner; }`).ok;
  }

  #remember(): void {
    this.#verified = undefined;
    this.#asListed = undefined;
    if (this.#owned) return;
    const listing = this.#ruleset.list(this.#content.table);
    if (listing) this.#asListed = rulesAsListed(readListing(listing));
  }
}

function absent(error: unknown): unknown {
  if (error !== undefined && !(error instanceof UnsupportedError)) return error;
  return new HostChangeError({
    problem: 'The nftables table of Weir is not there any more.',
    remedy: 'Let Weir mend it (`on-drift: repair`), or start it again.',
    cause: error,
  });
}
