/** The options of `type: direct`. Written by hand instead of with zod, since workers import the dialers. */
import type { StandardIssue, StandardSchema } from '../api/schema.ts';
import { ALLOWED, parseHostPort, quote, ScalarFault } from '../config/scalars.ts';
import { didYouMean } from '../config/suggest.ts';

export interface DirectOptions {
  /** Connect here instead of to the flow's own destination. `host` is an address or a name. */
  readonly to?: { readonly host: string; readonly port: number };
}

const issue = (problem: string, allowed: string, path: readonly PropertyKey[]): StandardIssue => ({
  message: `${problem}\n${allowed}`,
  path,
});

function target(value: unknown): { readonly to: DirectOptions['to'] & {} } | StandardIssue {
  if (typeof value !== 'string') return issue('"to" is no text', ALLOWED.hostPort, ['to']);
  try {
    return { to: parseHostPort(value) };
  } catch (error) {
    if (error instanceof ScalarFault) return issue(error.problem, error.allowed, ['to']);
    throw error;
  }
}

/** Takes `{ to?: 'host:port' }`. */
export const directOptions: StandardSchema<DirectOptions> = {
  '~standard': {
    version: 1,
    vendor: 'weir',
    validate(value) {
      const given = (value ?? {}) as Readonly<Record<string, unknown>>;
      const issues = Object.keys(given)
        .filter((key) => key !== 'to')
        .map((key) => issue(`unknown key ${quote(key)}${didYouMean(key, ['to'])}`, 'to', [key]));
      if (!Object.hasOwn(given, 'to')) return issues.length > 0 ? { issues } : { value: {} };
      const found = target(given['to']);
      if ('to' in found) return issues.length > 0 ? { issues } : { value: found };
      return { issues: [...issues, found] };
    },
  },
};
