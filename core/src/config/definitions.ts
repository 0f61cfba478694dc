/** What a configuration may name beyond the built-in words; given by the registry, so that this folder imports no plugin. */
import type { DialerDefinition } from '../api/dialer.ts';
import type { InterceptorDefinition } from '../api/interceptor.ts';
import type { ResolverDefinition } from '../api/resolver.ts';

export interface Definitions {
  /** By `type`. */
  readonly dialerTypes: ReadonlyMap<string, DialerDefinition<never>>;
  readonly interceptorIds: readonly string[];
  /** Loads the package of that interceptor; `undefined` when it is not installed. */
  interceptor(id: string): Promise<InterceptorDefinition<never> | undefined>;
  /** Resolvers of plugins, by id. */
  readonly resolvers: ReadonlyMap<string, ResolverDefinition<never>>;
  /** A plugin could not be loaded, which is a fault already: what is unknown here may be its. */
  readonly lacksSome?: boolean;
}

/**
 * Loads the definitions of the built-in packages and of these plugins.
 * @throws PluginError with the name of the plugin in its problem.
 */
export type LoadDefinitions = (plugins: readonly string[]) => Promise<Definitions>;

/** Names that are dialers without being configured. */
export const BUILT_IN_DIALERS: readonly string[] = ['direct', 'reset', 'drop'];
