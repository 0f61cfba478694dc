/** Removes what a killed process left: found by the chains' names, the routing protocol id and the owner's numbers. */
import { type CleanUpContext, cleanUpTproxyRouting, type Family } from '@weir/core';
import { chainPrefix } from './chain-names.ts';
import { guarded } from './change-guard.ts';
import { mayHaveChains, removeUnusedBuiltIns } from './kernel-tables.ts';
import { removeChains } from './live-chains.ts';
import { commandName, Programs } from './programs.ts';

const FAMILIES: readonly Family[] = [4, 6];

/**
 * Steering first, in whichever variant it is, then the rules, then the routes.
 * @returns one line for each thing that was removed.
 * @throws WeirError when something could not be removed.
 */
export async function cleanUp({ owner, numbers, log }: CleanUpContext): Promise<readonly string[]> {
  const removed: string[] = [];
  const note = (what: string) => {
    removed.push(what);
    log.info({ removed: what }, 'removed what a dead instance left');
  };
  const prefix = chainPrefix(owner);
  // A change that the dead process had begun comes to its end first.
  await guarded(prefix, async () => undefined);
  for (const variant of ['nft', 'legacy'] as const) {
    const families = FAMILIES.filter((family) => mayHaveChains(variant, family, prefix));
    // eslint-disable-next-line no-await-in-loop -- one after the other
    const programs = families.length > 0 ? await Programs.find(variant) : undefined;
    for (const family of families.filter((each) => programs?.has(each))) {
      if (!programs) continue;
      // eslint-disable-next-line no-await-in-loop -- one after the other
      const tables = await removeChains(programs, family, prefix);
      for (const table of tables) note(`${commandName(family)} chains ${prefix}* in ${table} (${variant})`);
      if (variant === 'nft' && tables.length > 0) removeUnusedBuiltIns(family, tables);
    }
  }
  cleanUpTproxyRouting(numbers, note);
  return removed;
}
