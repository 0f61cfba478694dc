/** Which of the two iptables to use: the one that this host uses already. The kernel asks both, but people look at one. */
import type { Family } from '@weir/core';
import { legacyTables } from './kernel-tables.ts';
import { defaultVariant, Programs, type Variant } from './programs.ts';
import { isInUse, readSaved } from './saved.ts';

export interface Choice {
  readonly programs: Programs;
  /** Why this one, as it is told to people. */
  readonly because: string;
}

/** Without making anything: legacy iptables makes every table that is looked at. */
async function hasRules(programs: Programs): Promise<boolean> {
  const families = ([4, 6] as const).filter((family) => programs.has(family));
  const used = await Promise.all(families.map((family) => usesIn(programs, family)));
  return used.includes(true);
}

async function usesIn(programs: Programs, family: Family): Promise<boolean> {
  if (programs.variant === 'legacy' && legacyTables(family).length === 0) return false;
  const { ok, stdout } = await programs.save(family);
  return ok && isInUse(readSaved(stdout));
}

/**
 * @param wanted what the configuration says.
 * @returns `undefined` when no programs of a suitable variant are installed.
 */
export async function chooseVariant(wanted: 'auto' | Variant): Promise<Choice | undefined> {
  if (wanted !== 'auto') {
    const programs = await Programs.find(wanted);
    return programs && { programs, because: 'the configuration says so' };
  }
  const [nft, legacy] = await Promise.all([Programs.find('nft'), Programs.find('legacy')]);
  if (!nft || !legacy) {
    const programs = nft ?? legacy;
    return programs && { programs, because: 'no other is installed' };
  }
  const [nftUsed, legacyUsed] = await Promise.all([hasRules(nft), hasRules(legacy)]);
  if (nftUsed !== legacyUsed) {
    return { programs: nftUsed ? nft : legacy, because: 'the rules of this host are there' };
  }
  const programs = (await defaultVariant()) === 'legacy' ? legacy : nft;
  const both = nftUsed ? 'this host has rules in both, and' : 'this host has no rules yet, and';
  return { programs, because: `${both} \`iptables\` is this one` };
}
