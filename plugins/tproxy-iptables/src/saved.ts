/** What iptables-save prints, read. */

export interface SavedChain {
  /** `ACCEPT` or `DROP` of a built-in chain, `-` of any other. */
  readonly policy: string;
  /** What follows `-A <chain> `. */
  readonly rules: readonly string[];
}

export interface SavedTable {
  readonly chains: ReadonlyMap<string, SavedChain>;
}

/** By name: `filter`, `mangle`, … */
export type SavedTables = ReadonlyMap<string, SavedTable>;

/** Lines that are no part of a table (comments, warnings) are passed over. */
export function readSaved(text: string): SavedTables {
  const tables = new Map<string, { chains: Map<string, { policy: string; rules: string[] }> }>();
  let chains = new Map<string, { policy: string; rules: string[] }>();
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) {
      chains = new Map();
      tables.set(line.slice(1), { chains });
    } else if (line.startsWith(':')) {
      const [name = '', policy = '-'] = line.slice(1).split(' ');
      chains.set(name, { policy, rules: [] });
    } else if (line.startsWith('-A ')) {
      const end = line.indexOf(' ', 3);
      const name = line.slice(3, end < 0 ? undefined : end);
      chains.get(name)?.rules.push(end < 0 ? '' : line.slice(end + 1));
    }
  }
  return tables;
}

/** True when somebody uses this: a rule, a chain of their own, or a policy other than ACCEPT. */
export function isInUse(tables: SavedTables): boolean {
  return [...tables.values()].some(({ chains }) =>
    [...chains.values()].some(({ policy, rules }) => rules.length > 0 || policy !== 'ACCEPT'),
  );
}
