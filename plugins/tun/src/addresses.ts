/** Addresses and names that one owner's device uses, and nothing else on the host does. */
import {
  addressToNumber,
  type Family,
  type HostNumbers,
  numberToAddress,
  type OwnSources,
  ownSources,
  type Prefix,
  widthOf,
} from '@weir/core';
import { NAT_ADDRESSES, type TunOptions } from './options.ts';

export interface TunAddresses {
  /** Sources of captured local flows, and where our listeners are. */
  readonly sources: OwnSources;
  /** Sources that flows get on the way to our listeners: a prefix that is routed to the device. */
  readonly nat: Readonly<Record<Family, Prefix>>;
}

export function addressesOf({ slot }: Pick<HostNumbers, 'slot'>, options: TunOptions): TunAddresses {
  const block = (family: Family, text: string): Prefix => ({
    family,
    address: addressToNumber(text),
    length: widthOf(family) - Math.log2(NAT_ADDRESSES),
  });
  return {
    sources: ownSources({ slot }, options),
    nat: {
      4: block(4, options['nat-ipv4'] ?? `169.254.85.${slot * NAT_ADDRESSES}`),
      6: block(6, options['nat-ipv6'] ?? numberToAddress(6, NAT_IPV6 + BigInt(slot * NAT_ADDRESSES))),
    },
  };
}

const NAT_IPV6 = addressToNumber('fd64:7765:6972:fffe::');

/** Names of devices have at most 15 characters, so it is the slot that tells owners apart. */
export function deviceName({ slot }: Pick<HostNumbers, 'slot'>): string {
  return `weirtun${slot}`;
}
