/** Checks `bridge` and `rp-filter`: kernel parameters that take captured traffic away. */
import { existsSync } from 'node:fs';
import { listLinks } from '../sys/netlink/link.ts';
import { NETLINK_ROUTE } from '../sys/netlink/constants.ts';
import { NetlinkSocket } from '../sys/netlink/socket.ts';
import { readSysctl } from '../sys/sysctl.ts';
import { fine, type Finding } from './report.ts';

function devices(): readonly string[] {
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  return listLinks(socket).map(({ name }) => name);
}

/** `br_netfilter`: bridged packets pass through prerouting, where TPROXY and the routing of marks do not fit. */
export function checkBridge(): readonly Finding[] {
  const check = 'bridge';
  const keys = ['bridge-nf-call-iptables', 'bridge-nf-call-ip6tables'].map((key) => `net/bridge/${key}`);
  const on = keys.filter((key) => readSysctl(key) === '1');
  if (on.length === 0) return [fine(check, 'bridged packets are not passed through the packet filters (br_netfilter)')];
  const bridges = devices().filter((name) => existsSync(`/sys/class/net/${name}/bridge`));
  if (bridges.length === 0) return [fine(check, 'br_netfilter is on, and there is no bridge')];
  const names = on.map((key) => key.replaceAll('/', '.'));
  return [
    {
      check,
      severity: 'warning',
      what: `br_netfilter passes what is bridged by ${bridges.join(', ')} through the packet filters: captured there, it is lost`,
      remedy: 'Switch it off, unless something relies on it: Docker and Kubernetes keep containers apart by it.',
      command: `sysctl -w ${names.map((name) => `${name}=0`).join(' ')}`,
    },
  ];
}

/**
 * Strict reverse path filtering that looks at marks: the source of a forwarded packet with the capture mark is looked up
 * in the table that leads to the host itself. The kernel takes the larger rp_filter and either src_valid_mark of `all`
 * and the device.
 */
export function checkReversePath(): readonly Finding[] {
  const check = 'rp-filter';
  const value = (device: string, key: string): number => Number(readSysctl(`net/ipv4/conf/${device}/${key}`) ?? 0);
  const strict = devices().filter((device) => {
    const filter = Math.max(value('all', 'rp_filter'), value(device, 'rp_filter'));
    return (
      device !== 'lo' && filter === 1 && (value('all', 'src_valid_mark') === 1 || value(device, 'src_valid_mark') === 1)
    );
  });
  if (strict.length === 0)
    return [fine(check, 'no device drops forwarded packets for their mark (rp_filter with src_valid_mark)')];
  const marked = ['all', ...strict].filter((device) => value(device, 'src_valid_mark') === 1);
  return [
    {
      check,
      severity: 'warning',
      what: `${strict.join(', ')}: rp_filter=1 together with src_valid_mark=1 drops forwarded IPv4 packets that are captured`,
      remedy: 'Switch src_valid_mark off (wg-quick switches it on).',
      command: `sysctl -w ${marked.map((device) => `net.ipv4.conf.${device}.src_valid_mark=0`).join(' ')}`,
    },
  ];
}
