/** Cases that hold for the hooks of every TPROXY mechanism, in the thread's own namespace; any runner can run them. */
import type { PlanInput } from '../api/interceptor.ts';
import type { TestService } from './plan-input.ts';
import type { TproxyInstance } from './tproxy-instance.ts';

/** The mechanism under test. */
export interface TproxyEnvironment {
  /** @param input replaces parts of every input. @param failAt the change of the host that fails, counted from 1. */
  readonly make: (input?: Partial<PlanInput>, failAt?: number) => TproxyInstance;
  /** Everything of the thread's namespace that the mechanism may change, as text. */
  readonly state: () => string;
}

export interface TproxyCase {
  readonly name: string;
  /** Leaves the thread in another namespace. @throws AssertionError. */
  readonly run: (environment: TproxyEnvironment) => Promise<void>;
}

export const V4 = { address: '203.0.113.7', port: 443 };
export const V6 = { address: '2001:db8:7::7', port: 443 };

/** What takes flows to {@link V4} and {@link V6}. */
export const WEB: TestService = { prefixes: ['203.0.113.0/24', '2001:db8:7::/48'], ports: [[443, 443]] };

/** Of hooks that nobody interrupts. */
export const signal: AbortSignal = new AbortController().signal;
