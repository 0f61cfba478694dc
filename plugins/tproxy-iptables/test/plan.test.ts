import type { PlanInput } from '@weir/core';
import { compareWithGolden, planText, TEST_FACTS, testPlanInput, testPoint } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import { contentOf } from '../src/chains.ts';
import { tproxyIptables } from '../src/index.ts';
import { changeText } from '../src/restore-text.ts';
import { CASES } from './cases.ts';

const WEB = { prefixes: ['203.0.113.0/24'], ports: [[443, 443]] as const };
const plan = (input: PlanInput) => tproxyIptables.plan(input, { variant: 'auto' });
const text = (input: PlanInput) =>
  plan(input)
    .steps.map((step) => step.text)
    .join('');

describe('the plan', () => {
  for (const { name, input } of CASES) {
    test(`golden: ${name}`, () => {
      const golden = compareWithGolden(
        new URL(`golden/${name}.txt`, import.meta.url),
        planText(tproxyIptables, input, { variant: 'auto' }),
      );
      expect(golden.actual).toBe(golden.expected);
    });
  }

  test('the same input gives the same plan', () => {
    for (const { input } of CASES) expect(plan(input)).toEqual(plan(input));
  });

  test('without IPv6 nothing of it is planned', () => {
    const input = testPlanInput([{ prefixes: ['203.0.113.0/24', '2001:db8:7::/48'] }], {
      facts: { ...TEST_FACTS, ipv6: false },
    });
    expect(plan(input).steps.map((step) => step.tool)).toEqual(['ip', 'iptables-restore']);
    expect(text(input)).not.toMatch(/::/);
  });

  test('a protocol without a capture point is not steered, and one with a point is', () => {
    const udp = testPlanInput([{ ...WEB, protocols: ['udp'] }]);
    expect(text(udp)).not.toContain('203.0.113');
    const both = text({ ...udp, points: [testPoint(4, 4242), testPoint(4, 4243, -1, 'udp')] });
    expect(both).toContain('-d 203.0.113.0/24 -p udp -m udp --dport 443');
    expect(both).toContain('-p udp -m connmark --mark 0x10000000/0x3f000000 -j TPROXY --on-port 4243');
    expect(both).toMatch(/-p udp -m conntrack --ctstate NEW -m connmark --mark 0x0\/0x3f000000 -j weir\/default\/pick/);
  });

  test('only points that were opened are delivered to', () => {
    const input = testPlanInput([WEB], { points: [testPoint(4, 4242)] });
    expect(text(input)).toContain('--on-port 4242 --on-ip 127.0.0.1');
    expect(plan(input).steps.map((step) => step.tool)).not.toContain('ip6tables-restore');
  });

  test('an owner that cannot be a name is refused', () => {
    expect(() => plan(testPlanInput([WEB], { owner: 'a -j ACCEPT' }))).toThrow(/cannot be part of the name/);
  });

  test('control groups are named by path, and one that is not there is left out', () => {
    const [here, gone] = ['/system.slice/web.service', '/user'];
    const owners = { only: [here, gone].map((path) => ({ kind: 'cgroup' as const, path })), except: [] };
    const textOf = (more: Partial<PlanInput>) => text(testPlanInput([WEB], more, { owners }));
    const first = '-A weir/default/pick -m cgroup --path "/system.slice/web.service" -g weir/default/chosen';
    expect(textOf({})).toContain(`${first}\n-A weir/default/pick -m cgroup --path "/user" -g weir/default/chosen\n`);
    const some = textOf({ facts: { ...TEST_FACTS, controlGroups: [{ path: here, id: '7' }] } });
    expect(some).toContain(first);
    expect(some).not.toContain('/user');
    // Nobody is in groups that are not there: nothing is captured, and not everything.
    const none = textOf({ facts: { ...TEST_FACTS, controlGroups: [] } });
    expect(none).not.toMatch(/cgroup|-[gj] weir\/default\/chosen/);
  });

  test('a group that came again under its path changes its chain, and no other', () => {
    const owners = { only: [{ kind: 'cgroup', path: '/web' } as const], except: [] };
    const content = (id: string) =>
      contentOf(
        testPlanInput([WEB], { facts: { ...TEST_FACTS, controlGroups: [{ path: '/web', id }] } }, { owners }),
        4,
      );
    expect(changeText(content('7'), content('7'))).toBe('');
    const change = changeText(content('7'), content('8'));
    expect(change.match(/^:\S+/gm)).toEqual([':weir/default/pick']);
    expect(change).toContain('-A weir/default/pick -m cgroup --path "/web" -g weir/default/chosen\n');
  });

  test('what iptables cannot say is refused', () => {
    const path = `/${'long'.repeat(128)}`;
    const cgroup = testPlanInput([WEB], {}, { owners: { only: [{ kind: 'cgroup', path }], except: [] } });
    expect(() => plan(cgroup)).toThrow(/too long for iptables/);
    const all = testPlanInput([WEB], {}, { scopes: { output: true, forward: { interfaces: ['eth+'] } } });
    expect(() => plan(all)).toThrow(/all whose names begin with eth\./);
  });

  test('no chain has a name that is too long, and no rule a comment that is', () => {
    for (const { input } of CASES) {
      for (const [, name = ''] of text(input).matchAll(/^:(\S+)/gm)) expect(name.length).toBeLessThanOrEqual(28);
      for (const [, comment = ''] of text(input).matchAll(/--comment (?:"((?:[^"\\]|\\.)*)"|\S+)/g)) {
        expect(Buffer.byteLength(comment.replaceAll(/\\(.)/g, '$1'))).toBeLessThanOrEqual(255);
      }
    }
  });

  test('every rule that a service has carries its name', () => {
    const names = ['web', 'web', 'db'];
    const services = names.map((name, i) => ({ prefixes: [`203.0.113.${i}/32`], ports: [[80, 80]] as const, name }));
    const claims = text(testPlanInput(services)).match(/-A .* -g weir\/default\/claim/g) ?? [];
    expect(claims).toEqual([
      expect.stringContaining('--comment canary '),
      expect.stringContaining('203.0.113.0/32 -p tcp -m tcp --dport 80 -m comment --comment web '),
      expect.stringContaining('203.0.113.1/32 -p tcp -m tcp --dport 80 -m comment --comment web '),
      expect.stringContaining('203.0.113.2/32 -p tcp -m tcp --dport 80 -m comment --comment db '),
      expect.stringContaining('--comment canary '),
    ]);
  });

  test('names of different owners never begin alike', () => {
    const owners = ['a', 'a-b', 'default', 'default2', 'a-long-owner-name', 'a-long-owner-name2', 'h'];
    const prefixes = owners.map((owner) => /^:(\S+\/)claim/m.exec(text(testPlanInput([], { owner })))?.[1] ?? '');
    expect(new Set(prefixes).size).toBe(owners.length);
    for (const a of prefixes) for (const b of prefixes) expect(a !== b && a.startsWith(b)).toBe(false);
  });
});

describe('options', () => {
  const validate = (value: unknown) => tproxyIptables.options['~standard'].validate(value);

  test('the variant may be chosen, and anything else is named', () => {
    expect(validate(undefined)).toEqual({ value: {} });
    expect(validate({})).toEqual({ value: {} });
    expect(validate({ variant: 'legacy' })).toEqual({ value: { variant: 'legacy' } });
    expect(validate({ variant: 'new' })).toMatchObject({ issues: [{ path: ['variant'] }] });
    expect(validate({ varient: 'nft' })).toMatchObject({ issues: [{ path: ['varient'] }] });
    expect(validate([1])).toHaveProperty('issues');
    expect(validate('nft')).toHaveProperty('issues');
  });
});
