/**
 * Sources of local flows that mechanisms with a device of their own capture (sk_lookup, tun): an address per slot, which
 * nothing else on a host uses. Who sees such a source sees a flow that an owner of Weir has taken already.
 */
import type { Family, Prefix } from '../api/flow.ts';
import { parsePrefix } from '../capture/address.ts';

export const OWN_SOURCE_RANGE: Readonly<Record<Family, Prefix>> = {
  4: parsePrefix('169.254.84.0/24'),
  6: parsePrefix('fd64:7765:6972:ffff::/64'),
};
