import { closeSync, openSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { hostFacts } from '../../src/host/facts.ts';
import { NotPermittedError } from '../../src/api/errors.ts';
import { formatPrefix, parsePrefix } from '../../src/capture/address.ts';
import { hasCapability, effectiveCapabilities } from '../../src/sys/capabilities.ts';
import * as netlink from '../../src/sys/netlink/index.ts';
import { enterNetns, netnsInode, unshareNetns } from '../../src/sys/netns.ts';
import { readSysctl, sysctlPath } from '../../src/sys/sysctl.ts';
import { descriptorsOf, openedSince } from '../../src/testing/descriptors.ts';
import { requires } from '../../src/testing/requirements.ts';
import { enterFreshNamespace, shell } from '../../src/testing/thread-namespace.ts';

const { NETLINK_ROUTE, NetlinkSocket, NetlinkError, RouteMonitor } = netlink;

const RULE: netlink.RoutingRule = {
  family: 4,
  preference: 9500,
  table: 22497,
  fwmark: { value: 0x10000000, mask: 0x3f000000 },
  protocol: 87,
};

function route(destination: string, more: Partial<netlink.Route> = {}): netlink.Route {
  return { type: 'unicast', destination: parsePrefix(destination), table: 22498, device: 1, protocol: 87, ...more };
}

describe.skipIf(requires('namespaces', 'ipv6'))('rtnetlink', () => {
  // A user namespace has one user, and the kernel refuses a range of others.
  test.skipIf(requires('root'))(
    'rules of both families: what we add is what ip lists, and what we list is what ip added',
    () => {
      enterFreshNamespace();
      using socket = new NetlinkSocket(NETLINK_ROUTE);
      const rules: readonly netlink.RoutingRule[] = [
        RULE,
        { ...RULE, family: 6 },
        { family: 4, preference: 32800, table: 100, iif: 'lo', fwmark: { value: 0, mask: 0x20000000 }, protocol: 87 },
        { family: 6, preference: 32800, table: 4_000_000_000, protocol: 87 },
        { family: 4, preference: 9615, table: 0, action: 'nop', protocol: 87 },
        {
          family: 4,
          preference: 9601,
          table: 0,
          not: true,
          from: parsePrefix('0.0.0.0/32'),
          action: { goto: 9615 },
          protocol: 87,
        },
        {
          family: 4,
          preference: 9602,
          table: 100,
          from: parsePrefix('0.0.0.0/32'),
          to: parsePrefix('10.0.0.0/8'),
          iif: 'lo',
          fwmark: { value: 0, mask: 0x20000000 },
          ipProtocol: 6,
          ports: { first: 7000, last: 7100 },
          protocol: 87,
        },
        {
          family: 4,
          preference: 9603,
          table: 100,
          iif: 'lo',
          uids: { first: 1000, last: 1999 },
          ipProtocol: 17,
          ports: { first: 53, last: 53 },
          protocol: 87,
        },
        { family: 6, preference: 9615, table: 0, action: 'nop', protocol: 87 },
        { family: 6, preference: 9601, table: 0, from: parsePrefix('8000::/1'), action: { goto: 9615 }, protocol: 87 },
        {
          family: 6,
          preference: 9602,
          table: 100,
          to: parsePrefix('2001:db8::/32'),
          ipProtocol: 6,
          ports: { first: 443, last: 443 },
          protocol: 87,
        },
      ];
      for (const rule of rules) socket.request(netlink.ruleAddition(rule));
      const ours = shell('ip rule; ip -6 rule');
      expect(ours).toContain('9601:\tnot from 0.0.0.0 goto 9615 proto 87');
      expect(ours).toContain(
        '9602:\tfrom 0.0.0.0 to 10.0.0.0/8 fwmark 0/0x20000000 iif lo ipproto tcp dport 7000-7100',
      );
      expect(ours).toContain('9603:\tfrom all iif lo uidrange 1000-1999 ipproto udp dport 53 lookup 100 proto 87');
      expect(ours).toContain('9615:\tfrom all nop proto 87');
      expect(ours).toContain('9500:\tfrom all fwmark 0x10000000/0x3f000000 lookup 22497 proto 87');
      expect(ours).toContain('32800:\tfrom all fwmark 0/0x20000000 iif lo lookup 100 proto 87');
      const listed = ([4, 6] as const).flatMap((family) => netlink.listRules(socket, family));
      for (const rule of rules) expect(listed).toContainEqual({ ...rule, complete: true });
      enterFreshNamespace();
      for (const rule of rules) {
        shell(`ip ${rule.family === 6 ? '-6' : ''} rule add ${netlink.formatRule(rule)}`);
      }
      using other = new NetlinkSocket(NETLINK_ROUTE);
      expect(([4, 6] as const).flatMap((family) => netlink.listRules(other, family))).toEqual(listed);
      for (const rule of rules) other.request(netlink.ruleRemoval(rule));
      expect(shell('ip rule; ip -6 rule')).not.toContain('proto 87');
    },
  );

  test('rules that say more than ours do are told apart', () => {
    enterFreshNamespace();
    shell('ip rule add pref 7 oif lo lookup 9; ip rule add pref 8 ipproto tcp sport 80 lookup 9');
    shell('ip rule add pref 9 suppress_prefixlength 0 lookup 9; ip rule add pref 10 tos 8 lookup 9');
    shell('ip rule add pref 11 prohibit');
    using socket = new NetlinkSocket(NETLINK_ROUTE);
    const rules = netlink.listRules(socket, 4).filter((rule) => rule.preference > 0 && rule.preference < 100);
    expect(rules.map((rule) => [rule.preference, rule.complete])).toEqual([7, 8, 9, 10, 11].map((n) => [n, false]));
  });

  test('routes of each type: what we add is what ip would have added', () => {
    const routes = [
      route('203.0.113.0/24', { source: '10.1.0.2' }),
      route('198.51.100.7/32', { source: '127.0.0.1' }),
      route('0.0.0.0/0', { type: 'local', table: 22497 }),
      route('2001:db8:7::/48'),
      route('::/0', { type: 'local', table: 22497 }),
      { type: 'throw', destination: parsePrefix('169.254.0.0/16'), table: 22498, protocol: 87 },
      { type: 'throw', destination: parsePrefix('fe80::/10'), table: 77, protocol: 87 },
      { type: 'unreachable', destination: parsePrefix('198.18.0.0/15'), table: 77, metric: 2048, protocol: 87 },
      { type: 'unreachable', destination: parsePrefix('2001:db8:8::/48'), table: 77, metric: 2048, protocol: 87 },
    ] as const satisfies readonly netlink.Route[];
    const all = 'ip -4 route show table all; ip -6 route show table all';
    enterFreshNamespace({ uplink: true });
    for (const each of routes) {
      const six = each.destination.family === 6 ? '-6' : '-4';
      shell(`ip ${six} route add ${netlink.formatRoute(each, 'lo')}`);
    }
    const byIp = shell(all);
    enterFreshNamespace({ uplink: true });
    using socket = new NetlinkSocket(NETLINK_ROUTE);
    expect(socket.settle(routes.map((each) => netlink.routeAddition(each)))).toEqual(routes.map(() => undefined));
    expect(shell(all)).toBe(byIp);
    const tables = [22497, 22498, 77];
    const found = ([4, 6] as const).flatMap((family) =>
      tables.flatMap((table) => netlink.listRoutes(socket, family, table)),
    );
    const text = (each: Pick<netlink.ListedRoute, 'type' | 'destination' | 'table' | 'source'>) =>
      `${each.type} ${formatPrefix(each.destination)} ${each.table} ${each.source}`;
    expect(found.map(text).toSorted()).toEqual(routes.map(text).toSorted());
    expect(socket.settle(routes.map((each) => netlink.routeRemoval(each)))).toEqual(routes.map(() => undefined));
    expect(shell(all)).not.toContain('proto 87');
  });

  test('a table that nobody used is empty', () => {
    enterFreshNamespace();
    using socket = new NetlinkSocket(NETLINK_ROUTE);
    expect(netlink.listRoutes(socket, 4, 4711)).toEqual([]);
    expect(netlink.listRoutes(socket, 6, 4711)).toEqual([]);
  });

  test('refusals carry errno and the kernel’s words, and a batch goes on behind them', () => {
    enterFreshNamespace({ uplink: true });
    using socket = new NetlinkSocket(NETLINK_ROUTE);
    socket.request(netlink.ruleAddition(RULE));
    expect(() => socket.request(netlink.ruleAddition(RULE))).toThrow(NetlinkError);
    expect(() => socket.request(netlink.ruleAddition(RULE))).toThrow(/add the IPv4 rule pref 9500 .*EEXIST/);
    const [refused, made] = socket.settle([
      netlink.routeAddition(route('203.0.113.0/24', { source: '192.0.2.99' })),
      netlink.routeAddition(route('203.0.113.0/24')),
    ]);
    expect(refused).toMatchObject({ errno: 22, detail: 'Invalid prefsrc address' });
    expect(made).toBeUndefined();
    expect(netlink.listRoutes(socket, 4, 22498)).toHaveLength(1);
    expect(() => socket.request(netlink.routeRemoval(route('203.0.114.0/24')))).toThrow(/ESRCH/);
  });

  test('10,000 routes in one go, and away again', () => {
    enterFreshNamespace();
    using socket = new NetlinkSocket(NETLINK_ROUTE);
    const routes = Array.from({ length: 10_000 }, (_, i) => route(`20.${i >> 8}.${i & 255}.0/24`));
    expect(socket.settle(routes.map((each) => netlink.routeAddition(each))).filter(Boolean)).toEqual([]);
    expect(netlink.listRoutes(socket, 4, 22498)).toHaveLength(10_000);
    expect(socket.settle(routes.map((each) => netlink.routeAddition(each))).filter(Boolean)).toHaveLength(10_000);
    expect(socket.settle(routes.map((each) => netlink.routeRemoval(each))).filter(Boolean)).toEqual([]);
  });

  test('links and addresses', () => {
    enterFreshNamespace({ uplink: true });
    using socket = new NetlinkSocket(NETLINK_ROUTE);
    expect(netlink.findLink(socket, 'lo')).toEqual({ index: 1, name: 'lo', up: true, loopback: true, mtu: 65_536 });
    expect(netlink.findLink(socket, 'up0')).toMatchObject({ up: true, loopback: false, mtu: 1500 });
    expect(netlink.findLink(socket, 'nothing')).toBeUndefined();
    const addresses = netlink.listAddresses(socket);
    expect(addresses).toContainEqual(
      expect.objectContaining({ address: '10.1.0.2', prefixLength: 24, scope: 0, usable: true }),
    );
    expect(addresses).toContainEqual(expect.objectContaining({ family: 6, address: '::1', prefixLength: 128 }));
  });

  test('nothing stays open', () => {
    enterFreshNamespace();
    const before = descriptorsOf();
    for (let i = 0; i < 50; i++) {
      using socket = new NetlinkSocket(NETLINK_ROUTE);
      netlink.listLinks(socket);
      using monitor = new RouteMonitor();
      monitor.poll();
    }
    expect(openedSince(before, descriptorsOf())).toEqual([]);
  });

  test('a closed socket says so', () => {
    enterFreshNamespace();
    const socket = new NetlinkSocket(NETLINK_ROUTE);
    socket.close();
    socket.close();
    expect(() => netlink.listLinks(socket)).toThrow(/closed/);
  });
});

describe.skipIf(requires('namespaces', 'ipv6'))('the monitor', () => {
  test('names what changed, once, and nothing when nothing did', () => {
    enterFreshNamespace();
    using monitor = new RouteMonitor();
    expect(monitor.poll()).toEqual(new Set());
    shell('ip rule add pref 5 lookup 7');
    expect(monitor.poll()).toEqual(new Set(['rule']));
    shell('ip -6 rule add pref 5 lookup 7; ip route add 9.0.0.0/8 dev lo table 7');
    expect(monitor.poll()).toEqual(new Set(['rule', 'route']));
    shell('ip addr add 10.9.0.1/32 dev lo');
    expect(monitor.poll()).toContain('address');
    shell('ip link set lo down');
    expect(monitor.poll()).toContain('link');
    expect(monitor.poll()).toEqual(new Set());
  });

  test('after an overrun everything counts as changed', () => {
    enterFreshNamespace();
    using monitor = new RouteMonitor();
    const lines = Array.from({ length: 3000 }, (_, i) => `route add 20.${i >> 8}.${i & 255}.0/24 dev lo table 7`);
    shell('ip -batch -', lines.join('\n'));
    expect(monitor.poll()).toEqual(new Set(['link', 'address', 'route', 'rule']));
  });

  test('watches by a timer that ends with it', async () => {
    enterFreshNamespace();
    using monitor = new RouteMonitor();
    const seen: string[] = [];
    const stop = monitor.watch((changed) => seen.push(...changed), 5);
    shell('ip rule add pref 5 lookup 7');
    await expect.poll(() => seen).toEqual(['rule']);
    stop();
    shell('ip rule add pref 6 lookup 7');
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(seen).toEqual(['rule']);
  });
});

describe.skipIf(requires('namespaces', 'ipv6'))('what is known of the host', () => {
  test('with an uplink', () => {
    enterFreshNamespace({ uplink: true });
    shell('ip addr add 10.9.0.1/32 dev lo; ip route add 10.50.0.0/16 via 10.1.0.9 dev up0 onlink');
    const facts = hostFacts();
    expect(facts).toMatchObject({
      netns: netnsInode(),
      ipv6: true,
      globalIpv4: '10.1.0.2',
      globalIpv6: '2001:db8:1::2',
      connectedNetworks: ['10.1.0.0/24', '2001:db8:1::/64', 'fe80::/64'],
    });
    expect(facts.ownAddresses).toEqual(
      expect.arrayContaining(['10.1.0.2/32', '10.9.0.1/32', '127.0.0.1/32', '2001:db8:1::2/128', '::1/128']),
    );
    expect(hostFacts()).toEqual(facts);
  });

  test('with lo alone, and with IPv6 off', () => {
    enterFreshNamespace();
    const facts = hostFacts();
    expect(facts.globalIpv4).toBeUndefined();
    expect(facts.globalIpv6).toBeUndefined();
    expect(facts.connectedNetworks).toEqual([]);
    shell('echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6');
    expect(hostFacts()).toMatchObject({ ipv6: false, ownAddresses: ['127.0.0.1/32'] });
    shell('echo 0 > /proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 > /proc/sys/net/ipv6/conf/lo/disable_ipv6');
    expect(hostFacts().ipv6).toBe(false);
  });
});

describe.skipIf(requires('namespaces'))('the thread', () => {
  test('moves to a namespace and to a given one', () => {
    unshareNetns();
    const first = netnsInode();
    // Children are born where the thread is.
    expect(shell('readlink /proc/self/ns/net')).toContain(first);
    const held = openSync('/proc/thread-self/ns/net', 'r');
    unshareNetns();
    expect(netnsInode()).not.toBe(first);
    enterNetns(`/proc/self/fd/${held}`);
    expect(netnsInode()).toBe(first);
    closeSync(held);
    enterFreshNamespace();
    expect(() => enterNetns('/nowhere')).toThrow(/open\(\/nowhere\)/);
  });

  test('sysctls and capabilities', () => {
    enterFreshNamespace();
    expect(sysctlPath('net.ipv4.ip_forward')).toBe('/proc/sys/net/ipv4/ip_forward');
    expect(sysctlPath('net/ipv4/conf/eth0.7/rp_filter')).toBe('/proc/sys/net/ipv4/conf/eth0.7/rp_filter');
    expect(readSysctl('net.ipv4.ip_forward')).toBe('0');
    expect(readSysctl('net.ipv4.no_such')).toBeUndefined();
    expect(hasCapability('CAP_NET_ADMIN')).toBe(true);
    expect(effectiveCapabilities()).toBeTypeOf('bigint');
  });

  test('without CAP_NET_ADMIN changes are refused with the remedy, and looking is not', () => {
    const script = `
      import * as sys from '@weir/core/sys';
      using socket = new sys.NetlinkSocket(sys.NETLINK_ROUTE);
      const looked = sys.listRules(socket, 4).length;
      let refused = '';
      try {
        socket.request(sys.ruleAddition({ family: 4, preference: 1, table: 7, protocol: 87 }));
      } catch (error) { refused = error.code + ' ' + error.remedy; }
      console.log(JSON.stringify({ looked, refused, admin: sys.hasCapability('CAP_NET_ADMIN') }));`;
    enterFreshNamespace();
    const said = shell(
      `cd ${process.cwd()}; setpriv --bounding-set -net_admin --inh-caps -all ${process.execPath} --conditions=source --input-type=module -`,
      script,
    );
    const { looked, refused, admin } = JSON.parse(said) as { looked: number; refused: string; admin: boolean };
    expect({ looked, admin }).toEqual({ looked: 3, admin: false });
    expect(refused).toBe(
      `${new NotPermittedError({ problem: '', remedy: '' }).code} Run Weir as root or give it CAP_NET_ADMIN.`,
    );
  });
});
