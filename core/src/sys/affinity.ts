/** On which processors the calling thread runs. sched_setaffinity(2), cpuset(7). */
import { NR_CPUS_RANGE_END } from './constants.ts';
import { checked } from './errno.ts';
import * as libc from './libc.ts';

/** `cpu_set_t` of any size: a bit for each processor, in words of the machine, which are little-endian. */
const emptySet = () => new Uint8Array(NR_CPUS_RANGE_END / 8);

/**
 * Processors that the calling thread may use, ascending: those of its cpuset that are online, unless it was confined to
 * fewer (`taskset`, `CPUAffinity=`).
 * @throws SystemCallError
 */
export function allowedProcessors(): readonly number[] {
  const set = emptySet();
  checked(libc.sched_getaffinity(0, set.length, set), 'sched_getaffinity()', 'Report this.');
  return Array.from({ length: NR_CPUS_RANGE_END }, (_, at) => at).filter(
    (at) => ((set[at >> 3] as number) & (1 << (at & 7))) !== 0,
  );
}

/**
 * Confines the calling thread to one processor. Threads that it starts from then on inherit that.
 * @throws SystemCallError EINVAL when the cpuset has no such processor or it is offline; NotPermittedError where a
 * sandbox refuses the call.
 */
export function runOnProcessor(processor: number): void {
  const set = emptySet();
  set[processor >> 3] = 1 << (processor & 7);
  const remedy = `See with \`grep Cpus_allowed_list /proc/self/status\` and \`lscpu -e\` whether processor ${processor} is there.`;
  checked(libc.sched_setaffinity(0, set.length, set), `sched_setaffinity() to processor ${processor}`, remedy);
}

/** As the kernel writes it (`Cpus_allowed_list`): `0-3,8`. In the order given; neighbours are joined. */
export function processorsText(processors: readonly number[]): string {
  const ranges: Array<{ first: number; last: number }> = [];
  for (const processor of processors) {
    const range = ranges.at(-1);
    if (range !== undefined && processor === range.last + 1) range.last = processor;
    else ranges.push({ first: processor, last: processor });
  }
  return ranges.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`)).join(',');
}
