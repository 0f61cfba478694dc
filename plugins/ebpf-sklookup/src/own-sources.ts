/** The source addresses that captured local flows get, and the device that they and all routes hang on. */
import type { Family, HostNumbers } from '@weir/core';
import type { SkLookupOptions } from './options.ts';

/** The source of captured local flows, by family. Used for nothing else on the host. */
export type OwnSources = Readonly<Record<Family, string>>;

/** Those of the options, or addresses of this owner's own: 169.254.84.1 and fd64:7765:6972:ffff::1 for slot 0. */
export function ownSources(numbers: Pick<HostNumbers, 'slot'>, options: SkLookupOptions): OwnSources {
  const number = numbers.slot + 1;
  return {
    4: options['source-ipv4'] ?? `169.254.84.${number}`,
    6: options['source-ipv6'] ?? `fd64:7765:6972:ffff::${number.toString(16)}`,
  };
}

/** Names of devices have at most 15 characters, so it is the slot that tells owners apart. */
export function deviceName({ slot }: Pick<HostNumbers, 'slot'>): string {
  return `weirsk${slot}`;
}
