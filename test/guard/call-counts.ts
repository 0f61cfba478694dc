/** Counts the system calls of a process's threads while something happens, by strace(1). */
import type { TestHost } from '@weir/core/testing';
import { readFileSync } from 'node:fs';

/** Calls by name. */
export type CallCounts = Readonly<Record<string, number>>;

const OUTPUT = '/run/strace.txt';

/** The calls of each thread in strace's output (`-f -o`): a call that was interrupted by another thread's is listed once. */
export function countCalls(text: string): ReadonlyMap<number, CallCounts> {
  const threads = new Map<number, Record<string, number>>();
  for (const [, thread, name] of text.matchAll(/^(\d+) +(\w+)\(/gm)) {
    const counts = threads.get(Number(thread)) ?? {};
    threads.set(Number(thread), counts);
    if (name !== undefined) counts[name] = (counts[name] ?? 0) + 1;
  }
  return threads;
}

/**
 * What the thread that accepts connections, or receives datagrams, does meanwhile: the splice worker, when there is one.
 * @param by the call that tells it from others.
 * @throws Error when strace cannot attach, or no thread or more than one made that call.
 */
export async function workerCalls(
  host: TestHost,
  pid: number,
  meanwhile: () => Promise<void>,
  by: 'accept4' | 'recvmmsg' = 'accept4',
): Promise<CallCounts> {
  const strace = host.spawn(['strace', '-f', '-qq', '--signal=none', '-o', OUTPUT, '-p', String(pid)]);
  // It attaches to one thread after the other and says nothing when quiet; the last thread is under its eye when each
  // has a tracer.
  const attached = `for i in $(seq 250); do
    grep -L "TracerPid:[[:space:]]*${strace.pid}$" /proc/${pid}/task/*/status | grep -q . || exit 0; sleep 0.02; done; exit 1`;
  try {
    await host.check(['sh', '-c', attached]).catch((error: unknown) => {
      throw new Error(`strace did not attach to ${pid}: ${strace.describe()}`, { cause: error });
    });
    await meanwhile();
  } finally {
    strace.kill('SIGINT');
    await strace.waitForExit();
  }
  const threads = [...countCalls(readFileSync(host.path(OUTPUT), 'utf8')).values()];
  const workers = threads.filter((counts) => (counts[by] ?? 0) > 0);
  const [counts] = workers;
  if (counts === undefined || workers.length > 1) {
    throw new Error(`${workers.length} threads called ${by}, expected the one worker`);
  }
  return counts;
}

/** Calls by name per unit, two digits. */
export function perUnit(counts: CallCounts, units: number): CallCounts {
  return Object.fromEntries(
    Object.entries(counts).map(([name, count]) => [name, Math.round((100 * count) / units) / 100]),
  );
}
