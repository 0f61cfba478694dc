/** The source addresses that captured local flows get: chosen by options, or an owner's own. */
import type { Family, Prefix } from '../../api/flow.ts';
import type { HostNumbers } from '../../api/host.ts';
import { addressToNumber, familyOf, isAddress, parsePrefix, prefixContains } from '../../capture/address.ts';

/** By family. Used for nothing else on the host. */
export type OwnSources = Readonly<Record<Family, string>>;

export interface OwnSourceOptions {
  /** The source address of captured local IPv4 flows. Default: 169.254.84.1 for the first owner, one more for each next. */
  readonly 'source-ipv4'?: string;
  /** The same for IPv6. Default: fd64:7765:6972:ffff::1 and up. */
  readonly 'source-ipv6'?: string;
}

export function ownSources({ slot }: Pick<HostNumbers, 'slot'>, options: OwnSourceOptions): OwnSources {
  const number = slot + 1;
  return {
    4: options['source-ipv4'] ?? `169.254.84.${number}`,
    6: options['source-ipv6'] ?? `fd64:7765:6972:ffff::${number.toString(16)}`,
  };
}

/** Nothing that could be somebody's address on a network is refused, and everything that cannot be a source is. */
const NO_SOURCE: readonly Prefix[] = ['0.0.0.0/8', '127.0.0.0/8', '224.0.0.0/3', '::/127', 'fe80::/10', 'ff00::/8'].map(
  (text) => parsePrefix(text),
);

/** Why a value of an option cannot be the source of flows; `undefined` when it can. */
export function sourceFault(family: Family, value: unknown): string | undefined {
  if (typeof value !== 'string' || !isAddress(value) || familyOf(value) !== family) {
    return `must be an IPv${family} address`;
  }
  const number = addressToNumber(value);
  return NO_SOURCE.some((prefix) => prefixContains(prefix, family, number))
    ? 'must be a unicast address that is used for nothing else; not loopback, not unspecified, not multicast'
    : undefined;
}
