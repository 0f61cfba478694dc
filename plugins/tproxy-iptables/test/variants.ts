/** Both variants of iptables, and one interceptor of these tests with one of them. */
import type { PlanInput } from '@weir/core';
import { normaliseIptables, shell, type TproxyEnvironment, TproxyInstance } from '@weir/core/testing';
import { tproxyIptables } from '../src/index.ts';

export type Variant = 'nft' | 'legacy';

export const VARIANTS: readonly Variant[] = ['nft', 'legacy'];

export const signal = new AbortController().signal;

/**
 * Everything that iptables and ip know of the namespace. Of nf_tables byte by byte; legacy iptables never gives a table
 * back, so empty ones count as absent there.
 */
export function state(): string {
  const legacy = normaliseIptables(shell('iptables-legacy-save; ip6tables-legacy-save'));
  const rest = 'nft -s list ruleset; ip rule; ip -6 rule; ip route show table all; ip -6 route show table all';
  return `${legacy}${shell(rest)}`;
}

/** The rules of both families as iptables-save prints them, without what is always there. */
export function saved(variant: Variant): string {
  return normaliseIptables(shell(`iptables-${variant}-save; ip6tables-${variant}-save`));
}

export function instance(variant: Variant, input: Partial<PlanInput> = {}, failAt = 0): TproxyInstance {
  return new TproxyInstance(tproxyIptables, { input, failAt, options: { variant } });
}

export function environment(variant: Variant): TproxyEnvironment {
  return { make: (input, failAt) => instance(variant, input, failAt), state };
}
