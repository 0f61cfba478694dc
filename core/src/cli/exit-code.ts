/** What a command's exit code says. docs/errors.md has the same table for operators. */
import { WeirError } from '../api/errors.ts';

export const EXIT = {
  done: 0,
  failure: 1,
  usage: 2,
  noInterceptor: 3,
  selfTest: 4,
  drift: 5,
  running: 6,
  notPermitted: 7,
  interrupted: 130,
} as const;

const BY_CODE: Readonly<Record<string, number>> = {
  WEIR_USAGE: EXIT.usage,
  WEIR_CONFIGURATION: EXIT.usage,
  WEIR_PLUGIN: EXIT.usage,
  WEIR_UNSUPPORTED: EXIT.noInterceptor,
  WEIR_INEFFECTIVE: EXIT.noInterceptor,
  WEIR_NO_INTERCEPTOR: EXIT.noInterceptor,
  WEIR_SELF_TEST: EXIT.selfTest,
  WEIR_DRIFT: EXIT.drift,
  WEIR_ALREADY_RUNNING: EXIT.running,
  WEIR_NOT_RUNNING: EXIT.running,
  WEIR_NOT_PERMITTED: EXIT.notPermitted,
};

/** By `code`, not by class: a plugin may bring its own copy of the classes. */
export function exitCodeOf(error: unknown): number {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  if (typeof code !== 'string') return EXIT.failure;
  if (Object.hasOwn(BY_CODE, code)) return BY_CODE[code] as number;
  if (!(error instanceof WeirError) && (code === 'EPERM' || code === 'EACCES')) return EXIT.notPermitted;
  return EXIT.failure;
}
