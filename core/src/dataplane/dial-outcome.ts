/** What the errno of a dial says of its flow. */
import type { FlowOutcome } from '../api/flow.ts';
import { ECONNREFUSED, ECONNRESET, EHOSTUNREACH, EMFILE, ENETUNREACH, ENFILE, ETIMEDOUT } from '../sys/errno.ts';

/** Not an errno: the dial would have arrived at one of our own listeners. */
export const LOOP = -1;

export function outcomeOfErrno(code: number): FlowOutcome {
  switch (code) {
    case LOOP:
      return 'dial-loop';
    case ECONNREFUSED:
    case ECONNRESET:
      return 'dial-refused';
    case ETIMEDOUT:
      return 'dial-timeout';
    case ENETUNREACH:
    case EHOSTUNREACH:
      return 'dial-unreachable';
    case EMFILE:
    case ENFILE:
      return 'dial-limit';
    default:
      return 'dial-error';
  }
}
