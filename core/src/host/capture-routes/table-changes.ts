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

/** Goes through both in step: they mostly hold the same in the same order, and a look-up for each route costs ten times that. */
function differences(old: TableRoutes, now: TableRoutes): readonly Difference[] {
  const found: Difference[] = [];
  const olds = old.entries();
  let was = olds.next();
  const skipRemoved = (key: PrefixKey | undefined) => {
    while (was.done !== true && was.value[0] !== key && !now.has(was.value[0])) {
      found.push({ key: was.value[0], old: was.value[1], now: undefined });
      was = olds.next();
    }
  };
  for (const [key, route] of now) {
    skipRemoved(key);
    const inStep = was.done !== true && was.value[0] === key;
    const before = inStep ? was.value?.[1] : old.get(key);
    if (inStep) was = olds.next();
    if (before?.steered !== route.steered) found.push({ key, old: before, now: route });
  }
  for (; was.done !== true; was = olds.next()) skipRemoved(undefined);
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

/** What a table last became: its routes and what is asked of its classes are compared in one update. */
const known = new WeakMap<TableRoutes, { readonly old: WeakRef<TableRoutes>; readonly changes: TableChanges }>();

export function tableChanges(old: TableRoutes, now: TableRoutes): TableChanges {
  if (old === now) return NO_CHANGES;
  const before = known.get(now);
  if (before?.old.deref() === old) return before.changes;
  const changes = changesOf(old, now);
  known.set(now, { old: new WeakRef(old), changes });
  return changes;
}

const NO_CHANGES: TableChanges = { gains: [], losses: [] };

function isFlat(routes: TableRoutes): boolean {
  for (const { steered } of routes.values()) if (!steered) return false;
  return true;
}

function changesOf(old: TableRoutes, now: TableRoutes): TableChanges {
  const changed = differences(old, now);
  if (changed.length === 0) return NO_CHANGES;
  const answer = isFlat(old) && isFlat(now) ? undefined : answers(old, now);
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
