/**
 * From one content of a routing table to the next, in two parts: first what steers more, then what steers less. Between
 * any two steps each destination is answered by the old content or the new one. Pure.
 */
import { comparePrefixes, prefixBounds } from '../../capture/address.ts';
import type { PrefixKey } from './prefix-key.ts';
import type { ClassRoute } from './route-class.ts';
import type { TableRoutes } from './routing.ts';

export interface TableStep {
  /** What to do with the route: put it there, in the place of another one to the same prefix, or remove it. */
  readonly kind: 'put' | 'remove';
  readonly route: ClassRoute;
}

export interface TableChanges {
  readonly gains: readonly TableStep[];
  readonly losses: readonly TableStep[];
}

interface Difference {
  readonly key: PrefixKey;
  readonly old: ClassRoute | undefined;
  readonly now: ClassRoute | undefined;
}

function differences(old: TableRoutes, now: TableRoutes): readonly Difference[] {
  const found: Difference[] = [];
  for (const [key, route] of now) {
    const before = old.get(key);
    if (before?.steered !== route.steered) found.push({ key, old: before, now: route });
  }
  for (const [key, route] of old) if (!now.has(key)) found.push({ key, old: route, now: undefined });
  return found;
}

/** Whether prefixes are steered in the end, before and after: an own route or what is around it says so. */
function answers(
  old: TableRoutes,
  now: TableRoutes,
): (key: PrefixKey) => { readonly old: boolean; readonly now: boolean } {
  const known = new Map<PrefixKey, { readonly old: boolean; readonly now: boolean }>();
  const all = [...new Map([...old, ...now])].toSorted(([, a], [, b]) => comparePrefixes(a.prefix, b.prefix));
  const around: Array<{ readonly last: bigint; readonly old: boolean; readonly now: boolean }> = [];
  for (const [key, { prefix }] of all) {
    const [first, last] = prefixBounds(prefix);
    while ((around.at(-1)?.last ?? last) < first) around.pop();
    const outer = around.at(-1);
    const answer = {
      old: old.get(key)?.steered ?? outer?.old ?? false,
      now: now.get(key)?.steered ?? outer?.now ?? false,
    };
    known.set(key, answer);
    around.push({ last, ...answer });
  }
  return (key) => known.get(key) ?? { old: false, now: false };
}

const longestFirst = (a: TableStep, b: TableStep) => b.route.prefix.length - a.route.prefix.length;

export function tableChanges(old: TableRoutes, now: TableRoutes): TableChanges {
  const changed = differences(old, now);
  if (changed.length === 0) return { gains: [], losses: [] };
  const isFlat = [...old.values(), ...now.values()].every(({ steered }) => steered);
  const answer = isFlat ? undefined : answers(old, now);
  const quiet: TableStep[] = [];
  const gains: TableStep[] = [];
  const losses: TableStep[] = [];
  for (const difference of changed) {
    const { old: was, now: is } = answer?.(difference.key) ?? {
      old: difference.old !== undefined,
      now: difference.now !== undefined,
    };
    const step: TableStep = difference.now
      ? { kind: 'put', route: difference.now }
      : { kind: 'remove', route: difference.old as ClassRoute };
    if (is && !was) gains.push(step);
    else if (was && !is) losses.push(step);
    // Says what holds already, and must be there before what is around it changes; or is not needed once that has.
    else if (step.kind === 'put') quiet.push(step);
    else losses.push(step);
  }
  const shortestFirst = (a: TableStep, b: TableStep) => longestFirst(b, a);
  return {
    gains: [...quiet.toSorted(longestFirst), ...gains.toSorted(longestFirst)],
    losses: losses.toSorted(shortestFirst),
  };
}
