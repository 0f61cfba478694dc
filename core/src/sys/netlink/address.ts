/** Addresses of the host: RTM_GETADDR, RTM_NEWADDR. rtnetlink(7), linux/if_addr.h. */
import type { Family } from '../../api/flow.ts';
import { addressToBytes, bytesToAddress, familyOf, widthOf } from '../../capture/address.ts';
import { AF_INET, AF_INET6 } from '../constants.ts';
import { attribute, attributeU32, parseAttributes, readU32 } from './attribute.ts';
import {
  IFA_ADDRESS,
  IFA_CACHEINFO,
  IFA_F_DADFAILED,
  IFA_F_DEPRECATED,
  IFA_F_NODAD,
  IFA_F_NOPREFIXROUTE,
  IFA_F_TEMPORARY,
  IFA_F_TENTATIVE,
  IFA_FLAGS,
  IFA_LOCAL,
  NLM_F_CREATE,
  NLM_F_EXCL,
  RT_SCOPE_HOST,
  RT_SCOPE_SITE,
  RT_SCOPE_UNIVERSE,
  RTM_GETADDR,
  RTM_NEWADDR,
} from './constants.ts';
import type { NetlinkMessage } from './message.ts';
import type { NetlinkRequest, NetlinkSocket } from './socket.ts';

/** struct ifaddrmsg: family u8 · prefixlen u8 · flags u8 · scope u8 · index u32. */
const HEADER = 8;

export interface HostAddress {
  readonly family: Family;
  /** The host's own address, also on point-to-point devices. */
  readonly address: string;
  readonly prefixLength: number;
  /** RT_SCOPE_UNIVERSE for addresses that are good beyond the link. */
  readonly scope: number;
  /** Index of the device that carries it. */
  readonly device: number;
  /** Fit for new flows: neither tentative, nor a duplicate, nor deprecated. */
  readonly usable: boolean;
  /** A privacy address (RFC 8981) that the kernel will replace. */
  readonly temporary: boolean;
}

function decodeAddress({ payload }: NetlinkMessage): HostAddress | undefined {
  if (payload.length < HEADER) return undefined;
  const number = payload[0] as number;
  if (number !== AF_INET && number !== AF_INET6) return undefined;
  const attributes = parseAttributes(payload.subarray(HEADER));
  const bytes = attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS);
  if (!bytes) return undefined;
  const flags = readU32(attributes, IFA_FLAGS) ?? (payload[2] as number);
  const six = number === AF_INET6;
  return {
    family: six ? 6 : 4,
    address: bytesToAddress(bytes),
    prefixLength: payload[1] as number,
    scope: payload[3] as number,
    device: payload.readUInt32LE(4),
    usable: (flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED | IFA_F_DEPRECATED)) === 0,
    // In IPv4 the same bit says that the address is a secondary one.
    temporary: six && (flags & IFA_F_TEMPORARY) !== 0,
  };
}

/** All addresses of the host, of both families. */
export function listAddresses(socket: NetlinkSocket): readonly HostAddress[] {
  return socket
    .dump(RTM_GETADDR, Buffer.alloc(HEADER), 'list the addresses')
    .filter((message) => message.type === RTM_NEWADDR)
    .map(decodeAddress)
    .filter((address) => address !== undefined);
}

/** struct ifa_cacheinfo: preferred u32 · valid u32 · created u32 · changed u32; seconds, all ones for ever. */
const NEVER_PREFERRED = Buffer.from([0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0]);

/**
 * Gives a device one address without a network around it, good at once. In IPv4 it is of scope host and in IPv6 not
 * preferred, so that the kernel does not choose it as a source by itself. EEXIST when the device has it.
 */
export function hostAddressAddition(device: number, address: string): NetlinkRequest {
  return addressAddition(device, address, familyOf(address) === 4 ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE);
}

/** As {@link hostAddressAddition}, of scope site: for programs that pass a device by which has only narrower ones. */
export function siteAddressAddition(device: number, address: string): NetlinkRequest {
  return addressAddition(device, address, RT_SCOPE_SITE);
}

function addressAddition(device: number, address: string, scope: number): NetlinkRequest {
  const family = familyOf(address);
  const flags = IFA_F_NOPREFIXROUTE | (family === 6 ? IFA_F_NODAD : 0);
  const header = Buffer.alloc(HEADER);
  header[0] = family === 4 ? AF_INET : AF_INET6;
  header[1] = widthOf(family);
  header[3] = scope;
  header.writeUInt32LE(device, 4);
  const bytes = addressToBytes(address);
  const parts = [header, attribute(IFA_LOCAL, bytes), attribute(IFA_ADDRESS, bytes), attributeU32(IFA_FLAGS, flags)];
  if (family === 6) parts.push(attribute(IFA_CACHEINFO, NEVER_PREFERRED));
  return {
    type: RTM_NEWADDR,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    payload: Buffer.concat(parts),
    describe: `add the address ${address} to device ${device}`,
  };
}
