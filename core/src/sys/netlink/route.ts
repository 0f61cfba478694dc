/** Routes: RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE. rtnetlink(7), ip-route(8). */
import type { Family, Prefix } from '../../api/flow.ts';
import { addressToBytes, bytesToAddress, formatPrefix, widthOf } from '../../capture/address.ts';
import { AF_INET, AF_INET6 } from '../constants.ts';
import { attribute, attributeU32, parseAttributes, readU32 } from './attribute.ts';
import {
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  RT_SCOPE_HOST,
  RT_SCOPE_LINK,
  RT_SCOPE_NOWHERE,
  RT_SCOPE_UNIVERSE,
  RT_TABLE_COMPAT,
  RTA_DST,
  RTA_GATEWAY,
  RTA_MULTIPATH,
  RTA_OIF,
  RTA_PREFSRC,
  RTA_PRIORITY,
  RTA_TABLE,
  RTA_VIA,
  RTM_DELROUTE,
  RTM_F_CLONED,
  RTM_GETROUTE,
  RTM_NEWROUTE,
  RTN_LOCAL,
  RTN_THROW,
  RTN_UNICAST,
  RTN_UNREACHABLE,
  RTN_UNSPEC,
} from './constants.ts';
import type { NetlinkMessage } from './message.ts';
import type { NetlinkRequest, NetlinkSocket } from './socket.ts';

/**
 * struct rtmsg (linux/rtnetlink.h): family u8 · dst_len u8 · src_len u8 · tos u8 · table u8 · protocol u8 · scope u8 ·
 * type u8 · flags u32.
 */
const HEADER = 12;

const TYPES = {
  unicast: RTN_UNICAST,
  local: RTN_LOCAL,
  throw: RTN_THROW,
  unreachable: RTN_UNREACHABLE,
} as const;

export type RouteType = keyof typeof TYPES;

/** A route as Weir adds it. */
export interface Route {
  readonly type: RouteType;
  readonly destination: Prefix;
  readonly table: number;
  /** Index of the output device; `throw` and `unreachable` routes have none. */
  readonly device?: number;
  /** The source address that the kernel takes when a socket has none. */
  readonly source?: string;
  /** Of several routes to one destination the lowest counts. Absent: 0 in IPv4, 1024 in IPv6. */
  readonly metric?: number;
  /** rtm_protocol: who made it. */
  readonly protocol: number;
}

/** A route as the kernel lists it. */
export interface ListedRoute {
  readonly type: RouteType | 'other';
  readonly destination: Prefix;
  readonly table: number;
  readonly device?: number;
  readonly source?: string;
  /** 0: none was given (IPv4). */
  readonly metric: number;
  readonly protocol: number;
  readonly scope: number;
  /** By way of another host, or of several. */
  readonly gateway: boolean;
}

/** In the notation of ip-route(8), without `ip route add`; `device` is the name for `route.device`. */
export function formatRoute(route: RemovableRoute, device?: string): string {
  const { destination } = route;
  const words = [...(route.type === 'unicast' ? [] : [route.type]), formatPrefix(destination)];
  if (route.device !== undefined) words.push(`dev ${device ?? `#${route.device}`}`);
  if (route.source !== undefined) words.push(`src ${route.source}`);
  if (route.metric) words.push(`metric ${route.metric}`);
  words.push(`table ${route.table}`, `proto ${route.protocol}`);
  return words.join(' ');
}

// Not by way of text: a capture set can have tens of thousands of these.
function prefixBytes({ family, address }: Prefix): Uint8Array {
  return Buffer.from(address.toString(16).padStart(widthOf(family) / 4, '0'), 'hex');
}

function addressOf(bytes: Buffer): bigint {
  return BigInt(`0x${bytes.toString('hex')}`);
}

// What iproute2 chooses, so that our routes equal those of the commands that `weir plan` prints.
function scopeOf(route: Route): number {
  if (route.destination.family === 6 || route.type === 'throw' || route.type === 'unreachable') {
    return RT_SCOPE_UNIVERSE;
  }
  return route.type === 'local' ? RT_SCOPE_HOST : RT_SCOPE_LINK;
}

/** What {@link routeRemoval} needs; `other` stands for a route of any type. */
export type RemovableRoute = Omit<Route, 'type'> & { readonly type: ListedRoute['type'] };

function encodeRoute(route: RemovableRoute, scope: number): Buffer {
  const header = Buffer.alloc(HEADER);
  header[0] = route.destination.family === 4 ? AF_INET : AF_INET6;
  header[1] = route.destination.length;
  header[4] = route.table < 256 ? route.table : RT_TABLE_COMPAT;
  header[5] = route.protocol;
  header[6] = scope;
  header[7] = route.type === 'other' ? RTN_UNSPEC : TYPES[route.type];
  const parts = [header, attributeU32(RTA_TABLE, route.table)];
  if (route.destination.length > 0) parts.push(attribute(RTA_DST, prefixBytes(route.destination)));
  if (route.device !== undefined) parts.push(attributeU32(RTA_OIF, route.device));
  if (route.source !== undefined) parts.push(attribute(RTA_PREFSRC, addressToBytes(route.source)));
  if (route.metric) parts.push(attributeU32(RTA_PRIORITY, route.metric));
  return Buffer.concat(parts);
}

function decodeRoute(family: Family, { payload }: NetlinkMessage): ListedRoute | undefined {
  if (payload.length < HEADER || (payload.readUInt32LE(8) & RTM_F_CLONED) !== 0) return undefined;
  const attributes = parseAttributes(payload.subarray(HEADER));
  const destination = attributes.get(RTA_DST);
  const source = attributes.get(RTA_PREFSRC);
  const device = readU32(attributes, RTA_OIF);
  const number = payload[7] as number;
  const type = (Object.keys(TYPES) as RouteType[]).find((name) => TYPES[name] === number) ?? 'other';
  return {
    type,
    destination: destination
      ? { family, address: addressOf(destination), length: payload[1] as number }
      : { family, address: 0n, length: 0 },
    table: readU32(attributes, RTA_TABLE) ?? (payload[4] as number),
    ...(device === undefined ? {} : { device }),
    ...(source === undefined ? {} : { source: bytesToAddress(source) }),
    metric: readU32(attributes, RTA_PRIORITY) ?? 0,
    protocol: payload[5] as number,
    scope: payload[6] as number,
    gateway: [RTA_GATEWAY, RTA_VIA, RTA_MULTIPATH].some((name) => attributes.has(name)),
  };
}

/** The routes of one table, or of all. */
export function listRoutes(socket: NetlinkSocket, family: Family, table?: number): readonly ListedRoute[] {
  const header = Buffer.alloc(HEADER);
  header[0] = family === 4 ? AF_INET : AF_INET6;
  const request = table === undefined ? header : Buffer.concat([header, attributeU32(RTA_TABLE, table)]);
  const describe = `list the IPv${family} routes${table === undefined ? '' : ` of table ${table}`}`;
  let messages: readonly NetlinkMessage[];
  try {
    messages = socket.dump(RTM_GETROUTE, request, describe);
  } catch (error) {
    // A strict dump of a table that was never used is refused instead of empty.
    if (table !== undefined && error instanceof Error && 'errno' in error && error.errno === 2) return [];
    throw error;
  }
  return messages
    .filter((message) => message.type === RTM_NEWROUTE)
    .map((message) => decodeRoute(family, message))
    .filter((route) => route !== undefined)
    .filter((route) => table === undefined || route.table === table);
}

/** EEXIST when the table has a route to this destination. */
export function routeAddition(route: Route, device?: string): NetlinkRequest {
  return {
    type: RTM_NEWROUTE,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    payload: encodeRoute(route, scopeOf(route)),
    describe: `add the route ${formatRoute(route, device)}`,
  };
}

/** Adds a route, or puts it in the place of the one to the same destination with the same metric, in one step. */
export function routeReplacement(route: Route, device?: string): NetlinkRequest {
  return {
    type: RTM_NEWROUTE,
    flags: NLM_F_CREATE | NLM_F_REPLACE,
    payload: encodeRoute(route, scopeOf(route)),
    describe: `replace the route ${formatRoute(route, device)}`,
  };
}

/** ESRCH when there is no such route. */
export function routeRemoval(route: RemovableRoute, device?: string): NetlinkRequest {
  return {
    type: RTM_DELROUTE,
    flags: 0,
    payload: encodeRoute(route, RT_SCOPE_NOWHERE),
    describe: `delete the route ${formatRoute(route, device)}`,
  };
}
