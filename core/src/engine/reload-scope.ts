/** What a reload can change and what stays as it was at start. */
import type { Configuration } from '../config/model.ts';

/** Keys that are fixed for a run: sockets, threads, numbers and the mechanism depend on them. */
const FIXED = [
  'interceptor',
  'interceptors',
  'require',
  'owner',
  'workers',
  'resolver',
  'limits',
  'admin',
  'plugins',
  'capture',
] as const satisfies readonly (keyof Configuration)[];

type FixedKey = (typeof FIXED)[number];

/** The old values of fixed keys, and which of them the new configuration would have changed. */
export function fixedKeys(
  before: Configuration,
  after: Configuration,
): { readonly kept: Pick<Configuration, FixedKey>; readonly changed: readonly FixedKey[] } {
  const text = (value: unknown): string =>
    JSON.stringify(value, (_key, inner: unknown) => (typeof inner === 'bigint' ? inner.toString() : inner));
  const kept = Object.fromEntries(FIXED.map((key) => [key, before[key]])) as unknown as Pick<Configuration, FixedKey>;
  return { kept, changed: FIXED.filter((key) => text(before[key]) !== text(after[key])) };
}
