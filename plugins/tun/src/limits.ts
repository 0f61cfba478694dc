/** What this mechanism cannot do, said before anything is changed. */
import { formatPrefix, ownAddressTest, type PlanInput, UnsupportedError } from '@weir/core';
import { readSysctl } from '@weir/core/sys';

/** @throws UnsupportedError naming the limit. */
export function refuseUnsupported({ set, facts }: Pick<PlanInput, 'set' | 'facts'>): void {
  const isOwn = ownAddressTest(facts);
  const named = set.rows.find(
    ({ prefix, ports }) =>
      isOwn(prefix) && ports.some(({ choices }) => choices.some(({ verdict }) => verdict !== 'spare')),
  );
  if (named) {
    throw new UnsupportedError({
      problem: `The interceptor tun cannot capture ${formatPrefix(named.prefix)}: the kernel delivers to addresses of this host before it asks any rule.`,
      remedy: 'Leave addresses of this host out of `services`, or use the interceptor nft or tproxy-iptables.',
    });
  }
}

/**
 * Packets of others pass through the device, so that the host must pass packets on.
 * @throws UnsupportedError when it does not, as far as that can be seen.
 */
export function refuseClosedGateway({ set, facts }: Pick<PlanInput, 'set' | 'facts'>): void {
  const hasRows = (family: 4 | 6) => set.rows.some(({ prefix }) => prefix.family === family);
  for (const iface of set.scopes.forward?.interfaces ?? []) {
    const four = readSysctl(`net/ipv4/conf/${iface}/forwarding`) ?? readSysctl('net.ipv4.ip_forward');
    if (hasRows(4) && four === '0') throw closed('IPv4', iface, 'net.ipv4.ip_forward');
    if (hasRows(6) && facts.ipv6 && readSysctl('net.ipv6.conf.all.forwarding') === '0') {
      throw closed('IPv6', iface, 'net.ipv6.conf.all.forwarding');
    }
  }
}

function closed(family: string, iface: string, name: string): UnsupportedError {
  return new UnsupportedError({
    problem: `The interceptor tun cannot capture what comes in by ${iface}: this host does not pass ${family} packets on.`,
    remedy: `Switch it on (sysctl -w ${name}=1), or use the interceptor nft or tproxy-iptables.`,
  });
}
