/** Our chains of one family in the kernel: made, changed, looked at, mended, removed. */
import { type Drift, type Family, HostChangeError, type PlanInput } from '@weir/core';
import { chainPrefix } from './chain-names.ts';
import type { Chain } from './chain-tree.ts';
import { guarded } from './change-guard.ts';
import { contentOf, type FamilyContent, type Hook } from './chains.ts';
import { failureOf } from './failure.ts';
import { type BuiltIns, builtIns, fingerprint, legacyTables, restoreBuiltIns, TABLES } from './kernel-tables.ts';
import { commandName, type Programs } from './programs.ts';
import { changeText, installText, removalText, repairText } from './restore-text.ts';
import { readSaved, type SavedTable, type SavedTables } from './saved.ts';

/** With more rules than this a listing costs enough not to be asked for without a reason. */
const MANY_RULES = 1000;

/** Legacy iptables does not say when a rule took another's place; with many rules that is looked for this often. */
const LOOK_AGAIN_MS = 60_000;

/** With many rules and others that change theirs all the time, looking takes at most one part in so many of the time. */
const SHARE_OF_TIME = 20;

/** What is named of a family's drift; more than this is somebody's flush. */
const DRIFTS = 16;

/** Legacy iptables gives up when others change the table at the same moment. */
const ATTEMPTS = 3;

/** @returns the tables of one family that we may have anything in. @throws WeirError when the program fails. */
export async function listTables(programs: Programs, family: Family): Promise<SavedTables> {
  const there = programs.variant === 'legacy' ? legacyTables(family) : TABLES;
  const tables = new Map<string, SavedTable>();
  for (const table of TABLES.filter((name) => there.includes(name))) {
    // eslint-disable-next-line no-await-in-loop -- two programs at once gain nothing
    const outcome = await programs.save(family, table);
    if (!outcome.ok) throw failureOf(`${commandName(family)}-save`, `list the table ${table}`, outcome);
    for (const [name, content] of readSaved(outcome.stdout)) tables.set(name, content);
  }
  return tables;
}

/** Feeds one text to iptables-restore. `what` ends the sentence "iptables could not …". @throws WeirError. */
export async function apply(
  programs: Programs,
  family: Family,
  { prefix, text, what }: { readonly prefix: string; readonly text: string; readonly what: string },
): Promise<void> {
  if (text === '') return;
  await guarded(prefix, async (inherited) => {
    for (let attempt = 1; ; attempt++) {
      // eslint-disable-next-line no-await-in-loop -- the next attempt is because of this one
      const outcome = await programs.restore(family, text, { inherited });
      if (outcome.ok) return;
      if (attempt < ATTEMPTS && /Resource temporarily unavailable/.test(outcome.error)) continue;
      throw failureOf(commandName(family), what, outcome, text);
    }
  });
}

/** Removes all chains of an owner, whatever is in them. @returns what was there, by table. */
export async function removeChains(programs: Programs, family: Family, prefix: string): Promise<readonly string[]> {
  const isOurs = (name: string) => name.startsWith(prefix);
  const saved = await listTables(programs, family);
  const text = removalText(saved, isOurs);
  await apply(programs, family, { prefix, text, what: `remove the chains ${prefix}*` });
  return [...saved].filter(([, { chains }]) => [...chains.keys()].some(isOurs)).map(([table]) => table);
}

interface ListedContent {
  readonly chains: ReadonlyMap<string, readonly string[]>;
}

export class LiveChains {
  readonly family: Family;
  readonly #programs: Programs;
  readonly #prefix: string;
  #input: PlanInput;
  #content: FamilyContent;
  #draining = false;
  #made = false;
  #builtIns: readonly BuiltIns[] = [];
  /** How this iptables prints our rules, where it is not as we write them. */
  #listed: ListedContent | undefined;
  /** What the kernel was like when nothing had drifted; `took` milliseconds to find out, until `at`. */
  #verified: { readonly fingerprint: string | undefined; readonly at: number; readonly took: number } | undefined;

  /** Makes nothing yet. */
  constructor(programs: Programs, family: Family, input: PlanInput) {
    this.#programs = programs;
    this.family = family;
    this.#input = input;
    this.#prefix = chainPrefix(input.owner);
    this.#content = contentOf(input, family);
  }

  /** `iptables weir/default/*`. */
  get name(): string {
    return `${commandName(this.family)} ${this.#prefix}*`;
  }

  /** Makes all chains. @throws WeirError; what had been made is taken back by `remove`. */
  async create(): Promise<void> {
    const before = await listTables(this.#programs, this.family);
    const there = [...before.values()].flatMap(({ chains }) => [...chains.keys()]).filter((name) => this.#isOurs(name));
    if (there.length > 0) {
      throw new HostChangeError({
        problem: `The ${commandName(this.family)} chains ${this.#prefix}* exist already (${there.length} of them).`,
        remedy: 'Run `weir cleanup`, or choose another name with --owner.',
      });
    }
    if (this.#programs.variant === 'nft') this.#builtIns = builtIns(this.family);
    this.#made = true;
    await this.#apply(installText(this.#content), 'make the chains');
    await this.#remember();
  }

  /**
   * Changes what is steered, in one transaction. Flows that were claimed stay claimed.
   * @returns the way back, for when the other family's change fails.
   * @throws WeirError; the chains are then as they were.
   */
  async update(input: PlanInput): Promise<() => Promise<void>> {
    if (chainPrefix(input.owner) !== this.#prefix) {
      throw new HostChangeError({
        problem: `The chains ${this.#prefix}* cannot become those of the owner "${input.owner}".`,
        remedy: 'Stop Weir and start it with the other owner.',
      });
    }
    const old = { input: this.#input, content: this.#content };
    const before = old.content.numbers;
    const content = contentOf(input, this.family, { before, draining: this.#draining });
    await this.#become(input, content);
    return () => this.#become(old.input, old.content);
  }

  /** From now on no new flow is steered. */
  async drain(): Promise<void> {
    this.#draining = true;
    await this.update(this.#input);
  }

  /** Cheap while nobody changed anything; a full comparison otherwise. */
  async verify(): Promise<readonly Drift[]> {
    const now = fingerprint(this.#programs.variant, this.family);
    if (this.#isUnchanged(now)) return [];
    const drifts = await this.#look(now);
    return drifts.length <= DRIFTS ? drifts : drifts.slice(0, DRIFTS);
  }

  /** Puts back what differs, in one transaction for each table. */
  async repair(): Promise<void> {
    const saved = await listTables(this.#programs, this.family);
    const text = repairText(
      saved,
      this.#content,
      (name) => this.#isOurs(name),
      (chain, found) => this.#isAsWanted(chain, found),
    );
    await this.#apply(text, 'mend the chains');
    await this.#remember();
  }

  /** Removes what `create` made; chains of this name that were there before are not ours. */
  async remove(): Promise<void> {
    if (!this.#made) return;
    await removeChains(this.#programs, this.family, this.#prefix);
    if (this.#programs.variant === 'nft') restoreBuiltIns(this.family, this.#builtIns);
    this.#made = false;
  }

  #isOurs(name: string): boolean {
    return name.startsWith(this.#prefix);
  }

  async #become(input: PlanInput, content: FamilyContent): Promise<void> {
    const text = changeText(this.#content, content);
    await this.#apply(text, 'change the chains');
    this.#input = input;
    this.#content = content;
    // Where the program prints our rules as we write them there is nothing to learn from a listing.
    if (this.#listed) await this.#remember();
  }

  async #apply(text: string, what: string): Promise<void> {
    if (text === '') return;
    await apply(this.#programs, this.family, { prefix: this.#prefix, text, what: `${what} ${this.#prefix}*` });
    this.#verified = undefined;
  }

  #isUnchanged(now: string | undefined): boolean {
    if (!this.#verified) return false;
    const { fingerprint: before, at, took } = this.#verified;
    const same = now !== undefined && now === before;
    if (same && this.#programs.variant === 'nft') return true;
    return this.#count() > MANY_RULES && Date.now() - at < (same ? LOOK_AGAIN_MS : took * SHARE_OF_TIME);
  }

  async #look(now: string | undefined): Promise<readonly Drift[]> {
    const begun = Date.now();
    const drifts = this.#drifts(await listTables(this.#programs, this.family));
    const at = Date.now();
    if (drifts.length === 0) this.#verified = { fingerprint: now, at, took: at - begun };
    return drifts;
  }

  #count(): number {
    const chains = this.#content.tables.flatMap((table) => table.chains);
    return chains.reduce((sum, chain) => sum + chain.rules.length, 0);
  }

  /** Looks at what was just made: how this version prints it is what later listings are compared with. */
  async #remember(): Promise<void> {
    this.#listed = undefined;
    const drifts = await this.#look(fingerprint(this.#programs.variant, this.family));
    if (drifts.length === 0) return;
    const saved = await listTables(this.#programs, this.family);
    const wanted = this.#content.tables.flatMap(({ table, chains }) => chains.map((chain) => [table, chain] as const));
    const found = wanted.map(([table, { name }]) => saved.get(table)?.chains.get(name)?.rules);
    const complete = wanted.every(([, { rules }], index) => found[index]?.length === rules.length);
    // Otherwise somebody was quicker than we are, and the next look names it.
    if (complete) {
      this.#listed = { chains: new Map(wanted.map(([, { name }], index) => [name, found[index] ?? []])) };
    }
  }

  #isAsWanted({ name, rules }: Chain, found: readonly string[]): boolean {
    const expected = this.#listed?.chains.get(name) ?? rules;
    return found.length === expected.length && found.every((rule, index) => rule === expected[index]);
  }

  #drifts(saved: SavedTables): readonly Drift[] {
    return this.#content.tables.flatMap(({ table, chains, hooks }) => {
      const found: SavedTable = saved.get(table) ?? { chains: new Map() };
      const names = new Set(chains.map((chain) => chain.name));
      return [
        ...chains.flatMap((chain) => this.#chainDrift(table, chain, found)),
        ...[...found.chains.keys()]
          .filter((name) => this.#isOurs(name) && !names.has(name))
          .map((name) => ({ object: this.#object(table, name), expected: 'absent', found: 'present' })),
        ...hooks.flatMap((hook) => this.#hookDrift(table, hook, found)),
      ];
    });
  }

  #object(table: string, chain: string): string {
    return `${commandName(this.family)} ${table} ${chain}`;
  }

  #chainDrift(table: string, chain: Chain, found: SavedTable): readonly Drift[] {
    const object = this.#object(table, chain.name);
    const rules = found.chains.get(chain.name)?.rules;
    if (!rules) return [{ object, expected: `${chain.rules.length} rules`, found: 'missing' }];
    if (this.#isAsWanted(chain, rules)) return [];
    const expected = this.#listed?.chains.get(chain.name) ?? chain.rules;
    const at = expected.findIndex((rule, index) => rule !== rules[index]);
    const place = at < 0 ? expected.length : at;
    return [
      {
        object,
        expected: expected[place] ?? `${expected.length} rules`,
        found: rules[place] ?? `${rules.length} rules`,
      },
    ];
  }

  #hookDrift(table: string, hook: Hook, found: SavedTable): readonly Drift[] {
    const rules = found.chains.get(hook.chain)?.rules ?? [];
    const count = rules.filter((rule) => rule === hook.rule).length;
    if (count === 1) return [];
    return [
      {
        object: this.#object(table, hook.chain),
        expected: hook.rule,
        found: count === 0 ? 'missing' : `${count} times`,
      },
    ];
  }
}
