import { numberToAddress, type PlanInput } from '@weir/core';
import {
  arrival,
  attempt,
  enterFreshNamespace,
  HOOK_CASES,
  requires,
  shell,
  SILENT,
  TEST_NUMBERS,
  TPROXY_LIFECYCLE_CASES,
} from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import { tproxyIptables } from '../src/index.ts';
import { CASES } from './cases.ts';
import { environment, instance, saved, signal, state, type Variant, VARIANTS } from './variants.ts';

const V4 = { address: '203.0.113.7', port: 443 };
const WEB = { prefixes: ['203.0.113.0/24', '2001:db8:7::/48'], ports: [[443, 443]] as const };
const routing = 'ip rule; ip -6 rule; ip route show table all; ip -6 route show table all';

/** Feeds a plan to the tools that it names; to iptables-restore first in check mode. */
function load(variant: Variant, input: PlanInput): void {
  for (const { tool, text } of tproxyIptables.plan(input, { variant }).steps) {
    if (!tool.endsWith('-restore')) shell(`${tool} -batch -`, text);
    else {
      const command = tool.replace('-restore', `-${variant}-restore`);
      shell(`${command} --noflush --test`, text);
      shell(`${command} --noflush`, text);
    }
  }
}

/** The lines that a plan says are in the kernel, as a set: iptables-save sorts chains in its own way. */
function rulesOf(input: PlanInput): readonly string[] {
  return tproxyIptables
    .plan(input, { variant: 'auto' })
    .steps.filter(({ tool }) => tool.endsWith('-restore'))
    .flatMap(({ text }) => text.split('\n'))
    .filter((line) => /^-[AI] /.test(line))
    .map((line) => line.replace(/^-I/, '-A'))
    .toSorted();
}

describe.skipIf(requires('namespaces', 'iptables-nft', 'iptables-legacy', 'ipv6'))(
  'the life of tproxy-iptables',
  () => {
    for (const variant of VARIANTS) {
      describe(variant, () => {
        for (const { name, timeoutMs, run } of HOOK_CASES) {
          test(name, { timeout: timeoutMs }, () => run({ definition: tproxyIptables, options: { variant } }));
        }
        for (const { name, run } of TPROXY_LIFECYCLE_CASES) test(name, () => run(environment(variant)));

        for (const { name, input } of CASES) {
          test(`start makes what the plan says, and the kernel lists it so: ${name}`, async () => {
            enterFreshNamespace({ uplink: true });
            load(variant, input);
            const byTools = saved(variant) + shell(routing);
            enterFreshNamespace({ uplink: true });
            const before = state();
            await using weir = instance(variant, { owner: input.owner, numbers: input.numbers });
            await weir.start(input);
            expect(saved(variant) + shell(routing)).toBe(byTools);
            const listed = saved(variant).split('\n');
            expect(listed.filter((line) => line.startsWith('-A ')).toSorted()).toEqual(rulesOf(input));
            expect(await weir.interceptor.verify(signal)).toEqual([]);
            await weir.interceptor.stop();
            expect(state()).toBe(before);
          });
        }

        test('when the second family fails, the first is taken back: at start, and in an update', async () => {
          enterFreshNamespace({ uplink: true });
          const before = state();
          const one = `ip6tables-${variant} -t mangle`;
          shell(`${one} -N weir/default/out`);
          {
            await using weir = instance(variant);
            await expect(weir.start(weir.input([WEB]))).rejects.toThrow(/exist already/);
            expect(shell(`iptables-${variant}-save`)).not.toContain('weir/default');
            expect(shell(`ip6tables-${variant}-save`)).toContain(':weir/default/out');
          }
          shell(`${one} -X weir/default/out`);
          await using weir = instance(variant);
          await weir.start(weir.input([WEB]));
          const running = saved(variant);
          // Somebody takes a chain away that the update of IPv6 wants to remove.
          const many = Array.from({ length: 40 }, (_, i) => `2001:db8:${(2 * i + 16).toString(16)}::/48`);
          const wide = weir.input([WEB, { prefixes: [...many, '198.51.100.0/24'] }], {}, { generation: 2 });
          await weir.interceptor.update(wide, signal);
          shell(`${one} -F weir/default/set; ${one} -F weir/default/1; ${one} -X weir/default/1`);
          const broken = shell(`iptables-${variant}-save | grep -v ^#`);
          await expect(weir.interceptor.update(weir.input([WEB], {}, { generation: 3 }), signal)).rejects.toThrow(
            /ip6tables could not change the chains/,
          );
          expect(shell(`iptables-${variant}-save | grep -v ^#`).replaceAll(/\[\d+:\d+\]/g, '')).toBe(
            broken.replaceAll(/\[\d+:\d+\]/g, ''),
          );
          await weir.interceptor.repair(await weir.interceptor.verify(signal), signal);
          await weir.interceptor.update(weir.input([WEB], {}, { generation: 4 }), signal);
          expect(saved(variant).split('\n').toSorted()).toEqual(running.split('\n').toSorted());
          await weir.interceptor.stop();
          expect(state().replaceAll(/table ip6 mangle \{[^]*?^\}\n/gm, '')).toBe(before);
        });

        test('update: a rule more, a tree, back again; the kernel has what the last input says', async () => {
          enterFreshNamespace({ uplink: true });
          await using weir = instance(variant);
          await weir.start(weir.input([WEB]));
          const first = saved(variant);
          const wide = Array.from({ length: 300 }, (_, i) => `198.${18 + (i >> 8)}.${i & 255}.0/24`);
          const steps = [
            [WEB, { prefixes: ['198.51.100.0/24'], ports: [[80, 80]] as const }],
            [{ prefixes: ['198.51.0.0/16', '203.0.113.0/28'], ports: [[1, 100]] as const }],
            [{ prefixes: wide, ports: [[80, 80]] as const }],
            [{ prefixes: wide.filter((_, i) => i % 2 === 0), ports: [[80, 80]] as const }],
            [{ prefixes: wide.slice(1) }, { prefixes: ['2001:db8:8::/48'], sources: ['2001:db8:1::/64'] }],
            [],
            [WEB],
          ];
          for (const [index, services] of steps.entries()) {
            const input = weir.input(services, {}, { generation: index + 2 });
            await weir.interceptor.update(input, signal);
            expect(await weir.interceptor.verify(signal)).toEqual([]);
            const names = /weir\/default\/\d+/g;
            const anonymous = (lines: readonly string[]) => lines.map((line) => line.replaceAll(names, 'n')).toSorted();
            const listed = saved(variant).split('\n');
            expect(anonymous(listed.filter((line) => line.startsWith('-A ')))).toEqual(anonymous(rulesOf(input)));
          }
          expect(arrival(weir.listeners[4], V4)).toEqual(V4);
          expect(saved(variant).split('\n').toSorted()).toEqual(first.split('\n').toSorted());
        });

        test('the deepest tree is not too deep for the kernel', async () => {
          enterFreshNamespace({ uplink: true });
          await using weir = instance(variant);
          // Twenty addresses in each block of four bits, all the way down: as many levels as there can be.
          const nested = Array.from({ length: 30 }, (_, level) =>
            Array.from({ length: 20 }, (__, i) => {
              const value =
                (0x2an << 120n) | (1n << BigInt(level * 4)) | (BigInt(i * 3) << BigInt(Math.max(0, level * 4 - 8)));
              return `${numberToAddress(6, value)}/128`;
            }),
          );
          const prefixes = [...new Set(nested.flat())];
          const only = [{ kind: 'uid', first: 0, last: 65_535 } as const];
          await weir.start(weir.input([{ prefixes }], {}, { owners: { only, except: [] } }));
          const target = { address: prefixes[0]?.split('/')[0] ?? '', port: 9 };
          expect(arrival(weir.listeners[6] ?? -1, target)).toEqual(target);
          expect(await weir.interceptor.verify(signal)).toEqual([]);
        });

        test('a refused update changes nothing', async () => {
          enterFreshNamespace({ uplink: true });
          await using weir = instance(variant);
          await weir.start(weir.input([WEB]));
          const before = saved(variant) + shell(routing);
          const path = `/${'long'.repeat(128)}`;
          const bad = { owners: { only: [{ kind: 'cgroup', path } as const], except: [] }, generation: 2 };
          const input = weir.input([{ prefixes: ['9.0.0.0/8'] }], {}, bad);
          await expect(weir.interceptor.update(input, signal)).rejects.toThrow(/control group/);
          expect(saved(variant) + shell(routing)).toBe(before);
          expect(await weir.interceptor.verify(signal)).toEqual([]);
        });

        test('chains that are there already are neither filled nor removed', async () => {
          enterFreshNamespace();
          shell(
            `iptables-${variant} -t mangle -N weir/default/pick; iptables-${variant} -t mangle -A weir/default/pick -j ACCEPT`,
          );
          const before = saved(variant);
          await using weir = instance(variant);
          await expect(weir.start(weir.input([WEB]))).rejects.toThrow(/exist already .*weir cleanup/);
          await weir.interceptor.stop();
          expect(saved(variant)).toBe(before);
          expect(weir.host.made).toEqual([]);
        });

        test('foreign rules, chains and policies stay while it runs and after, and tables that others begin to use too', async () => {
          enterFreshNamespace({ uplink: true });
          const command = `iptables-${variant}`;
          shell(`${command} -P FORWARD DROP; ${command} -N mine; ${command} -A OUTPUT -j mine; ${command} -A mine -p udp -j RETURN
          ${command} -t mangle -A OUTPUT -p tcp --dport 9 -j ACCEPT; ip6${command.slice(2)} -t nat -A OUTPUT -p tcp --dport 9 -j ACCEPT`);
          const before = state();
          const mine = saved(variant).split('\n');
          await using weir = instance(variant);
          await weir.start(weir.input([WEB]));
          const lines = new Set(saved(variant).split('\n'));
          expect(mine.filter((line) => !lines.has(line))).toEqual([]);
          expect(arrival(weir.listeners[4], V4)).toEqual(V4);
          await weir.interceptor.stop();
          expect(state()).toBe(before);
          await weir.start(weir.input([WEB]));
          shell(`ip6${command.slice(2)} -t mangle -A OUTPUT -p tcp --dport 7 -j ACCEPT`);
          await weir.interceptor.stop();
          expect(saved(variant)).toContain('-A OUTPUT -p tcp -m tcp --dport 7 -j ACCEPT');
        });

        test('cleanUp removes what is left, says what, and touches nothing else', async () => {
          enterFreshNamespace({ uplink: true });
          shell(`iptables-${variant} -t mangle -N weir/other/out; iptables-${variant} -t mangle -A OUTPUT -j weir/other/out
          iptables-${variant} -t mangle -N default; ip rule add pref 9700 lookup 22600 protocol 87
          ip route add 9.9.9.0/24 dev lo table 22600 proto 87; ip rule add pref 9501 lookup 77`);
          const before = state();
          const context = { owner: 'default', numbers: TEST_NUMBERS, log: SILENT };
          const left = instance(variant);
          await left.start(left.input([WEB]));
          const removed = await tproxyIptables.cleanUp(context);
          expect(removed.toSorted()).toEqual([
            'ip -6 route table 22497 (1 routes)',
            'ip -6 route table 22498 (2 routes)',
            expect.stringMatching(/^ip -6 rule 32800 /) as string,
            expect.stringMatching(/^ip -6 rule 9500 /) as string,
            'ip route table 22497 (1 routes)',
            'ip route table 22498 (2 routes)',
            expect.stringMatching(/^ip rule 32800 /) as string,
            expect.stringMatching(/^ip rule 9500 /) as string,
            `ip6tables chains weir/default/* in filter (${variant})`,
            `ip6tables chains weir/default/* in mangle (${variant})`,
            `iptables chains weir/default/* in filter (${variant})`,
            `iptables chains weir/default/* in mangle (${variant})`,
          ]);
          expect(state()).toBe(before);
          expect(await tproxyIptables.cleanUp(context)).toEqual([]);
          expect(attempt(V4)).toBe('pending');
        });
      });
    }
  },
);
