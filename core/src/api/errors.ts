/**
 * Every error that Weir raises on purpose. Callers test `code`, which is stable across versions and survives two
 * copies of this package in one process; `message` is for people and always ends in the remedy; the failure
 * underneath is kept as `cause`. docs/errors.md lists each code.
 */

/** What to say beside the code: what happened, and what the reader can do about it. */
export interface ErrorText {
  /** One sentence: what could not be done, with the values that matter and no secret. */
  readonly problem: string;
  /** One sentence in the imperative: what to do now. */
  readonly remedy: string;
  readonly cause?: unknown;
}

/** The base of all errors below. Thrown itself only with a code that needs no class of its own. */
export class WeirError extends Error {
  /** Stable, upper case, `WEIR_…`. */
  readonly code: string;
  readonly problem: string;
  readonly remedy: string;

  constructor(code: string, text: ErrorText) {
    super(`${text.problem} ${text.remedy}`, text.cause === undefined ? undefined : { cause: text.cause });
    this.name = new.target.name;
    this.code = code;
    this.problem = text.problem;
    this.remedy = text.remedy;
  }
}

/** By `code` and not by class: a plugin may bring its own copy of the classes. */
export function isWeirError(error: unknown): error is WeirError {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('WEIR_');
}

/** Thrown when a command line cannot be understood. Exit code 2. */
export class UsageError extends WeirError {
  constructor(text: ErrorText) {
    super('WEIR_USAGE', text);
  }
}

/** One fault of a configuration, placed. Lines and columns count from 1. */
export interface ConfigurationFault {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** The path of keys, e.g. `services.0.ports.1`. */
  readonly path: string;
  readonly problem: string;
  /** What is allowed here instead. */
  readonly allowed: string;
  /** The source line, for the caret; absent when the fault is in no file. */
  readonly source?: string;
}

/** Thrown when a configuration is refused; carries all faults of it, not only the first. Exit code 2. */
export class ConfigurationError extends WeirError {
  readonly faults: readonly ConfigurationFault[];

  constructor(faults: readonly ConfigurationFault[], text: ErrorText) {
    super('WEIR_CONFIGURATION', text);
    this.faults = faults;
  }
}

/** Thrown when the kernel or the machine lacks what was asked. Selection goes on to the next interceptor. Exit 3. */
export class UnsupportedError extends WeirError {
  constructor(text: ErrorText) {
    super('WEIR_UNSUPPORTED', text);
  }
}

/** Thrown when steering was installed but the canary did not arrive. Selection rolls back and goes on. Exit 3. */
export class IneffectiveError extends WeirError {
  constructor(text: ErrorText) {
    super('WEIR_INEFFECTIVE', text);
  }
}

/** Thrown when no interceptor could start. Exit code 3. */
export class SelectionError extends WeirError {
  constructor(text: ErrorText) {
    super('WEIR_NO_INTERCEPTOR', text);
  }
}

/** Thrown when a system call is refused for want of a privilege. Exit code 7. */
export class NotPermittedError extends WeirError {
  constructor(text: ErrorText) {
    super('WEIR_NOT_PERMITTED', text);
  }
}

/** Thrown when a change of the host, or its reversal, failed. */
export class HostChangeError extends WeirError {
  constructor(text: ErrorText) {
    super('WEIR_HOST_CHANGE', text);
  }
}

/** Thrown when this owner already runs in this network namespace. Exit code 6. */
export class AlreadyRunningError extends WeirError {
  constructor(text: ErrorText) {
    super('WEIR_ALREADY_RUNNING', text);
  }
}

/** Thrown by commands that talk to a running instance when there is none. Exit code 6. */
export class NotRunningError extends WeirError {
  constructor(text: ErrorText) {
    super('WEIR_NOT_RUNNING', text);
  }
}

/** Why a dial failed; the word in flow records and metrics. */
export type DialFailure =
  | 'refused'
  | 'timeout'
  | 'unreachable'
  | 'reset'
  | 'unresolved'
  | 'loop'
  | 'limit'
  | 'protocol'
  | 'denied'
  | 'error';

/** Thrown when an upstream cannot be had. The client gets RST. */
export class DialError extends WeirError {
  readonly failure: DialFailure;

  constructor(failure: DialFailure, text: ErrorText) {
    super('WEIR_DIAL', text);
    this.failure = failure;
  }
}

/** Thrown when a dial would arrive at one of Weir's own listeners. */
export class LoopError extends WeirError {
  constructor(text: ErrorText) {
    super('WEIR_LOOP', text);
  }
}

/** Thrown by a resolver to end the chain; the response code is what the client is told. */
export class ResolveError extends WeirError {
  readonly responseCode: 'SERVFAIL' | 'REFUSED' | 'NXDOMAIN' | 'FORMERR' | 'NOTIMP';

  constructor(responseCode: ResolveError['responseCode'], text: ErrorText) {
    super('WEIR_RESOLVE', text);
    this.responseCode = responseCode;
  }
}

/** Thrown when the resolver's self-test failed and `resolver.test` is `fatal`. Exit code 4. */
export class SelfTestError extends WeirError {
  constructor(text: ErrorText) {
    super('WEIR_SELF_TEST', text);
  }
}

/** Thrown when a plugin cannot be loaded or does not keep its contract; names the field. */
export class PluginError extends WeirError {
  constructor(text: ErrorText) {
    super('WEIR_PLUGIN', text);
  }
}

/** Thrown when drift, leftovers or collisions were found where the caller wanted none. Exit code 5. */
export class DriftError extends WeirError {
  constructor(text: ErrorText) {
    super('WEIR_DRIFT', text);
  }
}
