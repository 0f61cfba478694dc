/**
 * Where an owner keeps its state: `/run/weir/<owner>@<netns inode>/`. The inode keeps owners of different network
 * namespaces apart, because /run is often shared by them. `WEIR_STATE_ROOT` replaces `/run/weir`.
 */
import { mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { NotPermittedError } from '../api/errors.ts';

/** The inode of this process's network namespace; 0 where /proc is not mounted. */
export function networkNamespaceInode(): string {
  try {
    return String(statSync('/proc/self/ns/net').ino);
  } catch {
    return '0';
  }
}

export function stateRoot(): string {
  return process.env['WEIR_STATE_ROOT'] ?? '/run/weir';
}

/** The path; nothing is created. */
export function stateDirectory(owner: string): string {
  return join(stateRoot(), `${owner}@${networkNamespaceInode()}`);
}

/**
 * Creates the directory, mode 0700, when it is missing.
 * @throws NotPermittedError when this user may not.
 */
export function makeStateDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new NotPermittedError({
      problem: `The state directory ${path} could not be made.`,
      remedy: 'Run Weir as root, or set WEIR_STATE_ROOT to a directory of your own.',
      cause: error,
    });
  }
}

/** Owners that have a state directory for this network namespace, living or dead. */
export function knownOwners(): readonly string[] {
  const suffix = `@${networkNamespaceInode()}`;
  try {
    return readdirSync(stateRoot())
      .filter((name) => name.endsWith(suffix) && !name.startsWith('slots@'))
      .map((name) => name.slice(0, -suffix.length))
      .toSorted();
  } catch {
    return [];
  }
}
