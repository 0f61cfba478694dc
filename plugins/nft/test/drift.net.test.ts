// oxlint-disable vitest/expect-expect -- `mends` brings its assertions along
import { enterFreshNamespace, mends, requires, shell, type TproxyEnvironment } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import { instance, signal, state } from './instance.ts';

const WEB = { prefixes: ['203.0.113.0/24', '2001:db8:7::/48'], ports: [[443, 443]] as const };

/** What somebody may do to a table that is not owned, and the objects that must be named then. */
const MEDDLING: ReadonlyArray<readonly [command: string, objects: readonly string[]]> = [
  ['nft delete table inet weir_default', ['nft table inet weir_default']],
  ['nft flush ruleset', ['nft table inet weir_default']],
  ['nft add table inet weir_default "{ flags dormant; }"', ['nft table inet weir_default']],
  ['nft flush chain inet weir_default pick', ['nft chain inet weir_default pick']],
  ['nft insert rule inet weir_default out accept', ['nft chain inet weir_default out']],
  ['nft add rule inet weir_default unrouted counter drop', ['nft chain inet weir_default unrouted']],
  [
    'nft delete rule inet weir_default pre handle $(nft -a list chain inet weir_default pre | sed -n "s/.*tproxy ip6.* handle //p")',
    ['nft chain inet weir_default pre'],
  ],
  ['nft chain inet weir_default out "{ policy drop; }"', ['nft chain inet weir_default out']],
  [
    'nft add chain inet weir_default foreign; nft add rule inet weir_default foreign drop',
    ['nft chain inet weir_default foreign'],
  ],
  ['nft add set inet weir_default foreign "{ type ipv4_addr; }"', ['nft set inet weir_default foreign']],
  [
    'nft delete element inet weir_default any4_g1_0 "{ 203.0.113.0/24 . tcp . 443 }"',
    ['nft set inet weir_default any4_g1_0'],
  ],
  ['nft add element inet weir_default any4_g1_0 "{ 9.0.0.0/8 . tcp . 1-9 }"', ['nft set inet weir_default any4_g1_0']],
  [
    'nft flush chain inet weir_default pick; nft delete set inet weir_default any6_g1_0',
    ['nft chain inet weir_default pick', 'nft set inet weir_default any6_g1_0'],
  ],
  [
    'nft flush chain inet weir_default out; nft delete chain inet weir_default out; nft add chain inet weir_default out "{ type route hook output priority 5; }"',
    ['nft chain inet weir_default out'],
  ],
  [
    'nft flush chain inet weir_default pick; nft flush chain inet weir_default claim; nft delete chain inet weir_default claim',
    ['nft chain inet weir_default claim', 'nft chain inet weir_default pick'],
  ],
  ['ip rule del pref 9500', ['ip rule 9500']],
  ['ip -6 rule del pref 9500; ip rule del pref 32800', ['ip rule 32800', 'ip -6 rule 9500']],
  ['ip rule del pref 9500; ip rule add pref 9500 fwmark 0x7 lookup 22497 protocol 87', ['ip rule 9500']],
  ['ip route flush table 22497', ['ip route table 22497']],
  ['ip -6 route flush table 22498', ['ip -6 route table 22498']],
  ['ip route del 203.0.113.0/24 table 22498', ['ip route table 22498']],
  ['ip route add blackhole 203.0.113.128/25 table 22498', ['ip route table 22498']],
  [
    'ip route add throw 1.0.0.0/8 table 22497; ip -6 route add unreachable 2001:db8:7:7::/64 table 22498',
    ['ip route table 22497', 'ip -6 route table 22498'],
  ],
];

/** Others cannot change an owner table. */
const foreignHands: TproxyEnvironment = {
  make: () => instance({ onCrash: 'closed' }),
  state: () => shell('nft -s list ruleset; ip rule; ip -6 rule; ip route show table all'),
};

describe.skipIf(requires('namespaces', 'nft', 'ipv6'))('drift', () => {
  for (const [command, objects] of MEDDLING) {
    test(`is named and mended: ${command}`, () => mends(foreignHands, { command, objects }));
  }

  test('changes of others that are none of ours are no drift', async () => {
    enterFreshNamespace({ uplink: true });
    await using weir = instance({ onCrash: 'closed' });
    await weir.start(weir.input([WEB]));
    shell(`nft add table inet foreign; nft add chain inet foreign c; ip rule add pref 9499 lookup 7
      ip rule add pref 9501 fwmark 1 lookup 9; ip route add 8.8.8.0/24 dev lo table 7; ip addr add 10.9.0.1/24 dev up0`);
    expect(await weir.interceptor.verify(signal)).toEqual([]);
  });

  test('an owner table cannot be changed by others, and is made anew when it is gone all the same', async () => {
    enterFreshNamespace({ uplink: true });
    const before = state();
    await using weir = instance();
    await weir.start(weir.input([WEB]));
    for (const command of [
      'nft flush chain inet weir_default pick',
      'nft delete table inet weir_default',
      'nft add element inet weir_default any4_g1_0 "{ 9.0.0.0/8 . tcp . 1 }"',
    ]) {
      expect(() => shell(command)).toThrow(/Operation not permitted/);
    }
    shell('nft flush ruleset');
    expect(await weir.interceptor.verify(signal)).toEqual([]);
    await weir.interceptor.stop();
    expect(state()).toBe(before);
  });
});
