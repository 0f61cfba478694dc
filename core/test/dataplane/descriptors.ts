/** Descriptors that are told apart from all others, so that one that is left open is seen. */
import { readlinkSync } from 'node:fs';
import * as libc from '../../src/sys/libc.ts';

/** Past Node, which would take note of it and close the number at the end, whatever it is then. */
export function openSomething(): number {
  return libc.open('/dev/null', 0, 0);
}

export function isOpen(fd: number): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`) === '/dev/null';
  } catch {
    return false;
  }
}
