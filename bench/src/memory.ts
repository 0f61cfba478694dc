/** Memory of processes, from proc(5). */
import { readFileSync } from 'node:fs';

/** Bytes of the processes' own share of memory (proportional set size). @throws Error when one is gone. */
export function memoryOf(pids: readonly number[]): number {
  let kib = 0;
  for (const pid of pids) {
    kib += Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]);
  }
  return kib * 1024;
}
