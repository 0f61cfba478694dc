/** Options under `interceptors.tproxy-iptables` of a configuration. */
import { keyedOptions } from '@weir/core';
import type { Variant } from './programs.ts';

export interface TproxyIptablesOptions {
  /** Which iptables; default `auto`: the one that has this host's rules. */
  readonly variant?: 'auto' | Variant;
}

const VARIANTS: readonly unknown[] = ['auto', 'nft', 'legacy'];

export const tproxyIptablesOptions = keyedOptions<TproxyIptablesOptions>({
  variant: (value) => (VARIANTS.includes(value) ? undefined : 'must be auto, nft or legacy'),
});
