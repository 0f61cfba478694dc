/** Control groups (cgroups(7), version 2) by their paths, as far as they exist. */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { CaptureSet, OwnerMatch } from '../api/capture.ts';
import type { ControlGroup, HostFacts } from '../api/host.ts';

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

/** Without control groups that are not there: the kernel refuses their paths, and nobody is in them. */
export function presentOwners(
  owners: readonly OwnerMatch[],
  { controlGroups: present }: Pick<HostFacts, 'controlGroups'>,
): readonly OwnerMatch[] {
  const paths = present && new Set(present.map(({ path }) => path));
  return owners.filter((owner) => owner.kind !== 'cgroup' || (paths?.has(owner.path) ?? true));
}

/** A text that changes when rules that name groups by their paths must be made anew: a group came, went or came again. */
export function presentGroups({ controlGroups: present = [] }: Pick<HostFacts, 'controlGroups'>): string {
  return present.map(({ path, id }) => `${path} ${id}`).join(', ');
}

/** True when processes are chosen by control group. */
export function namesControlGroups({ owners }: Pick<CaptureSet, 'owners'>): boolean {
  return [...owners.only, ...owners.except].some(({ kind }) => kind === 'cgroup');
}
