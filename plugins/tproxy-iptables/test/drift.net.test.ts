// oxlint-disable vitest/expect-expect -- `mends` brings its assertions along
import { arrival, enterFreshNamespace, mends, requires, shell } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import { environment, instance, saved, signal, VARIANTS } from './variants.ts';

const V4 = { address: '203.0.113.7', port: 443 };
const WEB = { prefixes: ['203.0.113.0/24', '2001:db8:7::/48'], ports: [[443, 443]] as const };
const w = 'weir/default';
const mangle = (...chains: readonly string[]) => chains.map((chain) => `iptables mangle ${chain}`);
const ours = mangle(...['claim', 'set', 'pick', 'pre', 'out'].map((part) => `${w}/${part}`));

/** What somebody may do to our chains, and the objects that must be named then. `T` is iptables of the variant. */
const MEDDLING: ReadonlyArray<readonly [command: string, objects: readonly string[]]> = [
  ['T -t mangle -F', [...ours, ...mangle('OUTPUT', 'PREROUTING')]],
  ['T -t mangle -F; T -t mangle -X', [...ours, ...mangle('OUTPUT', 'PREROUTING')]],
  [`T -t mangle -F ${w}/pick`, mangle(`${w}/pick`)],
  [`T -t mangle -I ${w}/out -j ACCEPT`, mangle(`${w}/out`)],
  [`T -t mangle -D ${w}/set 2`, mangle(`${w}/set`)],
  [`T -t mangle -R ${w}/set 2 -d 203.0.113.0/24 -p tcp -m tcp --dport 444 -g ${w}/claim`, mangle(`${w}/set`)],
  [`T -t mangle -A ${w}/pre -p udp -j DROP`, mangle(`${w}/pre`)],
  [`T -t mangle -D OUTPUT -j ${w}/out`, mangle('OUTPUT')],
  [`T -t mangle -A OUTPUT -j ${w}/out`, mangle('OUTPUT')],
  [
    `T -t mangle -D PREROUTING -j ${w}/pre; T -t mangle -F ${w}/pre; T -t mangle -X ${w}/pre`,
    mangle('PREROUTING', `${w}/pre`),
  ],
  [
    `T -t mangle -N ${w}/foreign; T -t mangle -A ${w}/foreign -j DROP; T -t mangle -A OUTPUT -j ${w}/foreign`,
    mangle(`${w}/foreign`),
  ],
  ['T -F', [`iptables filter ${w}/unrouted`, 'iptables filter OUTPUT']],
  [
    `6 -t mangle -F ${w}/set; 6 -t mangle -D OUTPUT -j ${w}/out`,
    [`ip6tables mangle ${w}/set`, 'ip6tables mangle OUTPUT'],
  ],
  ['ip rule del pref 9500', ['ip rule 9500']],
  [`ip route flush table 22498; T -t mangle -F ${w}/claim`, ['ip route table 22498', ...mangle(`${w}/claim`)]],
];

describe.skipIf(requires('namespaces', 'iptables-nft', 'iptables-legacy', 'ipv6'))('drift', () => {
  for (const variant of VARIANTS) {
    const real = (command: string) =>
      command.replaceAll(/\bT /g, `iptables-${variant} `).replaceAll(/(^|; )6 /g, `$1ip6tables-${variant} `);
    const everything = () => `${saved(variant)}${shell('ip rule; ip -6 rule; ip route show table all')}`;

    for (const [command, objects] of MEDDLING) {
      test(`${variant}: is named and mended: ${command}`, () =>
        mends({ ...environment(variant), state: everything }, { command: real(command), objects }));
    }

    test(`${variant}: changes of others that are none of ours are no drift`, async () => {
      enterFreshNamespace({ uplink: true });
      await using weir = instance(variant);
      await weir.start(weir.input([WEB]));
      shell(
        real(`T -t mangle -I OUTPUT -p tcp --dport 9 -j ACCEPT; T -t mangle -N weir/other/out; T -P FORWARD DROP
          nft add table inet foreign; ip rule add pref 9499 lookup 7; ip addr add 10.9.0.1/24 dev up0`),
      );
      expect(await weir.interceptor.verify(signal)).toEqual([]);
    });
  }

  test('nft: everything was flushed, tables and all', async () => {
    enterFreshNamespace({ uplink: true });
    await using weir = instance('nft');
    await weir.start(weir.input([WEB]));
    const right = saved('nft');
    shell('nft flush ruleset');
    const drift = await weir.interceptor.verify(signal);
    expect(drift.length).toBeGreaterThan(10);
    await weir.interceptor.repair(drift, signal);
    expect(await weir.interceptor.verify(signal)).toEqual([]);
    expect(saved('nft')).toBe(right);
    expect(arrival(weir.listeners[4], V4)).toEqual(V4);
  });
});
