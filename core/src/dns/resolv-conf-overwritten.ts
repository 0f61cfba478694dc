/**
 * A resolver configuration of ours that somebody has written since: a DHCP client, a VPN, an administrator. What they wrote
 * becomes the original, and the file is taken up again.
 */
import { lstatSync, mkdirSync } from 'node:fs';
import { WeirError } from '../api/errors.ts';
import { codeOf, readOrUndefined, writeInPlace, writeWhole } from './in-place-file.ts';
import { authorOf, originalAfterEdit, originalIn, parseResolvConf, renderResolvConf } from './resolv-conf.ts';
import { backupPath, findObstacle, RESOLV_CONF, type ResolvConfPlace } from './resolv-conf-claim.ts';

/** Milliseconds for which the file must be the same before it is taken: writers truncate first. */
const SETTLED = 100;
/** Of a file without a line of content in place of one that had some: a writer has truncated it, and is slow. */
const SETTLED_WITHOUT_CONTENT = 5000;

export interface OverwrittenPlace extends ResolvConfPlace {
  /** What the file is to name. */
  readonly nameservers: readonly string[];
}

function read(path: string): string | undefined {
  if (lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true) return undefined;
  return readOrUndefined(path)?.toString('latin1');
}

/** What stands there instead, in a few words; undefined while the file is as Weir wrote it. */
export function findOverwritten({ owner, path = RESOLV_CONF }: OverwrittenPlace): string | undefined {
  const text = read(path);
  if (text === undefined) return 'no regular file';
  const author = authorOf(text);
  if (author?.owner === owner && author.untouched) return undefined;
  const named = parseResolvConf(text).nameservers.join(', ') || 'none';
  return author === undefined ? `nameserver ${named}` : `nameserver ${named}, edited after Weir wrote it`;
}

function hasContent(text: string): boolean {
  return text.split('\n').some((line) => /^\s*[^\s#;]/.test(line));
}

/** Milliseconds since the last change. A clock that was set back must not make a file young for ever. */
function ageOf(path: string): number {
  return Math.abs(Date.now() - lstatSync(path).ctimeMs);
}

function beingWritten(path: string): WeirError {
  return new WeirError('WEIR_RESOLV_CONF', {
    problem: `${path} is being written by somebody.`,
    remedy: 'Nothing is to be done: it is looked at again in a moment.',
  });
}

/**
 * Makes what is there now the original and points the file at Weir again.
 * @throws WeirError WEIR_RESOLV_CONF when it cannot be written any more, or is still being written.
 */
export async function takeUpAgain(place: OverwrittenPlace): Promise<void> {
  const { owner, stateDirectory, nameservers, path = RESOLV_CONF } = place;
  const obstacle = findObstacle({ owner, path });
  if (obstacle !== undefined) throw new WeirError('WEIR_RESOLV_CONF', obstacle);
  const found = read(path);
  await new Promise((resolve) => setTimeout(resolve, SETTLED));
  if (found === undefined || read(path) !== found) throw beingWritten(path);
  const backup = backupPath(stateDirectory);
  try {
    const ours = authorOf(found)?.owner === owner;
    const before = readOrUndefined(backup)?.toString('latin1') ?? (ours ? originalIn(found) : undefined) ?? '';
    const original = ours ? originalAfterEdit(found, before, nameservers) : found;
    // Taken now, it would be what a kill puts back, and the writer would write over what Weir has put there.
    if (!hasContent(original) && hasContent(before) && ageOf(path) < SETTLED_WITHOUT_CONTENT) throw beingWritten(path);
    mkdirSync(stateDirectory, { recursive: true, mode: 0o700 });
    // First the backup: a kill in between leaves a file that is its own original.
    writeWhole(backup, Buffer.from(original, 'latin1'));
    writeInPlace(path, Buffer.from(renderResolvConf(original, nameservers, owner, backup), 'latin1'));
  } catch (error) {
    if (error instanceof WeirError) throw error;
    throw new WeirError('WEIR_RESOLV_CONF', {
      problem: `${path} could not be pointed at Weir again (${codeOf(error)}).`,
      remedy: `Make ${path} and ${stateDirectory} writable, or restart Weir.`,
      cause: error,
    });
  }
}
