/** The resolvers in the order in which they are asked: the built-in ones, and those of plugins among them by priority. */
import type { Resolver } from '../api/resolver.ts';
import type { ChainedResolver } from '../dns/responder.ts';

/** Priorities of the built-in resolvers; see ResolverDefinition. */
export const PRIORITY = { dohCanary: 510, real: 501, assigned: 500, reverse: 490, hosts: 400, upstream: 100 } as const;

/** Milliseconds after which a plugin's resolver is given up: before libc asks again. */
const PLUGIN_TIMEOUT = 4000;

/** A resolver of a plugin. */
export interface PluggedResolver {
  readonly id: string;
  readonly priority: number;
  readonly resolver: Resolver;
}

/** Highest first; of equal ones the built-in one, then by id. */
export function chainOf(
  builtIn: readonly PluggedResolver[],
  plugged: readonly PluggedResolver[],
): readonly ChainedResolver[] {
  const all = [...builtIn.map((one) => ({ ...one, timed: false })), ...plugged.map((one) => ({ ...one, timed: true }))];
  return all
    .toSorted((a, b) => b.priority - a.priority || Number(a.timed) - Number(b.timed) || (a.id < b.id ? -1 : 1))
    .map(({ id, resolver, timed }) => ({ id, resolver, ...(timed ? { timeoutMs: PLUGIN_TIMEOUT } : {}) }));
}
