/**
 * The only importer of tsyringe. The container keeps several providers of one role and lets a test put its own in;
 * lifecycles are the engine's: tsyringe disposes only what it constructed itself, and in the wrong order.
 * No decorators: tokens and values.
 */
// tsyringe throws when it is imported before this.
import 'reflect-metadata';
import { container as root, type DependencyContainer, type InjectionToken } from 'tsyringe';
import type { DialerDefinition } from '../api/dialer.ts';
import type { InterceptorDefinition } from '../api/interceptor.ts';
import type { ResolverDefinition } from '../api/resolver.ts';

/** A role. The declared type keeps what a bare `InjectionToken` narrows away. */
export interface Token<T> {
  readonly token: InjectionToken<T>;
}

function token<T>(name: string): Token<T> {
  return { token: Symbol(name) };
}

export const Tokens = {
  interceptor: token<InterceptorDefinition<never>>('interceptor'),
  dialer: token<DialerDefinition<never>>('dialer'),
  resolver: token<ResolverDefinition<never>>('resolver'),
} as const;

/** One per engine; nothing is registered on tsyringe's global container. */
export class Container {
  readonly #container: DependencyContainer = root.createChildContainer();

  add<T>(role: Token<T>, value: T): void {
    this.#container.register(role.token, { useValue: value });
  }

  /** In the order of registration; empty when the role has no provider. */
  all<T>(role: Token<T>): readonly T[] {
    // resolveAll throws for a token that nobody registered.
    return this.#container.isRegistered(role.token) ? this.#container.resolveAll(role.token) : [];
  }
}
