/**
 * Removes what a killed process left: rules and routes found by the routing protocol id and the owner's numbers, and the
 * device of a process that was to keep things blocked. Otherwise the device went with the process, and its routes with it.
 */
import { type CleanUpContext, emptyTables, type Family, removeRules, rulesName, tablesName } from '@weir/core';
import { deviceName } from './addresses.ts';
import { removeLeftDevice } from './device.ts';

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
  if (removeLeftDevice(device)) note(`device ${device}`);
  return removed;
}
