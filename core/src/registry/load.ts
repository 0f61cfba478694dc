/**
 * Loads plugins by explicit names. Nothing is found by scanning: this process is usually root, and a scan of
 * node_modules would run strangers' code with CAP_NET_ADMIN.
 */
import { stat } from 'node:fs/promises';
import { isAbsolute } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Plugin } from '../api/plugin.ts';
import { API_VERSION } from '../api/plugin.ts';
import { PluginError, WeirError } from '../api/errors.ts';
import { directDialer } from '../dialers/direct.ts';
import { socks5Dialer } from '../dialers/socks5.ts';
import { BUILT_IN_PACKAGES } from './builtin.ts';
import { Registry } from './registry.ts';
import { validatePlugin } from './validate.ts';

const WRITABLE_BY_OTHERS = 0o002;

/** What core itself registers, through the same door as everybody. */
const CORE: Plugin = {
  name: '@weir/core',
  apiVersion: API_VERSION,
  dialers: [directDialer as never, socks5Dialer as never],
};

/** True when `name` itself was not found, and not something that it imports. */
function isMissing(error: unknown, name: string): boolean {
  const { code, message } = error as NodeJS.ErrnoException;
  return (code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND') && message.includes(`'${name}'`);
}

/** A file that others may write must not run in a process that may do everything. */
async function refuseWritable(path: string): Promise<void> {
  if (process.geteuid?.() !== 0) return;
  const mode = await stat(path).then(
    (found) => found.mode,
    // import() says better what is wrong.
    () => 0,
  );
  if ((mode & WRITABLE_BY_OTHERS) === 0) return;
  throw new PluginError({
    problem: `The plugin ${path} may be written by others, and Weir runs as root.`,
    remedy: `Take the right from them: chmod o-w ${path}.`,
  });
}

async function importPlugin(name: string): Promise<unknown> {
  if (isAbsolute(name)) await refuseWritable(name);
  const specifier = isAbsolute(name) ? pathToFileURL(name).href : name;
  try {
    return await import(specifier);
  } catch (error) {
    if (error instanceof WeirError) throw error;
    const path = isAbsolute(name);
    const missing = isMissing(error, name);
    throw new PluginError({
      problem: missing
        ? `The plugin ${name} is not installed.`
        : `The plugin ${name} cannot be loaded: ${((error as Error).message ?? String(error)).split('\n')[0]}.`,
      remedy: missing
        ? path
          ? 'Give the path of its entry file.'
          : `Install it: npm install ${name}.`
        : 'Update or mend the plugin, or take it out of "plugins".',
      cause: error,
    });
  }
}

/**
 * Loads the built-in packages and these plugins.
 * A built-in package that is not installed is left out and listed in `missing`: they are optional dependencies.
 *
 * @param names package names or absolute paths, as in `Configuration.plugins`
 * @param builtIn the built-in packages to load; all of them unless a caller needs fewer
 * @throws PluginError when a plugin is missing, cannot be loaded or breaks the contract
 */
export async function loadPlugins(
  names: readonly string[],
  builtIn: readonly string[] = BUILT_IN_PACKAGES,
): Promise<Registry> {
  const registry = new Registry();
  registry.add(CORE, CORE.name);
  for (const name of builtIn) {
    let exported: unknown;
    try {
      exported = await importPlugin(name);
    } catch (error) {
      const cause = (error as PluginError).cause;
      if (!isMissing(cause ?? error, name)) throw error;
      registry.addMissing({ name, reason: `not installed; npm install ${name}` });
      continue;
    }
    registry.add(validatePlugin(exported, name), name);
  }
  for (const name of new Set(names)) {
    if (builtIn.includes(name)) continue;
    registry.add(validatePlugin(await importPlugin(name), name), name);
  }
  return registry;
}
