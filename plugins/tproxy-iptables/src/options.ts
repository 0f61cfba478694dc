/** Options under `interceptors.tproxy-iptables` of a configuration. */
import type { StandardIssue, StandardSchema } from '@weir/core';
import type { Variant } from './programs.ts';

export interface TproxyIptablesOptions {
  /** Which iptables; default `auto`: the one that has this host's rules. */
  readonly variant: 'auto' | Variant;
}

const VARIANTS: readonly unknown[] = ['auto', 'nft', 'legacy'];

export const tproxyIptablesOptions: StandardSchema<TproxyIptablesOptions> = {
  '~standard': {
    version: 1,
    vendor: 'weir',
    validate: (value) => {
      if (value === undefined || value === null) return { value: { variant: 'auto' } };
      if (typeof value !== 'object' || Array.isArray(value)) {
        return { issues: [{ message: 'must be a mapping with the key "variant"' }] };
      }
      const { variant = 'auto', ...others } = value as Readonly<Record<string, unknown>>;
      const issues: StandardIssue[] = Object.keys(others).map((key) => ({
        message: `unknown key "${key}"; there is only "variant"`,
        path: [key],
      }));
      if (!VARIANTS.includes(variant)) {
        issues.push({ message: 'must be auto, nft or legacy', path: ['variant'] });
      }
      return issues.length > 0 ? { issues } : { value: { variant: variant as TproxyIptablesOptions['variant'] } };
    },
  },
};
