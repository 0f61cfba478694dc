/** Network devices: RTM_GETLINK. rtnetlink(7). */
import { parseAttributes, readText, readU32 } from './attribute.ts';
import { IFF_LOOPBACK, IFF_UP, IFLA_IFNAME, IFLA_MTU, RTM_GETLINK, RTM_NEWLINK } from './constants.ts';
import type { NetlinkMessage } from './message.ts';
import type { NetlinkSocket } from './socket.ts';

/** struct ifinfomsg (linux/rtnetlink.h): family u8 · pad u8 · type u16 · index i32 · flags u32 · change u32. */
const HEADER = 16;

export interface Link {
  readonly index: number;
  readonly name: string;
  readonly up: boolean;
  readonly loopback: boolean;
  /** Bytes. */
  readonly mtu: number;
}

function decodeLink({ payload }: NetlinkMessage): Link | undefined {
  if (payload.length < HEADER) return undefined;
  const attributes = parseAttributes(payload.subarray(HEADER));
  const name = readText(attributes, IFLA_IFNAME);
  if (name === undefined) return undefined;
  const flags = payload.readUInt32LE(8);
  return {
    index: payload.readInt32LE(4),
    name,
    up: (flags & IFF_UP) !== 0,
    loopback: (flags & IFF_LOOPBACK) !== 0,
    mtu: readU32(attributes, IFLA_MTU) ?? 0,
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
