/** CPU time of processes, from proc(5). */
import { readFileSync } from 'node:fs';

/** proc(5) counts in clock ticks, and Linux shows 100 of them per second on every architecture (USER_HZ). */
const TICKS_PER_SECOND = 100;

/** Seconds that all threads of the processes have run, user and system. @throws Error when one is gone. */
function cpuSeconds(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // After the name in parentheses, which may hold anything: state is field 3, utime 14, stime 15.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / TICKS_PER_SECOND;
}

/**
 * Seconds that the children of this process have run which have ended and were waited for: load generators are such.
 * Their own children are in it.
 */
function endedChildrenCpuSeconds(): number {
  const stat = readFileSync('/proc/self/stat', 'utf8');
  // cutime 16, cstime 17.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[13]) + Number(fields[14])) / TICKS_PER_SECOND;
}

/** What a measurement cost. */
export interface CpuCost {
  /** Of the candidate's processes, all threads; undefined when it has none. */
  readonly candidate: number | undefined;
  /** Of client, server and candidate together. Others who work on the machine meanwhile are not in it. */
  readonly all: number;
}

/**
 * Starts a clock of CPU time; the function that it returns stops it. The load generator has to end in between, or says itself
 * how many seconds it used, so that starting it does not count.
 */
export function cpuClock(candidate: readonly number[], servers: readonly number[]): (client?: number) => CpuCost {
  const begun = [cpuSeconds(candidate), cpuSeconds(servers), endedChildrenCpuSeconds()] as const;
  return (client) => {
    const own = cpuSeconds(candidate) - begun[0];
    const others = cpuSeconds(servers) - begun[1] + (client ?? endedChildrenCpuSeconds() - begun[2]);
    return { candidate: candidate.length === 0 ? undefined : own, all: own + others };
  };
}
