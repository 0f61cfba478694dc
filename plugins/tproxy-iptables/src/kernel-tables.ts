/**
 * What the programs do not tell about the kernel's tables: whether anything changed since we looked, and which built-in
 * chains are there only because iptables made them for us.
 */
import { readFileSync } from 'node:fs';
import type { Family } from '@weir/core';
import {
  AF_INET,
  AF_INET6,
  libc,
  nftChains,
  type NftChainState,
  nftTable,
  removeEmptyNft,
  rulesetGeneration,
  SOCK_CLOEXEC,
  SOCK_RAW,
  SOL_IP,
  SOL_IPV6,
} from '@weir/core/sys';
import type { TableName } from './chains.ts';
import type { Variant } from './programs.ts';

/** The tables we put anything into. */
export const TABLES: readonly TableName[] = ['filter', 'mangle'];

/** linux/netfilter_ipv4/ip_tables.h, linux/netfilter_ipv6/ip6_tables.h; the same number in both. */
const IPT_SO_GET_INFO = 64;
/** struct ipt_getinfo: name 32 · valid_hooks u32 · hook_entry 5×u32 · underflow 5×u32 · num_entries u32 · size u32. */
const GETINFO_LENGTH = 84;
/** Any will do that only root may have (linux/in.h, IPPROTO_RAW), as libiptc does. */
const IPPROTO_RAW = 255;

function nftFamily(family: Family): 'ip' | 'ip6' {
  return family === 4 ? 'ip' : 'ip6';
}

function legacyInfo(family: Family, table: string): string | undefined {
  const fd = libc.socket(family === 4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
  if (fd < 0) return undefined;
  try {
    const info = Buffer.alloc(GETINFO_LENGTH);
    info.write(table, 'latin1');
    const level = family === 4 ? SOL_IP : SOL_IPV6;
    if (libc.getsockopt(fd, level, IPT_SO_GET_INFO, info, Int32Array.of(GETINFO_LENGTH)) !== 0) return undefined;
    return info.toString('hex', 32);
  } finally {
    libc.close(fd);
  }
}

/**
 * A text that changes when the tables do. nft: with any change of any table. Legacy: with the number, the size or the
 * place of rules, which a rule in another's stead may leave as they are. `undefined` when the kernel does not say.
 */
export function fingerprint(variant: Variant, family: Family): string | undefined {
  if (variant === 'nft') return String(rulesetGeneration());
  const infos = TABLES.map((table) => legacyInfo(family, table));
  return infos.includes(undefined) ? undefined : infos.join(' ');
}

/** Tables of legacy iptables that exist in this namespace; naming another one to a program would make it. */
export function legacyTables(family: Family): readonly string[] {
  try {
    const names = readFileSync(`/proc/thread-self/net/${family === 4 ? 'ip' : 'ip6'}_tables_names`, 'utf8');
    return names.split('\n').filter((name) => name !== '');
  } catch {
    return [];
  }
}

/**
 * Whether there may be chains of this prefix: for certain in nf_tables, without starting a program; in legacy iptables
 * only a listing knows more than that there are tables.
 */
export function mayHaveChains(variant: Variant, family: Family, prefix: string): boolean {
  if (variant === 'legacy') return TABLES.some((table) => legacyTables(family).includes(table));
  return TABLES.some((table) => nftChains(nftFamily(family), table).some(({ name }) => name.startsWith(prefix)));
}

function baseChains(family: Family, table: TableName): readonly NftChainState[] {
  return nftChains(nftFamily(family), table).filter((chain) => chain.base);
}

/** Built-in chains that nf_tables has for iptables now, and whether there is a table to hold them. */
export interface BuiltIns {
  readonly table: TableName;
  readonly exists: boolean;
  readonly chains: readonly string[];
}

export function builtIns(family: Family): readonly BuiltIns[] {
  return TABLES.map((table) => ({
    table,
    exists: nftTable(nftFamily(family), table) !== undefined,
    chains: baseChains(family, table).map((chain) => chain.name),
  }));
}

/** Takes away the empty built-in chains that were not there before, and the tables. What somebody uses now stays. */
export function restoreBuiltIns(family: Family, before: readonly BuiltIns[]): void {
  for (const { table, exists, chains } of before) {
    const now = baseChains(family, table);
    const unused = now.filter((chain) => !chains.includes(chain.name) && chain.uses === 0 && chain.accepts);
    removeUnused(
      family,
      table,
      unused.map((chain) => chain.name),
      !exists,
    );
  }
}

/**
 * Takes away what may be there only because of a dead instance: the built-in chains that it had rules in, where they are
 * empty and accept, and tables in which nothing else is. To packets they are as good as absent.
 */
export function removeUnusedBuiltIns(family: Family, tables: readonly string[]): void {
  for (const table of TABLES.filter((name) => tables.includes(name))) {
    const state = nftTable(nftFamily(family), table);
    if (!state) continue;
    const chains = baseChains(family, table);
    const unused = chains.filter((chain) => chain.uses === 0 && chain.accepts).map((chain) => chain.name);
    if (state.uses === unused.length) removeUnused(family, table, unused, true);
    else removeUnused(family, table, unused.filter(isHooked), false);
  }
}

function isHooked(chain: string): boolean {
  return chain === 'PREROUTING' || chain === 'OUTPUT';
}

function removeUnused(family: Family, table: TableName, chains: readonly string[], whole: boolean): void {
  if (whole && removeEmptyNft(nftFamily(family), table, { chains, whole: true })) return;
  // Somebody else uses the table; one chain at a time, since they may have taken any.
  for (const chain of chains) removeEmptyNft(nftFamily(family), table, { chains: [chain], whole: false });
}
