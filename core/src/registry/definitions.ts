/** What the configuration loader asks of the registry. Loads a built-in package only when a file has options for it. */
import type { Definitions } from '../config/definitions.ts';
import { BUILT_IN_INTERCEPTORS } from './builtin.ts';
import { loadPlugins } from './load.ts';

/** @throws PluginError */
export async function loadDefinitions(plugins: readonly string[]): Promise<Definitions> {
  const registry = await loadPlugins(plugins, []);
  return {
    dialerTypes: registry.dialerTypes,
    resolvers: new Map(registry.resolvers().map((definition) => [definition.id, definition])),
    interceptorIds: [
      ...new Set([...BUILT_IN_INTERCEPTORS.keys(), ...registry.interceptors().map((definition) => definition.id)]),
    ],
    async interceptor(id) {
      const own = registry.interceptor(id);
      const name = BUILT_IN_INTERCEPTORS.get(id);
      if (own !== undefined || name === undefined) return own;
      return (await loadPlugins([], [name])).interceptor(id);
    },
  };
}
