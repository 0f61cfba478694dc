/** What `weir doctor` says: what each mechanism lacks here, and what on this host is in Weir's way. */
import type { MissingRequirement } from '../api/interceptor.ts';

/** `problem`: Weir collides with it, or captures nothing behind it. `warning`: something will not work as expected. */
export type Severity = 'ok' | 'warning' | 'problem';

export interface Finding {
  /** Name of the check, e.g. `marks`. A check says `ok` once, or everything that it found. */
  readonly check: string;
  readonly severity: Severity;
  /** One sentence: what is so. */
  readonly what: string;
  /** One sentence in the imperative; absent when there is nothing to do. */
  readonly remedy?: string;
  /** The same as a command for a shell, where one command does it. */
  readonly command?: string;
  /** The same as a setting of the configuration, where that does it. */
  readonly setting?: { readonly key: string; readonly value: unknown };
}

export interface BackendReport {
  readonly interceptor: string;
  readonly priority: number;
  readonly transparent: boolean;
  readonly verdict: 'supported' | 'unsupported' | 'inconclusive';
  /** Facts, or the cause of not knowing. */
  readonly detail: string;
  readonly missing: readonly MissingRequirement[];
}

export interface DoctorReport {
  readonly owner: string;
  readonly backends: readonly BackendReport[];
  /** True when at least one mechanism that captures may work here. */
  readonly usable: boolean;
  readonly findings: readonly Finding[];
}

/** The one finding of a check that found nothing. */
export function fine(check: string, what: string): Finding {
  return { check, severity: 'ok', what };
}
