/** Removes what a killed process left: found by the table's name, the routing protocol id and the owner's numbers. */
import { type CleanUpContext, cleanUpTproxyRouting } from '@weir/core';
import { nftTable } from '@weir/core/sys';
import { removeTable } from './live-table.ts';
import { Ruleset } from './ruleset.ts';
import { tableName } from './table.ts';

/**
 * Steering first, then the rules, then the routes.
 * @returns one line for each thing that was removed.
 * @throws NotPermittedError when a living process owns the table.
 */
export function cleanUp({ owner, numbers, log }: CleanUpContext): readonly string[] {
  const removed: string[] = [];
  const note = (what: string) => {
    removed.push(what);
    log.info({ removed: what }, 'removed what a dead instance left');
  };
  const table = tableName(owner);
  // nft itself is only needed when there is a table to delete.
  if (nftTable('inet', table)) {
    const ruleset = new Ruleset();
    try {
      if (removeTable(ruleset, table)) note(`nft table inet ${table}`);
    } finally {
      ruleset.close();
    }
  }
  cleanUpTproxyRouting(numbers, note);
  return removed;
}
