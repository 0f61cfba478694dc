/** Removes what a killed process left: found by the table's name, the routing protocol id and the owner's numbers. */
import type { CleanUpContext, Family } from '@weir/core';
import { formatRule } from '@weir/core/sys';
import { emptyTable, ownRules, ownTables, removeRule, ruleName, tableNameOf } from './live-routing.ts';
import { removeTable } from './live-table.ts';
import { tableState } from './nfnetlink.ts';
import { Ruleset } from './ruleset.ts';
import { tableName } from './table.ts';

const FAMILIES: readonly Family[] = [4, 6];

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
  if (tableState(table)) {
    const ruleset = new Ruleset();
    try {
      if (removeTable(ruleset, table)) note(`nft table inet ${table}`);
    } finally {
      ruleset.close();
    }
  }
  for (const family of FAMILIES) {
    for (const rule of ownRules(family, numbers)) {
      removeRule(rule);
      note(`${ruleName(rule)} (${formatRule(rule)})`);
    }
    for (const number of ownTables(family, numbers)) {
      const count = emptyTable(family, number, numbers.protocolId);
      note(`${tableNameOf(family, number)} (${count} routes)`);
    }
  }
  return removed;
}
