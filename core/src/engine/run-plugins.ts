/** Which plugins a run has loaded, written down for who cleans up after it: only they know what they left in the kernel. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { InterceptorDefinition } from '../api/interceptor.ts';
import type { Logger } from '../api/logger.ts';
import { loadPlugins } from '../registry/load.ts';

const pathIn = (directory: string): string => join(directory, 'plugins.json');

/** @param plugins package names or absolute paths, as in `Configuration.plugins` */
export function recordPlugins(directory: string, plugins: readonly string[]): void {
  if (plugins.length > 0) writeFileSync(pathIn(directory), JSON.stringify(plugins), { mode: 0o600 });
}

function recordedPlugins(directory: string): readonly string[] {
  try {
    const recorded = JSON.parse(readFileSync(pathIn(directory), 'utf8')) as unknown;
    return Array.isArray(recorded) ? recorded.filter((name) => typeof name === 'string') : [];
  } catch {
    return [];
  }
}

/** The built-in interceptors, and those of the plugins of the run before; one that cannot be loaded any more is logged. */
export async function leftoverDefinitions(
  directory: string,
  log: Logger,
): Promise<ReadonlyArray<InterceptorDefinition<never>>> {
  const usable: string[] = [];
  for (const name of recordedPlugins(directory)) {
    try {
      await loadPlugins([name], []);
      usable.push(name);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      log.warn({ plugin: name, reason }, 'a plugin of the run before cannot clean up: it cannot be loaded');
    }
  }
  const registry = await loadPlugins(usable);
  return registry.interceptors().filter((definition) => definition.built !== false);
}
