/** CPU time of processes and of the machine, from proc(5). */
import { readFileSync } from 'node:fs';

/** proc(5) counts in clock ticks, and Linux shows 100 of them per second on every architecture (USER_HZ). */
const TICKS_PER_SECOND = 100;

/** Seconds that all threads of the processes have run, user and system. @throws Error when one is gone. */
export function cpuSeconds(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // After the name in parentheses, which may hold anything: state is field 3, utime 14, stime 15.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / TICKS_PER_SECOND;
}

/** Seconds that the machine's processors were not idle, summed over processors. Others' work is in it. */
export function machineCpuSeconds(): number {
  const [line = ''] = readFileSync('/proc/stat', 'utf8').split('\n', 1);
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = line.split(/\s+/).slice(1).map(Number);
  return (user + nice + system + irq + softirq) / TICKS_PER_SECOND;
}
