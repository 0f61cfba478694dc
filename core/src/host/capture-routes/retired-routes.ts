/**
 * The table of living flows, as data: destinations that are no longer captured and may still have flows, which need a way
 * to this host. Pure.
 */
import { keyOf } from './prefix-key.ts';
import type { FamilyRouting, TableRoutes } from './routing.ts';
import { tableChanges, type TableStep } from './table-changes.ts';

/** Of more destinations than these the oldest are given up. */
const RETIRED = 65_536;

const EMPTY: TableRoutes = new Map();

/** Whether it takes something from a class; the end of an exception does not. */
function takes({ kind, route }: TableStep): boolean {
  return (kind === 'remove') === route.steered;
}

/** Adds what a change takes from any class: removed prefixes, and exceptions inside others. The newest stand last. */
export function retire(retired: TableRoutes, old: FamilyRouting, now: FamilyRouting): TableRoutes {
  const gone = [...old.classes].flatMap(([text, routes]) =>
    tableChanges(routes, now.classes.get(text) ?? EMPTY)
      .losses.filter(takes)
      .map(({ route }) => route.prefix),
  );
  if (gone.length === 0) return retired;
  const entries = new Map(retired);
  for (const prefix of gone) {
    const key = keyOf(prefix);
    entries.delete(key);
    entries.set(key, { prefix, steered: true });
  }
  return new Map([...entries].slice(-RETIRED));
}
