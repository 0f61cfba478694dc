/**
 * resolv.conf(5): reading it, and what Weir writes in its place.
 *
 * The first line of a file that Weir wrote says whose it is and carries a hash of the rest. So a later process tells
 * from the file alone whether it is still what Weir wrote, or somebody has changed it since. The original stands below
 * as comments, because a power failure takes the state directory in /run and leaves /etc.
 */
import { createHash } from 'node:crypto';
import { isAddress } from '../capture/address.ts';

/** Servers that libc asks at most (MAXNS in resolv.h). */
const MAX_NAMESERVERS = 3;

export interface ResolvConf {
  /** As written, at most as many as asked for (three: what libc asks); an IPv6 zone stays in place. Empty when the file names none. */
  readonly nameservers: readonly string[];
  readonly search: readonly string[];
  readonly options: readonly string[];
}

export function parseResolvConf(text: string, most = MAX_NAMESERVERS): ResolvConf {
  const nameservers: string[] = [];
  let search: readonly string[] = [];
  const options: string[] = [];
  for (const line of text.split('\n')) {
    const [keyword, ...values] = line.trim().split(/\s+/);
    const [first = ''] = values;
    if (keyword === 'nameserver') {
      if (isAddress(first.replace(/%.*/, '')) && nameservers.length < most) nameservers.push(first);
    } else if (keyword === 'search') search = values;
    else if (keyword === 'domain') search = [first];
    else if (keyword === 'options') options.push(...values);
  }
  return { nameservers, search, options };
}

const MARKER = /^# weir (\S+): sha256 ([0-9a-f]{64}) of what follows/;
const ORIGINAL_LINE = '#< ';
/** Bytes of an original that is repeated in the file; a longer one is only in the backup. */
const MAX_REPEATED = 16 * 1024;
const KEPT = /^\s*(?:search|domain|options|sortlist)\s/;

/** Trailing line breaks do not count: a write that was cut short leaves some. */
function hashOf(body: string): string {
  return createHash('sha256').update(body.replace(/\n+$/, ''), 'latin1').digest('hex');
}

/**
 * The file that sends the host's queries to `nameservers`. Search list, options and sort list stay as they are.
 * @param original the file before, one character per byte.
 * @param backup where the original is kept, for the reader of the file.
 */
export function renderResolvConf(
  original: string,
  nameservers: readonly string[],
  owner: string,
  backup: string,
): string {
  const lines = [
    ...nameservers.slice(0, MAX_NAMESERVERS).map((address) => `nameserver ${address}`),
    ...original.split('\n').filter((line) => KEPT.test(line)),
    ...(original.length > MAX_REPEATED ? [] : original.split('\n').map((line) => ORIGINAL_LINE + line)),
  ];
  const body = `${lines.join('\n')}\n`;
  return `# weir ${owner}: sha256 ${hashOf(body)} of what follows; the original is in ${backup}\n${body}`;
}

/** The original that a file of Weir's repeats; undefined when it was too long for that. */
export function originalIn(text: string): string | undefined {
  const lines = text.split('\n').filter((line) => line.startsWith(ORIGINAL_LINE));
  return lines.length === 0 ? undefined : lines.map((line) => line.slice(ORIGINAL_LINE.length)).join('\n');
}

/**
 * The original that an edited file of Weir's stands for: the edit, with the servers of the original where Weir's still stand.
 * @param original what the file was before Weir; @param ours the servers that Weir wrote.
 */
export function originalAfterEdit(edited: string, original: string, ours: readonly string[]): string {
  const isServer = (line: string): boolean => /^\s*nameserver\s/.test(line);
  const isOurs = (line: string): boolean => isServer(line) && ours.includes(line.trim().split(/\s+/)[1] ?? '');
  const lines = edited.split('\n').filter((line) => !MARKER.test(line) && !line.startsWith(ORIGINAL_LINE));
  const first = lines.findIndex(isOurs);
  if (first < 0) return lines.join('\n');
  const kept = lines.map((line, index) => ({ line, index })).filter(({ line }) => !isOurs(line));
  const before = kept.filter(({ index }) => index < first).map(({ line }) => line);
  const behind = kept.filter(({ index }) => index > first).map(({ line }) => line);
  return [...before, ...original.split('\n').filter(isServer), ...behind].join('\n');
}

/** Which Weir wrote a file, and whether it is still as it was written. */
export interface Authorship {
  readonly owner: string;
  readonly untouched: boolean;
}

/** Undefined for a file that no Weir wrote. */
export function authorOf(text: string): Authorship | undefined {
  const [, owner, hash] = MARKER.exec(text) ?? [];
  if (owner === undefined) return undefined;
  return { owner, untouched: hashOf(text.slice(text.indexOf('\n') + 1)) === hash };
}
