/** A mechanism that has its name, priority and capabilities, and is not built yet: it refuses, and says so. */
import { UnsupportedError } from './errors.ts';
import type { Capabilities, Interceptor, InterceptorDefinition } from './interceptor.ts';

const REMEDY = 'Use --interceptor nft.';

/** What is known of it beforehand. */
export interface AnnouncedInterceptor {
  readonly id: string;
  readonly priority: number;
  /** What it will be able to do. */
  readonly capabilities: Capabilities;
  readonly module: URL;
}

/**
 * A definition with `built: false`: `auto` leaves it out, a probe says unsupported, and everything that would change the
 * host throws UnsupportedError.
 */
export function announceInterceptor(announced: AnnouncedInterceptor): InterceptorDefinition {
  const refusal = () =>
    new UnsupportedError({ problem: `The interceptor ${announced.id} is not built yet.`, remedy: REMEDY });
  const interceptor: Interceptor = {
    probe: async () => ({
      verdict: 'unsupported',
      missing: [{ kind: 'build', name: 'not built yet', remedy: REMEDY }],
    }),
    provision: () => Promise.reject(refusal()),
    start: () => Promise.reject(refusal()),
    update: () => Promise.reject(refusal()),
    verify: async () => [],
    repair: async () => {},
    drain: async () => {},
    stop: async () => {},
  };
  return {
    ...announced,
    built: false,
    options: { '~standard': { version: 1, vendor: 'weir', validate: (value) => ({ value }) } },
    points: () => [],
    plan: () => {
      throw refusal();
    },
    create: () => interceptor,
    cleanUp: async () => [],
  };
}
