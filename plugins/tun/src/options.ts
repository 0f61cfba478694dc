/** Options under `interceptors.tun` of a configuration. */
import {
  addressToNumber,
  familyOf,
  isAddress,
  parsePrefix,
  type Prefix,
  prefixContains,
  type StandardSchema,
} from '@weir/core';

export interface TunOptions {
  /** Bytes of the largest packet on the device: 1280 to 65535. Default 65535. */
  readonly mtu?: number;
  /** Addresses out of which flows get a source on the way to Weir: 1 to 16, each for 64,512 flows. Default 16. */
  readonly 'nat-addresses'?: number;
  /** `off`: the kernel computes checksums and cuts segments itself. Default `auto`. */
  readonly offload?: 'auto' | 'off';
  /** The source address of captured local IPv4 flows. Default: 169.254.84.1 for the first owner, one more for each next. */
  readonly 'source-ipv4'?: string;
  /** The same for IPv6. Default: fd64:7765:6972:ffff::1 and up. */
  readonly 'source-ipv6'?: string;
  /** The first of 16 addresses that flows get on the way to Weir; a multiple of 16. Default: 169.254.85.0, + 16 for each next owner. */
  readonly 'nat-ipv4'?: string;
  /** The same for IPv6. Default: fd64:7765:6972:fffe:: and up. */
  readonly 'nat-ipv6'?: string;
}

export const DEFAULT_MTU = 65_535;
/** Addresses of one owner; a prefix of that many is routed to the device. */
export const NAT_ADDRESSES = 16;

/** Nothing that could be somebody's address on a network is refused, and everything that cannot be a source is. */
const NO_SOURCE: readonly Prefix[] = ['0.0.0.0/8', '127.0.0.0/8', '224.0.0.0/3', '::/127', 'fe80::/10', 'ff00::/8'].map(
  (text) => parsePrefix(text),
);

function integer(least: number, most: number): (value: unknown) => string | undefined {
  return (value) =>
    Number.isInteger(value) && (value as number) >= least && (value as number) <= most
      ? undefined
      : `must be a whole number from ${least} to ${most}`;
}

function address(family: 4 | 6, aligned: boolean): (value: unknown) => string | undefined {
  return (value) => {
    if (typeof value !== 'string' || !isAddress(value) || familyOf(value) !== family) {
      return `must be an IPv${family} address`;
    }
    const number = addressToNumber(value);
    if (NO_SOURCE.some((prefix) => prefixContains(prefix, family, number))) {
      return 'must be a unicast address that is used for nothing else; not loopback, not unspecified, not multicast';
    }
    return aligned && number % BigInt(NAT_ADDRESSES) !== 0n ? `must be a multiple of ${NAT_ADDRESSES}` : undefined;
  };
}

const KEYS: Readonly<Record<keyof TunOptions, (value: unknown) => string | undefined>> = {
  // RFC 8200 section 5: no link of IPv6 has a smaller one.
  mtu: integer(1280, 65_535),
  'nat-addresses': integer(1, NAT_ADDRESSES),
  offload: (value) => (value === 'auto' || value === 'off' ? undefined : 'must be auto or off'),
  'source-ipv4': address(4, false),
  'source-ipv6': address(6, false),
  'nat-ipv4': address(4, true),
  'nat-ipv6': address(6, true),
};

export const tunOptions: StandardSchema<TunOptions> = {
  '~standard': {
    version: 1,
    vendor: 'weir',
    validate: (value) => {
      if (value === undefined || value === null) return { value: {} };
      if (typeof value !== 'object' || Array.isArray(value)) {
        return { issues: [{ message: `must be a mapping with the keys ${Object.keys(KEYS).join(', ')}` }] };
      }
      const issues = Object.entries(value).flatMap(([key, given]: [string, unknown]) => {
        const problemOf = Object.hasOwn(KEYS, key) ? KEYS[key as keyof TunOptions] : undefined;
        const message = problemOf ? problemOf(given) : `unknown key; there are ${Object.keys(KEYS).join(', ')}`;
        return message === undefined ? [] : [{ message, path: [key] }];
      });
      return issues.length > 0 ? { issues } : { value };
    },
  },
};
