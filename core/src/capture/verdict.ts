/** Verdicts and decisions as numbers, for the places where they are compared, interned or looked up per flow. */
import type { ServiceId, Verdict } from '../api/capture.ts';

/** What is decided about a flow: the service that takes it, or one of the words. `none`: no row wants it. */
export type Decision = ServiceId | 'spare' | 'deny' | 'none';

/** Decisions that are no service, as the worker's table answers them. A service is its id, which is never negative. */
export const NONE = -1;
export const SPARE = -2;
export const DENY = -3;

export function codeOf(verdict: Verdict): number {
  if (verdict === 'spare') return SPARE;
  if (verdict === 'deny') return DENY;
  return verdict.steer;
}

export function decisionOf(code: number): Decision {
  switch (code) {
    case NONE:
      return 'none';
    case SPARE:
      return 'spare';
    case DENY:
      return 'deny';
    default:
      return code;
  }
}

/** True when a flow with this decision is brought to a capture point. */
export function isSteered(code: number): boolean {
  return code >= 0 || code === DENY;
}
