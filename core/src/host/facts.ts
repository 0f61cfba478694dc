/** What the engine must know about the network namespace before it steers anything. */
import type { Family } from '../api/flow.ts';
import type { HostFacts } from '../api/host.ts';
import { formatPrefix, widthOf } from '../capture/address.ts';
import { listAddresses, type HostAddress } from '../sys/netlink/address.ts';
import { NETLINK_ROUTE, RT_SCOPE_UNIVERSE, RT_TABLE_MAIN, RTPROT_KERNEL, RTPROT_RA } from '../sys/netlink/constants.ts';
import { listLinks } from '../sys/netlink/link.ts';
import { listRoutes } from '../sys/netlink/route.ts';
import { NetlinkSocket } from '../sys/netlink/socket.ts';
import { netnsInode } from '../sys/netns.ts';
import { readSysctl } from '../sys/sysctl.ts';

// IPv6 may be off for all devices or only for lo; either way nothing can be delivered to a listener on ::1.
function ipv6Enabled(): boolean {
  return readSysctl('net.ipv6.conf.all.disable_ipv6') === '0' && readSysctl('net.ipv6.conf.lo.disable_ipv6') === '0';
}

function globalAddress(
  family: Family,
  addresses: readonly HostAddress[],
  loopback: ReadonlySet<number>,
): string | undefined {
  const fit = addresses.filter((own) => own.family === family && own.scope === RT_SCOPE_UNIVERSE && own.usable);
  const rank = (own: HostAddress) => (loopback.has(own.device) ? 2 : 0) + (own.temporary ? 1 : 0);
  return fit.toSorted((a, b) => rank(a) - rank(b))[0]?.address;
}

function connectedNetworks(socket: NetlinkSocket, family: Family): readonly string[] {
  return listRoutes(socket, family, RT_TABLE_MAIN)
    .filter((route) => route.type === 'unicast' && !route.gateway && route.destination.length > 0)
    .filter((route) => route.protocol === RTPROT_KERNEL || (family === 6 && route.protocol === RTPROT_RA))
    .map((route) => formatPrefix(route.destination));
}

/**
 * Asks the kernel, in the calling thread's network namespace; about a millisecond on an ordinary host. Lists are sorted
 * and without duplicates, so that two results can be compared as JSON.
 * @throws SystemCallError, NetlinkError when the kernel does not answer.
 */
export function hostFacts(): HostFacts {
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  const ipv6 = ipv6Enabled();
  const families: readonly Family[] = ipv6 ? [4, 6] : [4];
  const loopback = new Set(
    listLinks(socket)
      .filter((link) => link.loopback)
      .map((link) => link.index),
  );
  const addresses = listAddresses(socket).filter((own) => families.includes(own.family));
  const global4 = globalAddress(4, addresses, loopback);
  const global6 = globalAddress(6, addresses, loopback);
  const sorted = (texts: readonly string[]) => [...new Set(texts)].toSorted();
  return {
    netns: netnsInode(),
    ipv6,
    ...(global4 === undefined ? {} : { globalIpv4: global4 }),
    ...(global6 === undefined ? {} : { globalIpv6: global6 }),
    ownAddresses: sorted(addresses.map((own) => `${own.address}/${widthOf(own.family)}`)),
    connectedNetworks: sorted(families.flatMap((family) => connectedNetworks(socket, family))),
  };
}
