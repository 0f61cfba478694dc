/**
 * The bundle (scripts/bundle.mjs) holds the same modules as `dist/`, and a program must not run both: what a plugin imports by
 * the name `@weir/core` would be another copy of everything, with classes and state of its own.
 */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const BUNDLED = import.meta.url.endsWith('/bundle/sys/own-modules.js');

/**
 * In a program that runs from the bundle, imports of `@weir/…` lead to the packages' bundles from now on; elsewhere nothing
 * happens. For the thread that calls it.
 */
export function useOwnModules(): void {
  if (!BUNDLED) return;
  process.getBuiltinModule('node:module').registerHooks({
    resolve(specifier, context, next) {
      const found = next(specifier, context);
      if (!specifier.startsWith('@weir/')) return found;
      const url = found.url.replace(/\/dist\/((?:[^/]+\/)?[^/]+\.js)$/, '/bundle/$1');
      return url !== found.url && existsSync(fileURLToPath(url)) ? { ...found, url } : found;
    },
  });
}
