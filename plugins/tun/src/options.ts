/** Options under `interceptors.tun` of a configuration. */
import {
  addressToNumber,
  keyedOptions,
  type OptionCheck,
  type OwnSourceOptions,
  sourceFault,
  type StandardSchema,
} from '@weir/core';

export interface TunOptions extends OwnSourceOptions {
  /** Bytes of the largest packet on the device: 1280 to 65535. Default 65535. */
  readonly mtu?: number;
  /** Addresses out of which flows get a source on the way to Weir: 1 to 16, each for 64,512 flows. Default 16. */
  readonly 'nat-addresses'?: number;
  /** `off`: the kernel computes checksums and cuts segments itself. Default `auto`. */
  readonly offload?: 'auto' | 'off';
  /**
   * `deferred`: a connection is answered when its upstream has been dialled, as that answers. `immediate`: at once. Default
   * `immediate`.
   */
  readonly handshake?: 'immediate' | 'deferred';
  /** Connections of each family that may wait for their upstream: 1 to 16384. Default 1024. */
  readonly 'held-handshakes'?: number;
  /** The first of 16 addresses that flows get on the way to Weir; a multiple of 16. Default: 169.254.85.0, + 16 for each next owner. */
  readonly 'nat-ipv4'?: string;
  /** The same for IPv6. Default: fd64:7765:6972:fffe:: and up. */
  readonly 'nat-ipv6'?: string;
}

export const DEFAULT_MTU = 65_535;
export const HELD_HANDSHAKES = 1024;
/** Addresses of one owner; a prefix of that many is routed to the device. */
export const NAT_ADDRESSES = 16;

function integer(least: number, most: number): OptionCheck {
  return (value) =>
    Number.isInteger(value) && (value as number) >= least && (value as number) <= most
      ? undefined
      : `must be a whole number from ${least} to ${most}`;
}

function oneOf(...values: readonly string[]): OptionCheck {
  return (value) => (values.includes(value as string) ? undefined : `must be ${values.join(' or ')}`);
}

function firstAddress(family: 4 | 6): OptionCheck {
  return (value) => {
    const fault = sourceFault(family, value);
    if (fault !== undefined) return fault;
    return addressToNumber(value as string) % BigInt(NAT_ADDRESSES) === 0n
      ? undefined
      : `must be a multiple of ${NAT_ADDRESSES}`;
  };
}

export const tunOptions: StandardSchema<TunOptions> = keyedOptions<TunOptions>({
  // RFC 8200 section 5: no link of IPv6 has a smaller one.
  mtu: integer(1280, 65_535),
  'nat-addresses': integer(1, NAT_ADDRESSES),
  offload: oneOf('auto', 'off'),
  handshake: oneOf('immediate', 'deferred'),
  'held-handshakes': integer(1, 16_384),
  'source-ipv4': (value) => sourceFault(4, value),
  'source-ipv6': (value) => sourceFault(6, value),
  'nat-ipv4': firstAddress(4),
  'nat-ipv6': firstAddress(6),
});
