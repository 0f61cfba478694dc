/**
 * A tun device of ours, on which the source addresses of captured flows and our routes hang: it takes them with it when it
 * goes. What mechanisms with such a device have in common.
 */
import { HostChangeError } from '../../api/errors.ts';
import type { Family } from '../../api/flow.ts';
import type { CleanUpContext } from '../../api/interceptor.ts';
import { addressToNumber } from '../../capture/address.ts';
import { ENODEV } from '../../sys/errno.ts';
import { hostAddressAddition, listAddresses } from '../../sys/netlink/address.ts';
import { RT_TABLE_LOCAL } from '../../sys/netlink/constants.ts';
import { findLink, linkRemoval, linkSizes, linkUp, linkWithoutOwnAddresses } from '../../sys/netlink/link.ts';
import { listRoutes } from '../../sys/netlink/route.ts';
import { type NetlinkSocket, settleAll, withRouteSocket } from '../../sys/netlink/socket.ts';
import { emptyTables, removeRules, rulesName, tablesName } from './live-routing.ts';
import type { OwnSources } from './own-sources.ts';

const FAMILIES: readonly Family[] = [4, 6];

/** How long the kernel may take to make the route to a new IPv6 address, and how often it is asked. Milliseconds. */
const ROUTE_TIMEOUT = 5000;
const ROUTE_INTERVAL = 2;

export interface OwnDevice {
  readonly name: string;
  readonly families: readonly Family[];
  readonly sources: OwnSources;
  /** Bytes of a packet, and packets that may wait. Default: as the kernel makes it. */
  readonly sizes?: { readonly mtu: number; readonly queue: number };
}

/** Removes a device that a dead process left to keep things blocked. False when there is none of that name. */
export function removeLeftDevice(name: string): boolean {
  return withRouteSocket((socket) => {
    const link = findLink(socket, name);
    if (link?.kind !== 'tun') return false;
    settleAll(socket, [linkRemoval(link.index)], [ENODEV]);
    return true;
  });
}

/**
 * Removes what a killed process left: rules and routes found by the routing protocol id and the owner's numbers, and the
 * device of a process that was to keep things blocked. Otherwise the device went with the process, and its routes with it.
 * @returns one line for each thing that was removed.
 */
export function cleanUpRoutes(
  { numbers, log }: Pick<CleanUpContext, 'numbers' | 'log'>,
  device: string,
): readonly string[] {
  const removed: string[] = [];
  const note = (what: string) => {
    removed.push(what);
    log.info({ removed: what }, 'removed what a dead instance left');
  };
  for (const family of FAMILIES) {
    const rules = removeRules(family, numbers);
    if (rules > 0) note(`${rulesName(family, numbers)} (${rules} rules)`);
    const routes = emptyTables(family, numbers);
    if (routes > 0) note(`${tablesName(family, numbers)} (${routes} routes)`);
  }
  if (removeLeftDevice(device)) note(`device ${device}`);
  return removed;
}

/** @throws HostChangeError when somebody else has an address that captured flows are to come from. */
export function refuseTakenSources(mechanism: string, { families, sources }: OwnDevice): void {
  const ours = families.map((family) => sources[family]);
  const taken = withRouteSocket((socket) => listAddresses(socket)).find(({ address }) => ours.includes(address));
  if (!taken) return;
  throw new HostChangeError({
    problem: `The address ${taken.address}, from which captured flows are to come, is in use on this host.`,
    remedy: `Set interceptors.${mechanism}.source-ipv${taken.family} to an address that nobody uses.`,
  });
}

/**
 * Gives a new device its addresses and switches it on.
 * @param more what else to ask for before the addresses can be used, given its index.
 * @returns the index of the device.
 */
export async function switchOn(
  { name, families, sources, sizes }: OwnDevice,
  more?: (socket: NetlinkSocket, index: number) => void,
): Promise<number> {
  const device = withRouteSocket((socket) => {
    const link = findLink(socket, name);
    if (!link) throw new TypeError(`${name} is gone.`);
    const [refused] = socket.settle([linkWithoutOwnAddresses(link.index)]);
    // A kernel without IPv6 does not know what is meant.
    if (refused && families.includes(6)) throw refused;
    if (sizes) socket.request(linkSizes(link.index, sizes));
    socket.request(linkUp(link.index));
    for (const family of families) socket.request(hostAddressAddition(link.index, sources[family]));
    more?.(socket, link.index);
    return link.index;
  });
  if (families.includes(6)) await reachable(name, sources[6]);
  return device;
}

/** What is wrong with the device of that index, in a few words; `undefined` when nothing is. */
export function deviceFault({ name, families, sources, sizes }: OwnDevice, index: number): string | undefined {
  return withRouteSocket((socket) => {
    const link = findLink(socket, name);
    if (!link || link.index !== index) return 'missing';
    if (!link.up) return 'down';
    if (sizes && link.mtu !== sizes.mtu) return `mtu ${link.mtu}`;
    const there = new Set(
      listAddresses(socket)
        .filter(({ device }) => device === index)
        .map(({ address }) => address),
    );
    const lost = families.map((family) => sources[family]).filter((address) => !there.has(address));
    return lost.length === 0 ? undefined : `without ${lost.join(' and ')}`;
  });
}

/** The kernel makes the route to a new IPv6 address a little later; without it no answer would find its way. */
async function reachable(name: string, address: string): Promise<void> {
  const own = addressToNumber(address);
  for (let waited = 0; waited < ROUTE_TIMEOUT; waited += ROUTE_INTERVAL) {
    const local = withRouteSocket((socket) => listRoutes(socket, 6, RT_TABLE_LOCAL));
    if (local.some(({ destination }) => destination.length === 128 && destination.address === own)) return;
    // eslint-disable-next-line no-await-in-loop -- nothing tells when it is there
    await new Promise((resolve) => setTimeout(resolve, ROUTE_INTERVAL));
  }
  throw new HostChangeError({
    problem: `The kernel made no route to ${address} within ${ROUTE_TIMEOUT / 1000} seconds.`,
    remedy: `Look at \`ip -6 address show dev ${name}\`, and start again.`,
  });
}

/** The command that gives the device its source address, for `weir plan`. */
export function sourceLine(family: Family, sources: OwnSources, device: string): string {
  return family === 4
    ? `address add ${sources[4]}/32 dev ${device} scope host noprefixroute`
    : `address add ${sources[6]}/128 dev ${device} preferred_lft 0 nodad noprefixroute`;
}

/** What becomes of the device when the process is killed, for `weir plan`. */
export function fateLine(onCrash: 'open' | 'closed'): string {
  return onCrash === 'open'
    ? '# Without a process that holds it the device goes, and its addresses and routes with it.'
    : '# The device stays when the process is killed, and with it what blocks the captured destinations.';
}
