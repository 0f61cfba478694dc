/**
 * Pointing the host's resolver configuration at Weir, and back. The file is written in place, because in containers it
 * is often a bind mount that cannot be replaced; mode and owner stay. The original lies as a plain file in the state
 * directory before the first byte is changed, so that it can be put back by hand, by the keeper, or by a successor that
 * has no journal.
 *
 * A process may be killed between any two system calls; `in-place-file.ts` says what it leaves then.
 */
import { accessSync, constants, lstatSync, mkdirSync, readFileSync, readlinkSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { NotPermittedError, WeirError } from '../api/errors.ts';
import type { HostChange } from '../api/host.ts';
import { codeOf, isWithPadding, readOrUndefined, writeInPlace, writeWhole } from './in-place-file.ts';
import { authorOf, originalIn, renderResolvConf } from './resolv-conf.ts';

export const RESOLV_CONF = '/etc/resolv.conf';

/** Where a resolver configuration and its original are. */
export interface ResolvConfPlace {
  readonly owner: string;
  readonly stateDirectory: string;
  /** Default {@link RESOLV_CONF}. */
  readonly path?: string;
}

export interface ResolvConfClaim extends ResolvConfPlace {
  /** Addresses of Weir's listeners on port 53. */
  readonly nameservers: readonly string[];
  /** Told what was found and done, for the log. */
  readonly report: (line: string) => void;
}

/** The original while the file is Weir's. */
export function backupPath(stateDirectory: string): string {
  return join(stateDirectory, 'resolv.conf.backup');
}

/** Stable name of the change in the journal. */
export function resolvConfChangeId(path: string = RESOLV_CONF): string {
  return `resolver configuration ${path}`;
}

/** Why the file cannot be claimed, and what to do; undefined when it can. */
export interface Obstacle {
  readonly problem: string;
  readonly remedy: string;
}

/** Looks whether `path` is a regular file that can be written. */
export function findObstacle({
  owner,
  path = RESOLV_CONF,
}: Pick<ResolvConfPlace, 'owner' | 'path'>): Obstacle | undefined {
  const otherwise = 'or set resolver.reach: none and point the host at Weir yourself.';
  try {
    const stat = lstatSync(path);
    if (stat.isSymbolicLink()) {
      return {
        problem: `${path} is a symbolic link to ${readlinkSync(path)}, which another program keeps.`,
        remedy: `Configure that program to ask Weir, replace the link by a regular file, ${otherwise}`,
      };
    }
    if (!stat.isFile()) {
      return { problem: `${path} is not a regular file.`, remedy: `Replace it by a regular file, ${otherwise}` };
    }
    const author = authorOf(readFileSync(path, 'latin1'));
    if (author !== undefined && author.owner !== owner) {
      return {
        problem: `${path} is in the hands of another Weir (owner ${author.owner}).`,
        remedy: `Stop it, run \`weir cleanup --owner ${author.owner}\` when it is dead, ${otherwise}`,
      };
    }
    accessSync(path, constants.R_OK | constants.W_OK);
    return undefined;
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOENT') return { problem: `${path} does not exist.`, remedy: `Create it, ${otherwise}` };
    const problem = `${path} cannot be written (${code}).`;
    return { problem, remedy: `Run Weir as root, mount the file writable, ${otherwise}` };
  }
}

/**
 * Puts the original back when the file is still what this owner's Weir wrote. A file that somebody has changed since is
 * theirs: it stays, and the original is kept beside as `resolv.conf.original`. Idempotent; needs no journal.
 * @returns one line for each thing that was found and done.
 * @throws NotPermittedError, WeirError when the original cannot be put back.
 */
export function cleanUpResolvConf({ owner, stateDirectory, path = RESOLV_CONF }: ResolvConfPlace): readonly string[] {
  const backup = backupPath(stateDirectory);
  try {
    const saved = readOrUndefined(backup);
    const isLink = lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
    const found = isLink ? undefined : readOrUndefined(path);
    const author = found && authorOf(found.toString('latin1'));
    const ours = author?.owner === owner && author.untouched;
    const repeated = ours ? originalIn(found?.toString('latin1') ?? '') : undefined;
    const original = saved ?? (repeated === undefined ? undefined : Buffer.from(repeated, 'latin1'));
    if (original === undefined) {
      if (!ours) return [];
      throw new WeirError('WEIR_RESOLV_CONF', {
        problem: `${path} was written by Weir (owner ${owner}), but the original in ${backup} is gone.`,
        remedy: `Write the host's own nameservers into ${path}.`,
      });
    }
    if (found !== undefined && (ours || isWithPadding(found, original))) {
      if (!found.equals(original)) writeInPlace(path, original);
      rmSync(backup, { force: true });
      return ours ? [`put ${path} back as it was`] : [];
    }
    // Only a backup gets here: without one the original comes from a file that is ours.
    const kept = join(stateDirectory, 'resolv.conf.original');
    renameSync(backup, kept);
    const stillOurs = author?.owner === owner ? ' It still names Weir as nameserver: check it.' : '';
    return [`left ${path} alone, because it was changed after Weir wrote it; the original is in ${kept}.${stillOurs}`];
  } catch (error) {
    if (error instanceof WeirError) throw error;
    throw new NotPermittedError({
      problem: `${path} could not be put back (${codeOf(error)}).`,
      remedy: `Copy ${backup} to ${path} by hand.`,
      cause: error,
    });
  }
}

/** The change of the host that makes `nameservers` the host's resolvers. Undo data: a {@link ResolvConfPlace}. */
export function resolvConfChange(claim: ResolvConfClaim): HostChange {
  const { owner, stateDirectory, nameservers, report } = claim;
  const { path = RESOLV_CONF } = claim;
  const place: ResolvConfPlace = { owner, stateDirectory, path };
  const backup = backupPath(stateDirectory);
  return {
    id: resolvConfChangeId(path),
    describe: `point ${path} at ${nameservers.join(', ')}`,
    undoData: place,
    do() {
      const obstacle = findObstacle(place);
      if (obstacle !== undefined) throw new WeirError('WEIR_RESOLV_CONF', obstacle);
      // What a killed predecessor left is no original.
      for (const line of cleanUpResolvConf(place)) report(line);
      mkdirSync(stateDirectory, { recursive: true, mode: 0o700 });
      try {
        const original = readFileSync(path);
        writeWhole(backup, original);
        const text = renderResolvConf(original.toString('latin1'), nameservers, owner, backup);
        writeInPlace(path, Buffer.from(text, 'latin1'));
      } catch (error) {
        cleanUpResolvConf(place);
        throw new WeirError('WEIR_RESOLV_CONF', {
          problem: `${path} could not be pointed at Weir (${codeOf(error)}); it is as it was.`,
          remedy: `Make ${path} and ${stateDirectory} writable, or set resolver.reach: none.`,
          cause: error,
        });
      }
    },
    undo() {
      for (const line of cleanUpResolvConf(place)) report(line);
    },
  };
}
