/** Hosts made to be bad, one way each: `weir doctor` names it, its remedy is applied as printed, and the next is clean. */
import { requires, startPeer, WeirProcess } from '@weir/core/testing';
import { rmSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { GROUPS, TRANSPARENT } from '../fallback/chain.ts';
import { bad, Scene } from './scene.ts';

interface Ill {
  readonly name: string;
  readonly lines: string;
  readonly check: string;
  readonly severity: 'warning' | 'problem';
  readonly what: RegExp;
  /** Interceptors that capture once it is mended. */
  readonly mended?: readonly string[];
}

const drop = 'type filter hook input priority 0; policy drop;';
const ILLS: readonly Ill[] = [
  {
    name: 'an INPUT policy of drop in nft',
    lines: `nft 'table inet theirs { chain input { ${drop} ct state established accept; }; }'`,
    check: 'input',
    severity: 'problem',
    what: /chain input of nft inet theirs drops what comes by the loopback device/,
    mended: ['nft'],
  },
  {
    name: 'an INPUT chain that rejects at its end, behind a jump',
    lines: `nft 'table inet theirs { chain last { reject; }; chain input { type filter hook input priority 0; tcp dport 22 accept; jump last; }; }'`,
    check: 'input',
    severity: 'problem',
    what: /chain input of nft inet theirs/,
  },
  {
    name: 'an INPUT policy of DROP in iptables',
    lines: 'iptables -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT; iptables -P INPUT DROP',
    check: 'input',
    severity: 'problem',
    what: /chain INPUT of iptables-nft filter/,
    mended: ['tproxy-iptables'],
  },
  {
    name: 'an INPUT policy of DROP in ip6tables-legacy',
    lines: 'ip6tables-legacy -P INPUT DROP',
    check: 'input',
    severity: 'problem',
    what: /chain INPUT of ip6tables-legacy filter/,
  },
  {
    name: 'a rule of nft that sets bits of our mark',
    lines: `nft 'table inet theirs { chain out { type route hook output priority -160; meta mark set meta mark | 0x20000000; }; }'`,
    check: 'marks',
    severity: 'problem',
    what: /rule 2 of inet theirs out uses the bits 0x20000000 of Weir's mark/,
    mended: ['nft'],
  },
  {
    name: 'a rule of iptables that sets bits of our mark',
    lines: 'iptables -t mangle -A OUTPUT -p tcp -j MARK --set-xmark 0x30000000/0x30000000',
    check: 'marks',
    severity: 'problem',
    what: /`OUTPUT -p tcp -j MARK --set-xmark 0x30000000\/0x30000000` of iptables-nft -t mangle uses the bits 0x30000000/,
  },
  {
    name: 'a routing rule for bits of our mark',
    lines:
      'ip rule add pref 700 fwmark 0x10000000/0x10000000 lookup 777; ip -6 rule add pref 700 fwmark 0x10000000/0x10000000 lookup 777',
    check: 'marks',
    severity: 'problem',
    what: /the rule `ip (?:-6 )?rule pref 700 fwmark 0x10000000\/0x10000000 lookup 777 protocol \d+` uses the bits 0x10000000/,
    mended: ['nft'],
  },
  {
    name: 'a rule that wipes marks',
    lines: `nft 'table inet theirs { chain pre { type filter hook prerouting priority -160; meta mark set 0; }; }'`,
    check: 'marks',
    severity: 'problem',
    what: /rule 2 of inet theirs pre clears the bits 0x3f000000 of Weir's mark/,
    mended: ['nft'],
  },
  {
    name: 'a rule of iptables that copies marks back',
    lines: 'iptables -t mangle -A OUTPUT -j CONNMARK --restore-mark',
    check: 'marks',
    severity: 'problem',
    what: /`OUTPUT -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff` of iptables-nft -t mangle clears/,
  },
  {
    name: 'our preferences taken',
    lines: 'ip rule add pref 9503 from 192.0.2.0/24 lookup 777',
    check: 'preferences',
    severity: 'problem',
    what: /`ip rule pref 9503 from 192\.0\.2\.0\/24 lookup 777 protocol \d+` stands among the preferences 9500–9515/,
    mended: ['tproxy-iptables'],
  },
  {
    name: 'a rule before ours that takes everything',
    lines: 'ip rule add pref 100 lookup main',
    check: 'preferences',
    severity: 'problem',
    what: /`ip rule pref 100 lookup 254 protocol \d+` takes every packet before Weir's rules are asked/,
    mended: ['nft'],
  },
  {
    name: 'our preference behind main taken',
    lines: 'ip rule add pref 32800 lookup 777',
    check: 'preferences',
    severity: 'warning',
    what: /`ip rule pref 32800 lookup 777 protocol \d+` has the preference 32800/,
  },
  {
    name: 'our tables taken by routes',
    lines:
      'ip route add 198.51.100.0/24 via 10.1.0.1 table 22500; ip -6 route add 2001:db8:9::/48 via fd00:1::1 table 22501',
    check: 'tables',
    severity: 'problem',
    what: /the routing table 2250[01] holds routes of somebody else/,
    mended: ['nft'],
  },
  {
    name: 'our tables taken by a rule',
    lines: 'ip rule add pref 700 from 192.0.2.0/24 lookup 22510',
    check: 'tables',
    severity: 'problem',
    what: /leads to the routing table 22510/,
  },
  {
    name: 'another user of TPROXY, in nft',
    lines: `nft 'table inet theirs { chain pre { type filter hook prerouting priority mangle; meta nfproto ipv4 meta l4proto tcp tcp dport 81 tproxy ip to 127.0.0.1:1; }; }'`,
    check: 'tproxy',
    severity: 'warning',
    what: /rule 2 of inet theirs pre uses TPROXY too/,
  },
  {
    name: 'another user of TPROXY, in iptables',
    lines:
      'ip6tables -t mangle -A PREROUTING -p tcp --dport 81 -m comment --comment "their proxy" -j TPROXY --on-port 1 --tproxy-mark 0x1/0x1',
    check: 'tproxy',
    severity: 'warning',
    what: /of ip6tables-nft -t mangle uses TPROXY too/,
  },
  {
    name: 'packets taken out of connection tracking',
    lines: 'iptables -t raw -A OUTPUT -j CT --notrack',
    check: 'conntrack',
    severity: 'problem',
    what: /`OUTPUT -j CT --notrack` of iptables-nft -t raw takes packets out of connection tracking/,
    mended: ['tproxy-iptables'],
  },
  {
    name: 'strict rp_filter that looks at marks',
    lines:
      'cd /proc/sys/net/ipv4/conf; echo 1 > all/rp_filter; echo 1 > eth0/src_valid_mark; echo 1 > all/src_valid_mark',
    check: 'rp-filter',
    severity: 'warning',
    what: /eth0: rp_filter=1 together with src_valid_mark=1 drops forwarded IPv4 packets that are captured/,
  },
  {
    name: 'no default route',
    lines: 'ip route del default',
    check: 'routes',
    severity: 'warning',
    what: /there is no default route/,
  },
  {
    name: 'IPv6 off',
    lines: 'cd /proc/sys/net/ipv6/conf; echo 1 > all/disable_ipv6; echo 1 > lo/disable_ipv6',
    check: 'ipv6',
    severity: 'warning',
    what: /IPv6 is off/,
  },
  {
    name: 'a short queue of connections',
    lines: 'echo 128 > /proc/sys/net/core/somaxconn',
    check: 'backlog',
    severity: 'warning',
    what: /only 128 connections may wait to be accepted/,
  },
];

describe.skipIf(requires('namespaces', 'root', 'nft', 'tproxy-iptables', 'ipv6', ...GROUPS))('doctor', () => {
  test('finds nothing on a host with nothing wrong, also beside living instances', { timeout: 180_000 }, async () => {
    await using scene = await Scene.create();
    const report = await scene.doctor();
    expect(bad(report)).toEqual([]);
    expect(report).toMatchObject({ code: 0, usable: true });
    for (const interceptor of TRANSPARENT) {
      await using weir = await scene.run(interceptor);
      expect(bad(await scene.doctor()), interceptor).toEqual([]);
      expect((await weir.stop()).code).toBe(0);
    }
    expect(bad(await scene.doctor())).toEqual([]);
  });

  test.each(ILLS)('$name', async ({ lines, check, severity, what, mended = [] }) => {
    await using scene = await Scene.create();
    await scene.shell(lines);
    const before = await scene.host.state();
    const report = await scene.doctor();
    expect(await scene.host.state(), 'the doctor changes nothing').toBe(before);
    const found = bad(report);
    expect(found.length).toBeGreaterThan(0);
    expect(new Set(found.map((one) => one.check))).toEqual(new Set([check]));
    expect(new Set(found.map((one) => one.severity))).toEqual(new Set([severity]));
    for (const one of found) expect(one.what).toMatch(what);
    expect(report.code).toBe(severity === 'problem' ? 5 : 0);
    for (const one of found) await scene.apply(one);
    const after = await scene.doctor();
    expect(bad(after)).toEqual([]);
    expect(after.code).toBe(0);
    for (const interceptor of mended) {
      await using weir = await scene.run(interceptor);
      expect((await weir.admin.status()).selection.selected).toBe(interceptor);
    }
  });

  test.skipIf(requires('br_netfilter'))('bridged packets in the packet filters', async () => {
    await using scene = await Scene.create();
    await scene.shell('ip link add br0 type bridge; echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables');
    const found = bad(await scene.doctor());
    expect(found).toMatchObject([{ check: 'bridge', severity: 'warning' }]);
    expect(found[0]?.what).toMatch(/br_netfilter passes what is bridged by br0 through the packet filters/);
    for (const one of found) await scene.apply(one);
    expect(bad(await scene.doctor())).toEqual([]);
  });

  test.each([
    ['with what it was killed with', (weir: WeirProcess) => void weir],
    ['with its state gone too', (weir: WeirProcess) => rmSync(weir.stateDirectory, { recursive: true })],
  ])('what a killed instance has left, %s', async (_what, more) => {
    await using scene = await Scene.create();
    const before = await scene.host.state();
    const killed: WeirProcess[] = [];
    for (const [interceptor, owner] of [
      ['nft', 'default'],
      ['tproxy-iptables', 'second'],
    ] as const) {
      scene.config = { ...scene.config, owner, capture: { 'on-crash': 'closed' } };
      const weir = await scene.run(interceptor);
      weir.process.kill('SIGKILL');
      await weir.process.waitForExit();
      killed.push(weir);
    }
    killed.forEach(more);
    expect(await scene.host.state()).not.toBe(before);
    const report = await scene.doctor();
    expect(report.code).toBe(5);
    const found = bad(report, 'leftovers');
    expect(found.map(({ command = '' }) => command).toSorted()).toEqual([
      'weir cleanup --owner default',
      'weir cleanup --owner second',
    ]);
    for (const one of found) await scene.apply(one);
    const after = await scene.doctor();
    expect(bad(after)).toEqual([]);
    expect(after.code).toBe(0);
    expect(await scene.host.state()).toBe(before);
  });

  test('rules and routes that nothing else tells of', async () => {
    await using scene = await Scene.create();
    await scene.shell('ip rule add pref 9500 fwmark 0x10000000/0x30000000 lookup 22497 protocol 87');
    await scene.shell('ip -6 route add local ::/0 dev lo table 22497 proto 87');
    const found = bad(await scene.doctor());
    expect(found).toMatchObject([{ check: 'leftovers', severity: 'problem', command: 'weir cleanup' }]);
    for (const one of found) await scene.apply(one);
    expect(bad(await scene.doctor())).toEqual([]);
  });

  test("a taken DNS port, and a resolv.conf that is somebody's link", async () => {
    await using scene = await Scene.create('file');
    await startPeer(scene.host, 'udp-peer', ['--listen', '127.0.0.1:53']);
    await scene.shell(
      'mkdir -p /run/systemd/resolve; echo "nameserver 10.1.0.1" > /run/systemd/resolve/stub-resolv.conf; ' +
        'ln -sf /run/systemd/resolve/stub-resolv.conf /etc/resolv.conf',
    );
    scene.config = { ...scene.config, resolver: { reach: 'resolv-conf' } };
    const report = await scene.doctor();
    const found = bad(report);
    expect(found).toMatchObject([
      { check: 'resolv-conf', severity: 'warning' },
      { check: 'dns-port', severity: 'problem', setting: { key: 'resolver.listen' } },
    ]);
    expect(found[1]?.what).toMatch(/another process holds udp:\/\/127\.0\.0\.1:53 \(`ss -lntup 'sport = :53'`/);
    expect(report.code).toBe(5);
    for (const one of found) await scene.apply(one);
    expect(bad(await scene.doctor())).toEqual([]);
    expect(await scene.host.readResolvConf()).toBe('nameserver 10.1.0.1\n');
  });

  test('how names get to Weir, and what a browser would ask elsewhere', async () => {
    await using scene = await Scene.create();
    scene.config = {
      ...scene.config,
      services: [{ name: 'web', addresses: ['web.internal'], ports: [80], dialer: 'reset' }],
    };
    const told = async () => (await scene.doctor()).findings.find(({ check }) => check === 'reach');
    await scene.host.writeResolvConf('nameserver 8.8.8.8\n');
    expect((await told())?.what).toMatch(
      /by capture: \/etc\/resolv\.conf names 8\.8\.8\.8, and nft captures port 53 of it; no file is changed; it ends with/,
    );
    const found = bad(await scene.doctor());
    expect(found).toMatchObject([{ check: 'unseen-names', severity: 'warning', setting: { key: 'resolver.reach' } }]);
    expect(found[0]?.what).toMatch(/Chromium and its kin ask 8\.8\.8\.8 by HTTPS/);
    for (const one of found) await scene.apply(one);
    expect(bad(await scene.doctor())).toEqual([]);
    expect((await told())?.what).toMatch(
      /by resolv-conf: .*the keeper after a kill, or `weir cleanup` put the file back/,
    );
    scene.config = { ...scene.config, resolver: { reach: 'capture' } };
    await scene.host.writeResolvConf('');
    expect(bad(await scene.doctor())).toMatchObject([
      { check: 'reach', severity: 'problem', what: expect.stringMatching(/names no server/) },
    ]);
  });

  test('who answers for Weir, or asks past it, in a host with systemd-resolved and nscd', async () => {
    await using scene = await Scene.create('file');
    scene.config = {
      ...scene.config,
      resolver: { reach: 'capture' },
      services: [{ name: 'web', addresses: ['web.internal'], ports: [80], dialer: 'reset' }],
    };
    const unseen = async () =>
      bad(await scene.doctor(), 'unseen-names').map(({ what, remedy }) => `${what}. ${remedy}`);
    await scene.shell('echo "nameserver 10.1.0.1" > /etc/resolv.conf; echo "hosts: files dns" > /etc/nsswitch.conf');
    expect(await unseen()).toEqual([]);

    await scene.shell('echo "hosts: files resolve [!UNAVAIL=return] dns" > /etc/nsswitch.conf');
    expect(await unseen()).toEqual([
      expect.stringMatching(
        /^\/etc\/nsswitch\.conf asks systemd-resolved before DNS, and capture does not see what is asked there .*nss-resolve\)\. Start systemd-resolved and set resolver\.reach: systemd-resolved, or take `resolve` out/,
      ),
    ]);
    // It runs: its own servers are captured then, whoever asks it.
    await scene.shell('mkdir -p /run/systemd/resolve; echo "nameserver 10.1.0.1" > /run/systemd/resolve/resolv.conf');
    expect(await unseen()).toEqual([]);

    await scene.shell(
      'mkdir -p /etc/systemd/resolved.conf.d /run/systemd/resolved.conf.d; ' +
        'printf "[Resolve]\\n#DNSOverTLS=no\\nDNSSEC = yes\\n" > /etc/systemd/resolved.conf; ' +
        'printf "[Resolve]\\nDNSOverTLS=opportunistic\\n" > /etc/systemd/resolved.conf.d/50-private.conf',
    );
    expect(await unseen()).toEqual([
      expect.stringMatching(
        /asks by TLS \(DNSOverTLS=opportunistic .*853 .*resolver\.reach: systemd-resolved, or DNSOverTLS=no/,
      ),
      expect.stringMatching(/checks signatures \(DNSSEC=yes .*resolver\.reach: systemd-resolved, .*or DNSSEC=no/),
    ]);
    // What comes later in the order of their names counts, wherever it lies.
    await scene.shell('printf "[Resolve]\\nDNSOverTLS=no\\nDNSSEC=no\\n" > /run/systemd/resolved.conf.d/60-plain.conf');
    expect(await unseen()).toEqual([]);

    await scene.shell('mkdir -p /run/nscd');
    const nscd = `require('node:net').createServer().listen('/run/nscd/socket', () => process.exit())`;
    await scene.shell(`${process.execPath} -e "${nscd}"; test -S /run/nscd/socket`);
    expect(await unseen()).toEqual([expect.stringMatching(/^nscd runs, .*`nscd -i hosts` after each start and stop/)]);
    await scene.shell('rm /run/nscd/socket');
    expect(await unseen()).toEqual([]);
  });

  test('too few open files', async () => {
    await using scene = await Scene.create();
    const found = bad(await scene.doctor('ulimit -n 2000'));
    expect(found).toMatchObject([{ check: 'open-files', severity: 'warning' }]);
    expect(found[0]?.what).toBe(
      '2000 open files are fewer than limits.flows: 1000 (2 each), limits.udp-sessions: 1000 (1 each) and 1024 for everything else may take',
    );
    expect(bad(await scene.doctor(found[0]?.command))).toEqual([]);
  });

  test('IPv6 addresses only', async () => {
    await using scene = await Scene.create();
    await scene.shell('ip -4 address flush dev eth0; ip -6 route add default via fd00:1::1');
    const found = bad(await scene.doctor());
    expect(found).toMatchObject([{ check: 'ipv6', severity: 'warning' }]);
    expect(found[0]?.what).toMatch(/this host has IPv6 addresses only/);
  });

  test('what lets loopback in is no obstacle, in the words of ufw', async () => {
    await using scene = await Scene.create();
    await scene.shell(
      'iptables -N before; iptables -A before -i lo -j ACCEPT; iptables -A before -s 192.0.2.1 -j DROP; ' +
        'iptables -A INPUT -j before; iptables -A INPUT -p tcp --dport 22 -j ACCEPT; iptables -P INPUT DROP; ' +
        'iptables -t mangle -A OUTPUT -j MARK --set-xmark 0x40000/0xff0000; ip rule add pref 800 fwmark 0xca6c lookup 777',
    );
    expect(bad(await scene.doctor())).toEqual([]);
  });

  test('as an ordinary user: what is missing, and exit 3', async () => {
    await using scene = await Scene.create();
    const user = 'setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all --no-new-privs "$@"; exit $?';
    const report = await scene.doctor(`export WEIR_STATE_ROOT=/nowhere\n${user}`);
    expect(report).toMatchObject({ code: 3, usable: false });
    expect(report.backends).toContainEqual(expect.objectContaining({ interceptor: 'proxy', verdict: 'supported' }));
    expect(report.backends).toContainEqual(expect.objectContaining({ interceptor: 'nft', verdict: 'unsupported' }));
    expect(bad(report, 'capabilities').map(({ what }) => what)).toEqual([
      expect.stringMatching(/does not have CAP_NET_ADMIN/),
      expect.stringMatching(/does not have CAP_NET_BIND_SERVICE/),
    ]);
    expect(bad(report, 'firewall').length).toBeGreaterThan(0);
  });
});
