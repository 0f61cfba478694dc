/**
 * Mechanisms whose rules are accepted and capture nothing, because something else on the host is in the way: the canary
 * notices, everything is taken back, and the next one's turn comes. What is taken must capture in truth.
 */
import { requires } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import { entryOf, GROUPS, Scene, TRANSPARENT } from './chain.ts';

interface Obstacle {
  readonly name: string;
  /** Shell lines that put it in the way. */
  readonly lines: string;
  /** Members that cannot capture then. The others may or may not, but must tell the truth. */
  readonly breaks: readonly string[];
}

const OBSTACLES: readonly Obstacle[] = [
  {
    name: 'an INPUT policy of drop, in nft',
    lines: `nft 'table inet theirs { chain input { type filter hook input priority 0; policy drop; ct state established accept; }; }'`,
    breaks: TRANSPARENT,
  },
  {
    name: 'an INPUT policy of drop, in iptables',
    lines: 'iptables -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\niptables -P INPUT DROP',
    breaks: TRANSPARENT,
  },
  {
    name: 'a table before ours that takes packets out of conntrack',
    lines: `nft 'table inet theirs { chain output { type filter hook output priority raw; notrack; }; }'`,
    breaks: ['nft', 'tproxy-iptables'],
  },
  {
    name: 'a table before ours that sets the bits of our bypass mark',
    lines: `nft 'table inet theirs { chain output { type route hook output priority -160; meta mark set meta mark | 0x20000000; }; }'`,
    breaks: ['nft', 'tproxy-iptables'],
  },
  {
    name: 'a table that clears marks before packets are received',
    lines: `nft 'table inet theirs { chain pre { type filter hook prerouting priority -160; meta mark set 0; ct mark set 0; }; }'`,
    breaks: ['nft', 'tproxy-iptables'],
  },
  {
    name: 'a table before ours that accepts',
    lines: `nft 'table inet theirs { chain pre { type filter hook prerouting priority -200; accept; }; chain out { type route hook output priority -200; accept; }; }'`,
    breaks: [],
  },
  {
    name: 'a rule of iptables before ours that accepts',
    lines: 'iptables -t mangle -A OUTPUT -j ACCEPT\niptables -t mangle -A PREROUTING -j ACCEPT',
    breaks: [],
  },
  {
    name: 'routing rules before ours',
    lines: 'ip rule add pref 100 lookup main',
    breaks: TRANSPARENT,
  },
  {
    name: 'strict rp_filter that looks at marks',
    lines:
      'for i in all eth0 lo; do echo 1 > /proc/sys/net/ipv4/conf/$i/rp_filter; echo 1 > /proc/sys/net/ipv4/conf/$i/src_valid_mark; done',
    breaks: [],
  },
];

describe.skipIf(requires('namespaces', 'root', 'curl', ...GROUPS))('behind', () => {
  describe.each(OBSTACLES)('$name', ({ lines, breaks }) => {
    test.each(TRANSPARENT)('%s', async (id) => {
      await using scene = await Scene.create();
      await scene.host.check(['sh', '-ec', lines]);
      const before = await scene.host.state();
      await using weir = await scene.start({}, [id, 'proxy']);
      const { selection } = await weir.admin.status();
      const { outcome, reason, remedy } = entryOf(selection, id);
      if (breaks.includes(id)) expect(outcome).toBe('ineffective');
      if (outcome === 'selected') {
        expect(await scene.answers(), 'what was proved by the canary holds').toBe('upstream');
      } else {
        expect(outcome).toBe('ineffective');
        expect(reason).toMatch(/192\.0\.2\.1.* was not captured within a second/);
        expect(remedy).toMatch(/INPUT policy of drop/);
        expect(weir.process.stderr).toContain(`${id} initialization failed: The rules are in place, but`);
        expect(selection.selected).toBe('proxy');
        expect(await scene.host.state(), 'taken back before the next one was tried').toBe(before);
      }
      expect((await weir.stop()).code).toBe(0);
      expect(await scene.host.state()).toBe(before);
    });
  });
});
