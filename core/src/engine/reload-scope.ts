/** What a reload can change, what stays as it was at start, and how two configurations differ. */
import { isExactName } from '../capture/index.ts';
import type { Configuration, ServiceConfiguration } from '../config/model.ts';
import type { ReloadReport } from './report.ts';

/** Keys that are fixed for a run: sockets, threads, numbers and the mechanism depend on them. */
const FIXED = [
  'interceptor',
  'interceptors',
  'require',
  'owner',
  'workers',
  'workerCpus',
  'resolver',
  'limits',
  'admin',
  'plugins',
  'capture',
] as const satisfies readonly (keyof Configuration)[];

type FixedKey = (typeof FIXED)[number];

/** The old values of fixed keys, and which of them, as a file has them, the new configuration would have changed. */
export function fixedKeys(
  before: Configuration,
  after: Configuration,
): { readonly kept: Pick<Configuration, FixedKey>; readonly changed: readonly string[] } {
  const kept = Object.fromEntries(FIXED.map((key) => [key, before[key]])) as unknown as Pick<Configuration, FixedKey>;
  const changed = FIXED.filter((key) => text(before[key]) !== text(after[key]));
  return { kept, changed: changed.map((key) => key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)) };
}

/** Prefixes hold bigints, which JSON has not. */
function text(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => (typeof inner === 'bigint' ? inner.toString() : inner));
}

/** Which services came, went or are otherwise than before. */
export function difference(before: Configuration, after: Configuration): Omit<ReloadReport, 'generation'> {
  const [old, now] = [byName(before.services), byName(after.services)];
  // A dialer that is written in its service has a name that stays.
  const [oldDialers, dialers] = [textsOfDialers(before), textsOfDialers(after)];
  const isAsBefore = (service: ServiceConfiguration, was: ServiceConfiguration) =>
    isSame(service, was) && service.dialers.every((name) => oldDialers.get(name) === dialers.get(name));
  const changed: string[] = [];
  for (const service of after.services) {
    const was = old.get(service.name);
    if (was !== undefined && !isAsBefore(service, was)) changed.push(service.name);
  }
  return {
    added: [...now.keys()].filter((name) => !old.has(name)),
    changed,
    removed: [...old.keys()].filter((name) => !now.has(name)),
  };
}

/** Whether two values of plain data are equal, key by key. */
function isSame(one: unknown, other: unknown): boolean {
  if (Object.is(one, other)) return true;
  if (typeof one !== 'object' || typeof other !== 'object' || one === null || other === null) return false;
  if (Array.isArray(one)) {
    if (!Array.isArray(other) || one.length !== other.length) return false;
    return one.every((item, place) => isSame(item, other[place]));
  }
  const keys = Object.keys(one);
  if (Array.isArray(other) || keys.length !== Object.keys(other).length) return false;
  return keys.every((key) => isSame((one as Fields)[key], (other as Fields)[key]));
}

type Fields = Readonly<Record<string, unknown>>;

function byName(services: readonly ServiceConfiguration[]): ReadonlyMap<string, ServiceConfiguration> {
  return new Map(services.map((service) => [service.name, service]));
}

function textsOfDialers({ dialers }: Configuration): ReadonlyMap<string, string> {
  return new Map(dialers.map((dialer) => [dialer.name, text(dialer)]));
}

/** Names without wildcards: they get their addresses at start. */
export function exactNames({ services }: Configuration): readonly string[] {
  return services.flatMap((service) => service.names).filter(isExactName);
}

export function capturesNames({ services }: Configuration): boolean {
  return services.some((service) => service.names.length > 0);
}
