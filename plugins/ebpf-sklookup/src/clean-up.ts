/**
 * Removes what a killed process left: rules and routes found by the routing protocol id and the owner's numbers, and the
 * device of a process that was to keep things blocked. The program went with the process.
 */
import type { CleanUpContext, Family } from '@weir/core';
import { removeAnchor } from './anchor.ts';
import { emptyTables, removeRules, rulesName, tablesName } from './live-routing.ts';
import { deviceName } from './own-sources.ts';

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
  const device = deviceName(numbers);
  if (removeAnchor(device)) note(`device ${device}`);
  return removed;
}
