/**
 * Where an owner keeps its state: `<root>/<owner>@<netns inode>/`. The inode keeps owners of different network namespaces
 * apart, because /run is often shared by them. The root is the first of these:
 *
 *   WEIR_STATE_ROOT · /run/weir for root, and for a user to whom it belongs (systemd's RuntimeDirectory=weir) ·
 *   XDG_RUNTIME_DIR/weir, where that directory is the user's alone · /tmp/weir-<uid>
 */
import { lstatSync, mkdirSync, readdirSync, statSync, type Stats } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { NotPermittedError } from '../api/errors.ts';

const SYSTEM_ROOT = '/run/weir';
const OTHERS = 0o077;

/** The inode of this process's network namespace; 0 where /proc is not mounted. */
export function networkNamespaceInode(): string {
  try {
    return String(statSync('/proc/self/ns/net').ino);
  } catch {
    return '0';
  }
}

/** @throws NotPermittedError when it is below /tmp and somebody else's. */
export function stateRoot(): string {
  const { WEIR_STATE_ROOT: chosen, XDG_RUNTIME_DIR: runtime } = process.env;
  if (chosen !== undefined && chosen !== '') return chosen;
  const user = process.geteuid?.() ?? 0;
  if (user === 0 || isOwn(statOf(SYSTEM_ROOT), user)) return SYSTEM_ROOT;
  if (runtime !== undefined && isAbsolute(runtime) && isPrivate(statOf(runtime), user)) return join(runtime, 'weir');
  // Everybody may write to /tmp, so that somebody else may have made it before us, to read or to replace our state.
  const root = `/tmp/weir-${user}`;
  const found = statOf(root);
  if (found === undefined || isPrivate(found, user)) return root;
  throw new NotPermittedError({
    problem: `${root} is not a directory of this user alone, so that others could read or replace Weir's state in it.`,
    remedy: 'Remove it, or set WEIR_STATE_ROOT to a directory of your own.',
  });
}

/** Of the path itself, not of what a link leads to; undefined where there is nothing or it cannot be seen. */
function statOf(path: string): Stats | undefined {
  try {
    return lstatSync(path);
  } catch {
    return undefined;
  }
}

function isOwn(found: Stats | undefined, user: number): boolean {
  return found !== undefined && found.isDirectory() && found.uid === user;
}

function isPrivate(found: Stats | undefined, user: number): boolean {
  return isOwn(found, user) && ((found as Stats).mode & OTHERS) === 0;
}

/** The path; nothing is created. */
export function stateDirectory(owner: string): string {
  return join(stateRoot(), `${owner}@${networkNamespaceInode()}`);
}

/**
 * Creates the directory, mode 0700, when it is missing.
 * @throws NotPermittedError when this user may not, or as stateRoot.
 */
export function makeStateDirectory(path: string): void {
  try {
    mkdirSync(stateRoot(), { recursive: true, mode: 0o700 });
    // Once more: it may have been made by another between the look and the making.
    stateRoot();
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    if (error instanceof NotPermittedError) throw error;
    throw new NotPermittedError({
      problem: `The state directory ${path} could not be made.`,
      remedy: 'Run Weir as root, or set WEIR_STATE_ROOT to a directory of your own.',
      cause: error,
    });
  }
}

/**
 * Where an owner's assigned names are written down when the configuration names no other place: beside its state
 * directory and not in it, because they outlive runs, crashes and clean-up.
 */
export function nameMapPath(owner: string): string {
  return join(stateRoot(), `.names@${networkNamespaceInode()}`, owner);
}

/** Owners that have a state directory for this network namespace, living or dead. */
export function knownOwners(): readonly string[] {
  const suffix = `@${networkNamespaceInode()}`;
  try {
    return readdirSync(stateRoot())
      .filter((name) => name.endsWith(suffix) && !name.startsWith('slots@') && !name.startsWith('.'))
      .map((name) => name.slice(0, -suffix.length))
      .toSorted();
  } catch {
    return [];
  }
}
