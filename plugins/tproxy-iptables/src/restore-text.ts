/** What iptables-restore is fed with: pure. Each text changes all or nothing of a table. */
import type { Chain } from './chain-tree.ts';
import type { FamilyContent, Hook, TableContent } from './chains.ts';
import type { SavedTable, SavedTables } from './saved.ts';

function block(table: string, lines: readonly string[]): string {
  return lines.length === 0 ? '' : `*${table}\n${lines.map((line) => `${line}\n`).join('')}COMMIT\n`;
}

/** Makes a chain, or empties it when it is there. */
function declaration({ name }: Pick<Chain, 'name'>): string {
  return `:${name} - [0:0]`;
}

function additions({ name, rules }: Chain): readonly string[] {
  return rules.map((rule) => `-A ${name} ${rule}`);
}

function insertion({ chain, rule }: Hook): string {
  return `-I ${chain} ${rule}`;
}

function deletion({ chain, rule }: Hook): string {
  return `-D ${chain} ${rule}`;
}

/** Chains that lead to each other can go only when all of them are empty. */
function removals(names: readonly string[]): readonly string[] {
  return [...names.map((name) => `-F ${name}`), ...names.map((name) => `-X ${name}`)];
}

/** Makes everything where nothing of it is. */
export function installText({ tables }: FamilyContent): string {
  return tables
    .map(({ table, chains, hooks }) =>
      block(table, [...chains.map(declaration), ...chains.flatMap(additions), ...hooks.map(insertion)]),
    )
    .join('');
}

function sameRules(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((rule, index) => rule === b[index]);
}

const NOTHING: Omit<TableContent, 'table'> = { chains: [], hooks: [] };

function changeLines(old: Omit<TableContent, 'table'>, wanted: Omit<TableContent, 'table'>): readonly string[] {
  const before = new Map(old.chains.map((chain) => [chain.name, chain]));
  const kept = new Set(wanted.chains.map((chain) => chain.name));
  const differing = wanted.chains.filter(({ name, rules, stamp }) => {
    const previous = before.get(name);
    return !previous || previous.stamp !== stamp || !sameRules(previous.rules, rules);
  });
  const gone = old.chains.filter(({ name }) => !kept.has(name)).map(({ name }) => name);
  const has = (hooks: readonly Hook[], hook: Hook) =>
    hooks.some((each) => each.chain === hook.chain && each.rule === hook.rule);
  return [
    ...differing.map(declaration),
    ...differing.flatMap(additions),
    ...old.hooks.filter((hook) => !has(wanted.hooks, hook)).map(deletion),
    ...wanted.hooks.filter((hook) => !has(old.hooks, hook)).map(insertion),
    ...removals(gone),
  ];
}

/** From one content to the next; empty when they are the same. Chains that stay as they are are not touched. */
export function changeText(old: FamilyContent, wanted: FamilyContent): string {
  const names = [...new Set([...old.tables, ...wanted.tables].map(({ table }) => table))];
  const part = ({ tables }: FamilyContent, name: string) => tables.find(({ table }) => table === name) ?? NOTHING;
  return names.map((name) => block(name, changeLines(part(old, name), part(wanted, name)))).join('');
}

/** Rules outside of our chains that lead into them. */
function leading(saved: SavedTable, isOurs: (chain: string) => boolean): ReadonlyArray<readonly [string, string]> {
  return [...saved.chains].flatMap(([chain, { rules }]) =>
    isOurs(chain)
      ? []
      : rules
          .filter((rule) => isOurs(/ ?-[jg] (\S+)(?: |$)/.exec(withoutText(rule))?.[1] ?? ''))
          .map((rule) => [chain, rule] as const),
  );
}

/** A rule without its quoted parts: a comment may hold what looks like a jump. */
function withoutText(rule: string): string {
  return rule.replaceAll(/"(?:[^"\\]|\\.)*"/g, '""');
}

/** Removes whatever of ours is in a listing; empty when nothing is. */
export function removalText(saved: SavedTables, isOurs: (chain: string) => boolean): string {
  return [...saved]
    .map(([table, content]) => {
      const ours = [...content.chains.keys()].filter(isOurs);
      return block(table, [
        ...leading(content, isOurs).map(([chain, rule]) => `-D ${chain} ${rule}`),
        ...removals(ours),
      ]);
    })
    .join('');
}

/** From what is in the kernel to what should be, touching only what differs. `same` compares the rules of a chain. */
export function repairText(
  saved: SavedTables,
  wanted: FamilyContent,
  isOurs: (chain: string) => boolean,
  same: (chain: Chain, found: readonly string[]) => boolean,
): string {
  return wanted.tables
    .map(({ table, chains, hooks }) => {
      const found: SavedTable = saved.get(table) ?? { chains: new Map() };
      const broken = chains.filter((chain) => {
        const rules = found.chains.get(chain.name)?.rules;
        return !rules || !same(chain, rules);
      });
      const names = new Set(chains.map(({ name }) => name));
      const foreign = [...found.chains.keys()].filter((name) => isOurs(name) && !names.has(name));
      const jumps = leading(found, isOurs);
      const isHook = ([chain, rule]: readonly [string, string]) =>
        hooks.some((hook) => hook.chain === chain && hook.rule === rule);
      const counted = (hook: Hook) =>
        jumps.filter(([chain, rule]) => chain === hook.chain && rule === hook.rule).length;
      const wrong = hooks.filter((hook) => counted(hook) !== 1);
      return block(table, [
        ...broken.map(declaration),
        ...broken.flatMap(additions),
        ...jumps.filter((jump) => !isHook(jump)).map(([chain, rule]) => `-D ${chain} ${rule}`),
        ...wrong.flatMap((hook) => Array.from({ length: counted(hook) }, () => deletion(hook))),
        ...wrong.map(insertion),
        ...removals(foreign),
      ]);
    })
    .join('');
}
