/** Network devices: RTM_GETLINK, RTM_NEWLINK. rtnetlink(7). */
import { AF_INET6 } from '../constants.ts';
import { attribute, attributeU32, attributeU8, parseAttributes, readText, readU32 } from './attribute.ts';
import {
  IFF_LOOPBACK,
  IFF_UP,
  IFLA_AF_SPEC,
  IFLA_IFNAME,
  IFLA_INET6_ADDR_GEN_MODE,
  IFLA_INFO_KIND,
  IFLA_LINKINFO,
  IFLA_MTU,
  IFLA_TXQLEN,
  IN6_ADDR_GEN_MODE_NONE,
  RTM_DELLINK,
  RTM_GETLINK,
  RTM_NEWLINK,
} from './constants.ts';
import type { NetlinkMessage } from './message.ts';
import type { NetlinkRequest, NetlinkSocket } from './socket.ts';

/** struct ifinfomsg (linux/rtnetlink.h): family u8 · pad u8 · type u16 · index i32 · flags u32 · change u32. */
const HEADER = 16;

export interface Link {
  readonly index: number;
  readonly name: string;
  readonly up: boolean;
  readonly loopback: boolean;
  /** Bytes. */
  readonly mtu: number;
  /** `tun`, `veth`, `bridge`; absent for hardware and lo. */
  readonly kind?: string;
}

function decodeLink({ payload }: NetlinkMessage): Link | undefined {
  if (payload.length < HEADER) return undefined;
  const attributes = parseAttributes(payload.subarray(HEADER));
  const name = readText(attributes, IFLA_IFNAME);
  if (name === undefined) return undefined;
  const flags = payload.readUInt32LE(8);
  const info = attributes.get(IFLA_LINKINFO);
  const kind = info && readText(parseAttributes(info), IFLA_INFO_KIND);
  return {
    index: payload.readInt32LE(4),
    name,
    up: (flags & IFF_UP) !== 0,
    loopback: (flags & IFF_LOOPBACK) !== 0,
    mtu: readU32(attributes, IFLA_MTU) ?? 0,
    ...(kind === undefined ? {} : { kind }),
  };
}

/** All devices of the namespace. */
export function listLinks(socket: NetlinkSocket): readonly Link[] {
  return socket
    .dump(RTM_GETLINK, Buffer.alloc(HEADER), 'list the network devices')
    .filter((message) => message.type === RTM_NEWLINK)
    .map(decodeLink)
    .filter((link) => link !== undefined);
}

/** The device of that name, or `undefined`. */
export function findLink(socket: NetlinkSocket, name: string): Link | undefined {
  return listLinks(socket).find((link) => link.name === name);
}

/** Switches a device on. ENODEV when there is none of that index. */
export function linkUp(index: number): NetlinkRequest {
  const header = Buffer.alloc(HEADER);
  header.writeInt32LE(index, 4);
  header.writeUInt32LE(IFF_UP, 8);
  header.writeUInt32LE(IFF_UP, 12);
  return { type: RTM_NEWLINK, flags: 0, payload: header, describe: `switch on device ${index}` };
}

/** Sets the largest packet that a device takes, and how many may wait in it. EINVAL when it takes none of that size. */
export function linkSizes(index: number, sizes: { readonly mtu: number; readonly queue: number }): NetlinkRequest {
  const header = Buffer.alloc(HEADER);
  header.writeInt32LE(index, 4);
  const parts = [header, attributeU32(IFLA_MTU, sizes.mtu), attributeU32(IFLA_TXQLEN, sizes.queue)];
  return {
    type: RTM_NEWLINK,
    flags: 0,
    payload: Buffer.concat(parts),
    describe: `set the MTU of device ${index} to ${sizes.mtu}`,
  };
}

/** Has the kernel give the device no IPv6 address of its own accord; before it is switched on. */
export function linkWithoutOwnAddresses(index: number): NetlinkRequest {
  const header = Buffer.alloc(HEADER);
  header.writeInt32LE(index, 4);
  const mode = attributeU8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
  const payload = Buffer.concat([header, attribute(IFLA_AF_SPEC, attribute(AF_INET6, mode))]);
  return { type: RTM_NEWLINK, flags: 0, payload, describe: `keep device ${index} without IPv6 addresses of its own` };
}

/** Removes a device with its addresses and routes. ENODEV when there is none of that index. */
export function linkRemoval(index: number): NetlinkRequest {
  const header = Buffer.alloc(HEADER);
  header.writeInt32LE(index, 4);
  return { type: RTM_DELLINK, flags: 0, payload: header, describe: `remove device ${index}` };
}
