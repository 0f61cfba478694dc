/** What plugins have registered: who there is for each role, by id and by priority. */
import type { DialerDefinition } from '../api/dialer.ts';
import { PluginError } from '../api/errors.ts';
import type { InterceptorDefinition } from '../api/interceptor.ts';
import type { Plugin } from '../api/plugin.ts';
import type { ResolverDefinition } from '../api/resolver.ts';
import { Container, Tokens } from './container.ts';
import { guardedDialer, guardedInterceptor, guardedResolver } from './guard.ts';

/** A package that was asked for and is not there. */
export interface MissingPackage {
  readonly name: string;
  readonly reason: string;
}

export interface RegisteredPlugin {
  readonly name: string;
  /** The package name or path by which it was loaded. */
  readonly source: string;
}

const byPriority = (a: { priority: number; id: string }, b: { priority: number; id: string }) =>
  b.priority - a.priority || (a.id < b.id ? -1 : 1);

export class Registry {
  readonly #container = new Container();
  readonly #owners = new Map<string, string>();
  readonly #plugins: RegisteredPlugin[] = [];
  readonly #missing: MissingPackage[] = [];

  /** Registers a plugin that was checked. @throws PluginError when one of its ids is taken. */
  add(plugin: Plugin, source: string): void {
    const claims = [
      ...(plugin.interceptors ?? []).map(({ id }) => `interceptor ${id}`),
      ...(plugin.dialers ?? []).map(({ type }) => `dialer type ${type}`),
      ...(plugin.resolvers ?? []).map(({ id }) => `resolver ${id}`),
    ];
    for (const [i, claim] of claims.entries()) {
      const owner = this.#owners.get(claim) ?? (claims.indexOf(claim) < i ? source : undefined);
      if (owner === undefined) continue;
      const problem = `The plugin ${source} is not usable: the ${claim} is already registered by ${owner}.`;
      throw new PluginError({ problem, remedy: 'Load only one of the two, or rename one.' });
    }
    for (const claim of claims) this.#owners.set(claim, source);
    for (const definition of plugin.interceptors ?? []) {
      this.#container.add(Tokens.interceptor, guardedInterceptor(definition, source));
    }
    for (const definition of plugin.dialers ?? []) {
      this.#container.add(Tokens.dialer, guardedDialer(definition, source));
    }
    for (const definition of plugin.resolvers ?? []) {
      this.#container.add(Tokens.resolver, guardedResolver(definition, source));
    }
    this.#plugins.push({ name: plugin.name, source });
  }

  addMissing(missing: MissingPackage): void {
    this.#missing.push(missing);
  }

  get plugins(): readonly RegisteredPlugin[] {
    return this.#plugins;
  }

  /** Optional built-in packages that are not installed. */
  get missing(): readonly MissingPackage[] {
    return this.#missing;
  }

  /** The package name or path that brought an id. @throws RangeError for one that nobody has registered. */
  sourceOf(kind: 'interceptor' | 'dialer type' | 'resolver', id: string): string {
    const source = this.#owners.get(`${kind} ${id}`);
    if (source === undefined) throw new RangeError(`nobody has registered the ${kind} ${id}`);
    return source;
  }

  /** Highest priority first. */
  interceptors(): ReadonlyArray<InterceptorDefinition<never>> {
    return [...this.#container.all(Tokens.interceptor)].sort(byPriority);
  }

  interceptor(id: string): InterceptorDefinition<never> | undefined {
    return this.interceptors().find((definition) => definition.id === id);
  }

  get dialerTypes(): ReadonlyMap<string, DialerDefinition<never>> {
    return new Map(this.#container.all(Tokens.dialer).map((definition) => [definition.type, definition]));
  }

  /** Highest priority first. */
  resolvers(): ReadonlyArray<ResolverDefinition<never>> {
    return [...this.#container.all(Tokens.resolver)].sort(byPriority);
  }
}
