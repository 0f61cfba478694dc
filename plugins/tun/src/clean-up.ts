/**
 * Removes what a killed process left: rules, and the routes that were to keep things blocked, found by the routing protocol
 * id and the owner's numbers. The device went with the process, and with it all routes by way of it.
 */
import { type CleanUpContext, emptyTables, type Family, removeRules, rulesName, tablesName } from '@weir/core';

const FAMILIES: readonly Family[] = [4, 6];

/** @returns one line for each thing that was removed. */
export function cleanUp({ numbers, log }: CleanUpContext): readonly string[] {
  const removed: string[] = [];
  const note = (what: string) => {
    removed.push(what);
    log.info({ removed: what }, 'removed what a dead instance left');
  };
  for (const family of FAMILIES) {
    const rules = removeRules(family, numbers);
    if (rules > 0) note(`${rulesName(family, numbers)} (${rules} rules)`);
    const routes = emptyTables(family, numbers);
    if (routes > 0) note(`${tablesName(family, numbers)} (${routes} routes)`);
  }
  return removed;
}
