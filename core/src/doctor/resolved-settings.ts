/** What resolved.conf(5) says, its drop-ins included. What resolvectl or a network service set for one device stands in no file. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Of two files of one name the first one's counts (systemd.conf.d(5)). */
const DIRECTORIES = ['/etc', '/run', '/usr/local/lib', '/usr/lib'].map((root) => `${root}/systemd`);

function readable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

function files(): readonly string[] {
  const main = DIRECTORIES.map((directory) => join(directory, 'resolved.conf'));
  const dropIns = new Map<string, string>();
  for (const directory of DIRECTORIES.map((one) => `${one}/resolved.conf.d`).toReversed()) {
    const names = readable(() => readdirSync(directory)) ?? [];
    for (const name of names) if (name.endsWith('.conf')) dropIns.set(name, join(directory, name));
  }
  const first = main.find((path) => readable(() => readFileSync(path)) !== undefined);
  const later = [...dropIns.keys()].toSorted().map((name) => dropIns.get(name) ?? '');
  return [...(first === undefined ? [] : [first]), ...later];
}

/** The last value of a setting, in lower case; undefined when none says it. */
export function resolvedSetting(key: string): string | undefined {
  const line = new RegExp(`^[ \\t]*${key}[ \\t]*=[ \\t]*(\\S*)[ \\t]*$`, 'gim');
  const values = files().flatMap((path) => {
    const text = readable(() => readFileSync(path, 'latin1')) ?? '';
    return [...text.matchAll(line)].map(([, value = '']) => value.toLowerCase());
  });
  // An empty value is none.
  return values.at(-1) || undefined;
}
