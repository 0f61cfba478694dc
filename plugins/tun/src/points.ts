/** The capture points: listeners at the device's own address; whose flow arrives there stands in a NAT table. */
import {
  addressToBytes,
  createHeldTable,
  createNatTable,
  type Family,
  type HostFacts,
  numberToAddress,
  type PointSpec,
  type Protocol,
} from '@weir/core';
import type { TunAddresses } from './addresses.ts';
import { HELD_HANDSHAKES, NAT_ADDRESSES, type TunOptions } from './options.ts';

/** Ports that flows get: those that nobody has to ask for. */
export const FIRST_NAT_PORT = 1024;
export const NAT_PORTS = 65_536 - FIRST_NAT_PORT;

/** UDP points are transparent so that the data plane answers clients directly, from where they wrote to. */
function pointSpec(family: Family, protocol: Protocol, { sources, nat }: TunAddresses, options: TunOptions): PointSpec {
  const table = createNatTable({
    family,
    firstAddress: addressToBytes(numberToAddress(family, nat[family].address)),
    addresses: options['nat-addresses'] ?? NAT_ADDRESSES,
    firstPort: FIRST_NAT_PORT,
    ports: NAT_PORTS,
  });
  const defers = protocol === 'tcp' && options.handshake === 'deferred';
  const held = defers ? createHeldTable(options['held-handshakes'] ?? HELD_HANDSHAKES) : undefined;
  return {
    id: `${protocol}${family}`,
    network: { family, protocol },
    bind: { address: sources[family], port: 0 },
    transparent: protocol === 'udp',
    original: { via: 'nat-table', table, ...(held === undefined ? {} : { held }) },
  };
}

/**
 * One point per family and protocol. Where IPv6 is off no IPv6 flow exists.
 */
export function pointsOn(
  { ipv6 }: Pick<HostFacts, 'ipv6'>,
  addresses: TunAddresses,
  options: TunOptions,
): readonly PointSpec[] {
  const families: readonly Family[] = ipv6 ? [4, 6] : [4];
  return (['tcp', 'udp'] as const).flatMap((protocol) =>
    families.map((family) => pointSpec(family, protocol, addresses, options)),
  );
}
