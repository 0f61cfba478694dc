/** What a reload can change, what stays as it was at start, and how two configurations differ. */
import { isExactName } from '../capture/index.ts';
import type { Configuration } from '../config/model.ts';
import type { ReloadReport } from './report.ts';

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
  const kept = Object.fromEntries(FIXED.map((key) => [key, before[key]])) as unknown as Pick<Configuration, FixedKey>;
  return { kept, changed: FIXED.filter((key) => text(before[key]) !== text(after[key])) };
}

/** Prefixes hold bigints, which JSON has not. */
function text(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => (typeof inner === 'bigint' ? inner.toString() : inner));
}

/** Which services came, went or are otherwise than before. */
export function difference(before: Configuration, after: Configuration): Omit<ReloadReport, 'generation'> {
  // A dialer that is written in its service has a name that stays.
  const texts = ({ services, dialers }: Configuration): Map<string, string> =>
    new Map(
      services.map((service) => {
        const used = dialers.filter(({ name }) => service.dialers.includes(name));
        return [service.name, text([service, used])];
      }),
    );
  const [old, now] = [texts(before), texts(after)];
  return {
    added: [...now.keys()].filter((name) => !old.has(name)),
    changed: [...now].filter(([name, value]) => old.has(name) && old.get(name) !== value).map(([name]) => name),
    removed: [...old.keys()].filter((name) => !now.has(name)),
  };
}

/** Names without wildcards: they get their addresses at start. */
export function exactNames({ services }: Configuration): readonly string[] {
  return services.flatMap((service) => service.names).filter(isExactName);
}

export function capturesNames({ services }: Configuration): boolean {
  return services.some((service) => service.names.length > 0);
}
