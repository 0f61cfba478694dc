/**
 * Loads plugins by explicit names. Nothing is found by scanning: this process is usually root, and a scan of
 * node_modules would run strangers' code with CAP_NET_ADMIN.
 */
import { isAbsolute } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Plugin } from '../api/plugin.ts';
import { API_VERSION } from '../api/plugin.ts';
import { isWeirError, PluginError } from '../api/errors.ts';
import { directDialer } from '../dialers/direct.ts';
import { socks5Dialer } from '../dialers/socks5.ts';
import { BUILT_IN_PACKAGES } from './builtin.ts';
import { Registry } from './registry.ts';
import { refuseWritableByOthers } from './trust.ts';
import { validatePlugin } from './validate.ts';

/** How long a module may take to load: one that awaits forever would end the process without a word. Milliseconds. */
const IMPORT_TIMEOUT = 20_000;

/** What core itself registers, through the same door as everybody. */
const CORE: Plugin = {
  name: '@weir/core',
  apiVersion: API_VERSION,
  dialers: [directDialer as never, socks5Dialer as never],
};

/** True when `name` itself was not found, and not something that it imports. */
function isMissing(error: unknown, name: string): boolean {
  const { code, message } = error as NodeJS.ErrnoException;
  const spellings = [name, isAbsolute(name) ? pathToFileURL(name).href : packageOf(name)];
  return /^(ERR_)?MODULE_NOT_FOUND$/.test(code ?? '') && spellings.some((what) => message.includes(`'${what}'`));
}

/** The package that an import of `name` looks for. */
function packageOf(name: string): string {
  return name
    .split('/')
    .slice(0, name.startsWith('@') ? 2 : 1)
    .join('/');
}

/** What is said of a plugin that is not there. */
function absence(name: string): { readonly problem: string; readonly remedy: string } {
  if (isAbsolute(name)) {
    const remedy = 'Give the path of its entry file, and build it first where it is built (npx tsc).';
    return { problem: `The plugin ${name} is not there.`, remedy };
  }
  const isPath = /\.[cm]?[jt]s$/.test(name);
  const remedy = isPath
    ? `A path begins with ./ or /: ./${name}.`
    : `Install it beside Weir: npm install ${packageOf(name)}.`;
  return { problem: `The plugin ${name} is not installed.`, remedy };
}

/** The entry file of a plugin; undefined where import() will say better what is wrong. */
function entryOf(name: string): string | undefined {
  if (isAbsolute(name)) return name;
  try {
    const url = import.meta.resolve(name);
    return url.startsWith('file:') ? fileURLToPath(url) : undefined;
  } catch {
    return undefined;
  }
}

async function importInTime(name: string, specifier: string): Promise<unknown> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    const problem = `The plugin ${name} has not loaded within ${IMPORT_TIMEOUT / 1000} s.`;
    late.reject(new PluginError({ problem, remedy: 'Take the await at the top of its modules out.' }));
  }, IMPORT_TIMEOUT);
  try {
    return await Promise.race([import(specifier), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

async function importPlugin(name: string): Promise<unknown> {
  const path = isAbsolute(name);
  try {
    return await importInTime(name, path ? pathToFileURL(name).href : name);
  } catch (error) {
    if (isWeirError(error)) throw error;
    const text = (error instanceof Error ? error.message : String(error)).split('\n')[0]?.replace(/\.$/, '');
    throw new PluginError({
      problem: `The plugin ${name} cannot be loaded: ${text}.`,
      remedy: 'Update or mend the plugin, or take it out of "plugins".',
      ...(isMissing(error, name) ? absence(name) : {}),
      cause: error,
    });
  }
}

/** Workers import the modules of such dialers again, and find the definition by its name. */
async function checkDialerModules(plugin: Plugin, source: string): Promise<void> {
  for (const [place, { type, kind, module }] of (plugin.dialers ?? []).entries()) {
    if (kind === 'route') continue;
    const exported = (await importInTime(source, module.href)) as { readonly dialer?: { readonly type?: unknown } };
    if (exported.dialer?.type === type) continue;
    throw new PluginError({
      problem: `The plugin ${source} is not usable: dialers[${place}].module does not export the dialer ${type} as "dialer".`,
      remedy: 'Write `export const dialer = defineDialer({ …, module: new URL(import.meta.url) })`, one to a module.',
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
    const entry = entryOf(name);
    if (entry !== undefined) refuseWritableByOthers(name, entry);
    const plugin = validatePlugin(await importPlugin(name), name);
    await checkDialerModules(plugin, name);
    registry.add(plugin, name);
  }
  return registry;
}
