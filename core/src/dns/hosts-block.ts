/**
 * Weir's own lines in a hosts file: between two marks, and each with the owner's mark at its end, so that they are told
 * from everybody else's whatever happens around them.
 */
import type { Assignment } from './address-pool.ts';

const mark = (owner: string): string => `# weir ${owner}`;

/** Lines of any Weir: they say nothing about where a name really is. */
export function isWeirsLine(line: string): boolean {
  return /# weir [A-Za-z0-9_-]+(?: (?:begin|end)\b.*)?$/.test(line.trimEnd());
}

/** The file with our block behind what is there. @param text the file without a block, one character per byte. */
export function withBlock(text: string, owner: string, names: readonly Assignment[]): string {
  const own = mark(owner);
  const joined = text !== '' && !text.endsWith('\n');
  const lines = names.flatMap(({ name, ipv4, ipv6 }) =>
    [ipv4, ipv6].flatMap((address) => (address === undefined ? [] : [`${address} ${name} ${own}`])),
  );
  // Whether the last line had an end is needed to put the file back byte by byte.
  const begin = `${own} begin${joined ? ', after a line without an end' : ''}`;
  return `${text}${joined ? '\n' : ''}${[begin, ...lines, `${own} end`].join('\n')}\n`;
}

export interface WithoutBlock {
  readonly text: string;
  /** Whether there was anything of ours. */
  readonly found: boolean;
}

/** The file without our lines. What others have written, also between our lines, stays. */
export function withoutBlock(text: string, owner: string): WithoutBlock {
  const own = mark(owner);
  const kept: string[] = [];
  let found = false;
  let joined = false;
  let lastIsForeign = false;
  for (const line of text.match(/[^\n]*\n|[^\n]+$/g) ?? []) {
    const bare = line.replace(/\n$/, '');
    if (bare.startsWith(`${own} begin`) || bare === `${own} end` || bare.endsWith(` ${own}`)) {
      found = true;
      lastIsForeign = false;
      if (bare.endsWith(', after a line without an end')) joined = true;
      continue;
    }
    kept.push(line);
    lastIsForeign = found;
  }
  let rest = kept.join('');
  // The line break was ours too, unless somebody has gone on behind it.
  if (joined && !lastIsForeign && rest.endsWith('\n')) rest = rest.slice(0, -1);
  return { text: rest, found };
}
