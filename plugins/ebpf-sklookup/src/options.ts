/** Options under `interceptors.ebpf-sklookup` of a configuration. */
import {
  addressToNumber,
  familyOf,
  isAddress,
  parsePrefix,
  type Prefix,
  prefixContains,
  type StandardSchema,
} from '@weir/core';

export interface SkLookupOptions {
  /** The source address of captured local IPv4 flows. Default: 169.254.84.1 for the first owner, one more for each next. */
  readonly 'source-ipv4'?: string;
  /** The same for IPv6. Default: fd64:7765:6972:ffff::1 and up. */
  readonly 'source-ipv6'?: string;
}

const KEYS = { 'source-ipv4': 4, 'source-ipv6': 6 } as const;

/** Nothing that could be somebody's address on a network is refused, and everything that cannot be a source is. */
const NO_SOURCE: readonly Prefix[] = ['0.0.0.0/8', '127.0.0.0/8', '224.0.0.0/3', '::/127', 'fe80::/10', 'ff00::/8'].map(
  (text) => parsePrefix(text),
);

function problemOf(key: keyof typeof KEYS, value: unknown): string | undefined {
  const family = KEYS[key];
  if (typeof value !== 'string' || !isAddress(value) || familyOf(value) !== family) {
    return `must be an IPv${family} address`;
  }
  const number = addressToNumber(value);
  if (NO_SOURCE.some((prefix) => prefixContains(prefix, family, number))) {
    return 'must be a unicast address that is used for nothing else; not loopback, not unspecified, not multicast';
  }
  return undefined;
}

export const skLookupOptions: StandardSchema<SkLookupOptions> = {
  '~standard': {
    version: 1,
    vendor: 'weir',
    validate: (value) => {
      if (value === undefined || value === null) return { value: {} };
      if (typeof value !== 'object' || Array.isArray(value)) {
        return { issues: [{ message: `must be a mapping with the keys ${Object.keys(KEYS).join(', ')}` }] };
      }
      const issues = Object.entries(value).flatMap(([key, given]: [string, unknown]) => {
        const known = key === 'source-ipv4' || key === 'source-ipv6';
        const message = known ? problemOf(key, given) : `unknown key; there are ${Object.keys(KEYS).join(', ')}`;
        return message === undefined ? [] : [{ message, path: [key] }];
      });
      return issues.length > 0 ? { issues } : { value };
    },
  },
};
