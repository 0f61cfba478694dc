/** Control groups (cgroups(7), version 2) by their paths, as far as they exist. */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { ControlGroup } from '../api/host.ts';

/** Where it belongs, and where several programs look for it without asking. */
export const CONTROL_GROUPS = '/sys/fs/cgroup';

/** Where the hierarchy of version 2 is mounted; `undefined` when nowhere in this mount namespace. */
export function controlGroupMount(): string | undefined {
  const points = new Set<string>();
  for (const line of readFileSync('/proc/self/mountinfo', 'latin1').split('\n')) {
    // proc(5): … mount-point options … - type source options; spaces in a path are octal.
    const [before = '', after = ''] = line.split(' - ');
    if (after.split(' ')[0] !== 'cgroup2') continue;
    const point = before.split(' ')[4] ?? '';
    points.add(
      point.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCodePoint(Number.parseInt(octal, 8))),
    );
  }
  return points.has(CONTROL_GROUPS) ? CONTROL_GROUPS : [...points][0];
}

/** Those of the paths that are control groups now, with their ids, in the order of the paths. */
export function controlGroups(paths: readonly string[]): readonly ControlGroup[] {
  const mount = paths.length === 0 ? undefined : controlGroupMount();
  if (mount === undefined) return [];
  return paths.flatMap((path): readonly ControlGroup[] => {
    const stat = statSync(join(mount, path), { bigint: true, throwIfNoEntry: false });
    // The kernel's id of a group is the inode number of its directory.
    return stat?.isDirectory() ? [{ path, id: String(stat.ino) }] : [];
  });
}
