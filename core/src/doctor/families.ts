/** Checks `ipv6` and `routes`: which families this host speaks, and whether it reaches anything beyond its networks. */
import type { Family } from '../api/flow.ts';
import { listLinks } from '../sys/netlink/link.ts';
import { NETLINK_ROUTE, RT_TABLE_MAIN } from '../sys/netlink/constants.ts';
import { listRoutes } from '../sys/netlink/route.ts';
import { NetlinkSocket } from '../sys/netlink/socket.ts';
import { readSysctl } from '../sys/sysctl.ts';
import type { DoctorContext } from './context.ts';
import { fine, type Finding } from './report.ts';

export function checkFamilies({ facts }: Pick<DoctorContext, 'facts'>): readonly Finding[] {
  const check = 'ipv6';
  if (facts.ipv6) {
    const only = facts.globalIpv4 === undefined && facts.globalIpv6 !== undefined;
    if (!only) return [fine(check, 'IPv6 is on')];
    return [
      {
        check,
        severity: 'warning',
        what: 'this host has IPv6 addresses only: what it connects to by IPv4 leaves with the source 127.0.0.1',
        remedy: 'Name IPv6 prefixes, or names, which get addresses of both families.',
      },
    ];
  }
  const off = ['all', 'lo'].filter((device) => readSysctl(`net/ipv6/conf/${device}/disable_ipv6`) === '1');
  const finding = {
    check,
    severity: 'warning',
    what: 'IPv6 is off: IPv6 prefixes are not captured, and names get IPv4 addresses only',
  } as const;
  if (off.length === 0) return [{ ...finding, remedy: 'Boot a kernel with IPv6 when it is wanted.' }];
  const keys = off.map((device) => `net.ipv6.conf.${device}.disable_ipv6=0`);
  return [{ ...finding, remedy: 'Switch it on when it is wanted.', command: `sysctl -w ${keys.join(' ')}` }];
}

export function checkRoutes({ facts }: Pick<DoctorContext, 'facts'>): readonly Finding[] {
  const check = 'routes';
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  const families: readonly Family[] = facts.ipv6 ? [4, 6] : [4];
  const found = families.filter((family) =>
    listRoutes(socket, family, RT_TABLE_MAIN).some(
      ({ destination, type }) => destination.length === 0 && type === 'unicast',
    ),
  );
  if (found.length > 0) {
    return [fine(check, `there is a default route for ${found.map((family) => `IPv${family}`).join(' and ')}`)];
  }
  const device = listLinks(socket).find(({ loopback, up }) => up && !loopback)?.name ?? '<device>';
  return [
    {
      check,
      severity: 'warning',
      what: 'there is no default route: Weir captures what has none, and reaches upstreams on connected networks only',
      remedy: 'Give the host a route when upstreams are to be reached beyond its own networks.',
      command: `ip route add default via <gateway> dev ${device}`,
    },
  ];
}
