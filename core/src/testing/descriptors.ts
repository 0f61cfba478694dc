/** Descriptor-leak check: which files, sockets and pipes a process has open, and what came on top since. */
import { readdirSync, readlinkSync } from 'node:fs';

/** Open descriptors by number, with what each points to, e.g. `socket:[123]`, `anon_inode:[eventpoll]`, a path. */
export type Descriptors = ReadonlyMap<number, string>;

/** Descriptors of a process, this one by default. @throws Error when the process is gone or somebody else's. */
export function descriptorsOf(pid: number | 'self' = 'self'): Descriptors {
  const directory = `/proc/${pid}/fd`;
  const open = new Map<number, string>();
  for (const entry of readdirSync(directory)) {
    try {
      open.set(Number(entry), readlinkSync(`${directory}/${entry}`));
    } catch {
      // The descriptor that read the directory, closed by now.
    }
  }
  return open;
}

/** How many descriptors there are of each kind: `socket`, `pipe`, `anon_inode:[eventfd]`, `file`. */
export function countByKind(descriptors: Descriptors): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const target of descriptors.values()) {
    const kind = target.startsWith('/')
      ? 'file'
      : target.startsWith('anon_inode:')
        ? target
        : (target.split(':')[0] ?? '');
    counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}

/** What is open after and was not before: same number and same target count as the same descriptor. */
export function openedSince(before: Descriptors, after: Descriptors): readonly string[] {
  return [...after]
    .filter(([fd, target]) => before.get(fd) !== target)
    .map(([fd, target]) => `${fd} ${target}`)
    .toSorted();
}

/**
 * Waits until a process has no descriptor that it did not have before.
 * @returns what is still open after `timeoutMs`; empty when nothing leaked.
 */
export async function leakedSince(
  before: Descriptors,
  pid: number | 'self' = 'self',
  timeoutMs = 5000,
): Promise<readonly string[]> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const opened = openedSince(before, descriptorsOf(pid));
    if (opened.length === 0 || Date.now() >= deadline) return opened;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
