/**
 * Locks that vanish with their holder: flock(2) on a file. The kernel frees them when the process dies, however it dies,
 * so a lock is never stale; the text in the file only says who holds it.
 */
import { closeSync, fstatSync, ftruncateSync, openSync, readFileSync, statSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { LOCK_EX, LOCK_NB } from '../sys/constants.ts';
import { checked, EAGAIN } from '../sys/errno.ts';
import { errno } from '../sys/library.ts';
import * as libc from '../sys/libc.ts';

/** Who holds a lock. `run` serves traffic; `keeper` and `cleanup` finish in a moment. */
export interface LockHolder {
  readonly pid: number;
  readonly role: 'run' | 'keeper' | 'cleanup' | 'slot';
}

export interface HeldLock {
  readonly path: string;
  release(): void;
}

/** Takes the lock now, or returns undefined when another process has it. */
export function tryLock(path: string, role: LockHolder['role']): HeldLock | undefined {
  const fd = openSync(path, 'a+', 0o600);
  if (libc.flock(fd, LOCK_EX | LOCK_NB) < 0) {
    const number = errno();
    closeSync(fd);
    if (number === EAGAIN) return undefined;
    checked(-1, `flock(${path})`, 'Put the state directory on a local file system.');
  }
  // Whoever held it before may have removed the file after we opened it; a lock on a removed file locks nothing.
  if (statSync(path, { throwIfNoEntry: false })?.ino !== fstatSync(fd).ino) {
    closeSync(fd);
    return tryLock(path, role);
  }
  ftruncateSync(fd, 0);
  writeSync(fd, JSON.stringify({ pid: process.pid, role } satisfies LockHolder));
  let held = true;
  return {
    path,
    release() {
      if (!held) return;
      held = false;
      closeSync(fd);
    },
  };
}

/** Tries for at most `timeoutMs`, every 20 ms. */
export async function waitForLock(
  path: string,
  role: LockHolder['role'],
  timeoutMs: number,
): Promise<HeldLock | undefined> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const lock = tryLock(path, role);
    if (lock || Date.now() >= deadline) return lock;
    await sleep(20);
  }
}

/** What the holder wrote; undefined when the file is missing or empty. Says nothing about whether it still holds. */
export function readHolder(path: string): LockHolder | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as LockHolder;
  } catch {
    return undefined;
  }
}

/** True while some process holds the lock. */
export function isLocked(path: string): boolean {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch {
    return false;
  }
  try {
    return libc.flock(fd, LOCK_EX | LOCK_NB) < 0 && errno() === EAGAIN;
  } finally {
    closeSync(fd);
  }
}
