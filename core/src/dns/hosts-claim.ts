/**
 * Putting the configured names into the hosts file, and taking them out again. Crash safety as for resolv.conf: the
 * original lies in the state directory before the first byte is changed, and the lines themselves say whose they are.
 */
import { accessSync, constants, existsSync, lstatSync, mkdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { NotPermittedError, WeirError } from '../api/errors.ts';
import type { HostChange } from '../api/host.ts';
import type { Assignment } from './address-pool.ts';
import { withBlock, withoutBlock } from './hosts-block.ts';
import { codeOf, isWithPadding, readOrUndefined, writeInPlace, writeWhole } from './in-place-file.ts';
import type { Obstacle } from './resolv-conf-claim.ts';

export interface HostsPlace {
  readonly owner: string;
  readonly stateDirectory: string;
  readonly path: string;
}

export interface HostsClaim extends HostsPlace {
  readonly names: readonly Assignment[];
  /** Told what was found and done, for the log. */
  readonly report: (line: string) => void;
}

const originalPath = (stateDirectory: string): string => join(stateDirectory, 'hosts.original');
/** What was to be written. */
const writtenPath = (stateDirectory: string): string => join(stateDirectory, 'hosts.written');
/** Which file it is, for a successor that has another configuration. */
const pathPath = (stateDirectory: string): string => join(stateDirectory, 'hosts.path');

/** Whether a run has left a hosts file to be put back. */
export function holdsHosts(stateDirectory: string): boolean {
  return existsSync(originalPath(stateDirectory));
}

export function hostsChangeId(path: string): string {
  return `hosts file ${path}`;
}

/** Why the file cannot be claimed, and what to do; undefined when it can. */
export function findHostsObstacle(path: string): Obstacle | undefined {
  const otherwise = 'or set resolver.reach to another way.';
  try {
    const stat = lstatSync(path);
    if (stat.isSymbolicLink()) {
      const problem = `${path} is a symbolic link to ${readlinkSync(path)}, which another program keeps.`;
      return { problem, remedy: `Replace the link by a regular file, ${otherwise}` };
    }
    if (!stat.isFile())
      return { problem: `${path} is not a regular file.`, remedy: `Name a regular file, ${otherwise}` };
    accessSync(path, constants.R_OK | constants.W_OK);
    return undefined;
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOENT') return { problem: `${path} does not exist.`, remedy: `Create it, ${otherwise}` };
    return { problem: `${path} cannot be written (${code}).`, remedy: `Run Weir as root, ${otherwise}` };
  }
}

/** The file as it is to be without us: the original where nobody has changed it since, else what is there less our lines. */
function cleaned({
  owner,
  stateDirectory,
  path,
}: HostsPlace): { readonly found: Buffer; readonly wanted: Buffer } | undefined {
  if (lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true) return undefined;
  const found = readOrUndefined(path);
  if (found === undefined) return undefined;
  const original = readOrUndefined(originalPath(stateDirectory));
  const text = found.toString('latin1');
  const without = withoutBlock(text, owner);
  if (original !== undefined) {
    // A write that was cut short: a beginning of what was to be written, and perhaps line breaks where more was before.
    const written = readOrUndefined(writtenPath(stateDirectory))?.toString('latin1') ?? '';
    const torn = found.length >= original.length && written.startsWith(text.replace(/\n+$/, ''));
    if (torn || isWithPadding(Buffer.from(without.text, 'latin1'), original)) return { found, wanted: original };
  }
  return { found, wanted: Buffer.from(without.text, 'latin1') };
}

/**
 * Takes this owner's lines out of the hosts file. What others have changed since stays. Idempotent; needs no journal.
 * @param fallback the file to look at when the state directory names none.
 * @returns one line for each thing that was found and done.
 * @throws NotPermittedError when the file cannot be written.
 */
export function cleanUpHosts(owner: string, stateDirectory: string, fallback: string): readonly string[] {
  const path = readOrUndefined(pathPath(stateDirectory))?.toString('utf8') ?? fallback;
  try {
    const state = cleaned({ owner, stateDirectory, path });
    const changed = state !== undefined && !state.found.equals(state.wanted);
    if (changed) writeInPlace(path, state.wanted);
    rmSync(originalPath(stateDirectory), { force: true });
    rmSync(writtenPath(stateDirectory), { force: true });
    rmSync(pathPath(stateDirectory), { force: true });
    return changed ? [`took Weir's names out of ${path}`] : [];
  } catch (error) {
    throw new NotPermittedError({
      problem: `Weir's names could not be taken out of ${path} (${codeOf(error)}).`,
      remedy: `Remove the lines that end in "# weir ${owner}" by hand.`,
      cause: error,
    });
  }
}

/** Writes the block with these names; an earlier block of this owner goes. @throws what the file system says. */
export function writeHosts(claim: Omit<HostsClaim, 'report'>): void {
  const { owner, stateDirectory, path, names } = claim;
  const base = cleaned(claim)?.wanted ?? readFileSync(path);
  mkdirSync(stateDirectory, { recursive: true, mode: 0o700 });
  writeWhole(pathPath(stateDirectory), Buffer.from(path));
  const written = Buffer.from(withBlock(base.toString('latin1'), owner, names), 'latin1');
  writeWhole(writtenPath(stateDirectory), written);
  writeWhole(originalPath(stateDirectory), base);
  writeInPlace(path, written);
}

/** The change of the host that puts the names into the file. Undo data: a {@link HostsPlace}. */
export function hostsChange(claim: HostsClaim): HostChange {
  const { owner, stateDirectory, path, names, report } = claim;
  return {
    id: hostsChangeId(path),
    describe: `put ${names.length} names into ${path}`,
    undoData: { owner, stateDirectory, path },
    do() {
      const obstacle = findHostsObstacle(path);
      if (obstacle !== undefined) throw new WeirError('WEIR_HOSTS', obstacle);
      try {
        writeHosts(claim);
      } catch (error) {
        cleanUpHosts(owner, stateDirectory, path);
        throw new WeirError('WEIR_HOSTS', {
          problem: `Names could not be put into ${path} (${codeOf(error)}); it is as it was.`,
          remedy: `Make ${path} and ${stateDirectory} writable, or set resolver.reach to another way.`,
          cause: error,
        });
      }
    },
    undo() {
      for (const line of cleanUpHosts(owner, stateDirectory, path)) report(line);
    },
  };
}
