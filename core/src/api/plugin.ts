/** What a plugin package exports by default. Plugins are loaded by name only; nothing is found by scanning. */
import type { DialerDefinition } from './dialer.ts';
import type { InterceptorDefinition } from './interceptor.ts';
import type { ResolverDefinition } from './resolver.ts';
import type { StandardSchema } from './schema.ts';

/** Raised only when a plugin that worked before would stop compiling or working. */
export const API_VERSION = 1;

export interface Plugin {
  /** The package's name, for error texts and `weir plugins`. */
  readonly name: string;
  readonly apiVersion: number;
  // `never`: a definition takes its own options and core validates before it passes them on.
  readonly interceptors?: ReadonlyArray<InterceptorDefinition<never>>;
  readonly dialers?: ReadonlyArray<DialerDefinition<never>>;
  readonly resolvers?: ReadonlyArray<ResolverDefinition<never>>;
}

/** Gives a plugin its type where it is written; changes nothing at run time. */
export function definePlugin<const P extends Plugin>(plugin: P): P {
  return plugin;
}

/** Gives an interceptor definition its option type where it is written. */
export function defineInterceptor<Options>(
  definition: InterceptorDefinition<Options> & { readonly options: StandardSchema<Options> },
): InterceptorDefinition<Options> {
  return definition;
}

/** Gives a resolver definition its option type where it is written. */
export function defineResolver<Options>(
  definition: ResolverDefinition<Options> & { readonly options: StandardSchema<Options> },
): ResolverDefinition<Options> {
  return definition;
}

/** Gives a dialer definition its option type where it is written. */
export function defineDialer<Options>(
  definition: DialerDefinition<Options> & { readonly options: StandardSchema<Options> },
): DialerDefinition<Options> {
  return definition;
}
