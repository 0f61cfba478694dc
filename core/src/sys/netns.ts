/** Network namespaces of the calling thread. network_namespaces(7), setns(2), unshare(2). */
import { statSync } from 'node:fs';
import { CLONE_NEWNET, O_CLOEXEC, O_RDONLY } from './constants.ts';
import { checked } from './errno.ts';
import * as libc from './libc.ts';

const REMEDY = 'Run it as root, or inside a user namespace (unshare -Urnm).';

/** Inode of the calling thread's namespace: the number in `net:[…]`; 0 where /proc is not mounted. */
export function netnsInode(): string {
  try {
    return String(statSync('/proc/thread-self/ns/net').ino);
  } catch {
    return '0';
  }
}

/**
 * Gives the calling thread a new, empty network namespace. Only this thread moves: sockets and netlink calls that it
 * makes itself are in the new one, Node's own threads stay where they were.
 * @throws NotPermittedError, SystemCallError.
 */
export function unshareNetns(): void {
  checked(libc.unshare(CLONE_NEWNET), 'unshare(CLONE_NEWNET)', REMEDY);
}

/** Moves the calling thread into the namespace behind `path`, e.g. `/proc/<pid>/ns/net`. @throws as unshareNetns. */
export function enterNetns(path: string): void {
  const fd = checked(libc.open(path, O_RDONLY | O_CLOEXEC, 0), `open(${path})`, REMEDY);
  try {
    checked(libc.setns(fd, CLONE_NEWNET), `setns(${path})`, REMEDY);
  } finally {
    libc.close(fd);
  }
}
