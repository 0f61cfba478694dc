/**
 * Names of our chains: `weir/<owner>/<part>`. Letters, digits and `/`, `-`, `_` only, since that is what nftables takes
 * without quotes, so that a saved ruleset can be loaded again; no owner can hold a `/`, so that no owner's prefix is
 * another's. A chain's name has at most 28 characters (XT_EXTENSION_MAXNAMELEN, linux/netfilter/x_tables.h).
 */
import { createHash } from 'node:crypto';
import { UsageError } from '@weir/core';

/** Owners up to this length stand in the name as they are; `unrouted` must fit behind. */
const LONGEST_OWNER = 12;

/** Hexadecimal digits of the hash that stands for a longer owner. */
const HASH_DIGITS = 12;

/**
 * What all chains of an owner begin with: `weir/default/`, or `weir-h/<hash>/` for owners with a long name.
 * @throws UsageError for an owner that cannot be part of a chain's name.
 */
export function chainPrefix(owner: string): string {
  if (!/^[A-Za-z0-9_.-]{1,64}$/.test(owner)) {
    throw new UsageError({
      problem: `The owner "${owner}" cannot be part of the name of an iptables chain.`,
      remedy: 'Use at most 64 letters, digits, dots, dashes and underscores.',
    });
  }
  if (owner.length <= LONGEST_OWNER) return `weir/${owner}/`;
  return `weir-h/${createHash('sha256').update(owner).digest('hex').slice(0, HASH_DIGITS)}/`;
}

/** True for chains of any owner. */
export function isWeirChain(name: string): boolean {
  return /^weir(?:-h)?\/[^/]+\//.test(name);
}

/** The chains that there always are, or nearly always; those of the tree are numbered. */
export type ChainPart = 'claim' | 'own' | 'set' | 'pick' | 'chosen' | 'out' | 'pre' | 'unrouted';
