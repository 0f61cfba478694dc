import type { PlanInput } from '@weir/core';
import { compareWithGolden, tcpPoint, TEST_FACTS, testPlanInput } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import { tproxyIptables } from '../src/index.ts';
import { CASES, rendered } from './cases.ts';

const WEB = { prefixes: ['203.0.113.0/24'], ports: [[443, 443]] as const };
const plan = (input: PlanInput) => tproxyIptables.plan(input, { variant: 'auto' });
const text = (input: PlanInput) =>
  plan(input)
    .steps.map((step) => step.text)
    .join('');

describe('the plan', () => {
  for (const { name, input } of CASES) {
    test(`golden: ${name}`, () => {
      const golden = compareWithGolden(new URL(`golden/${name}.txt`, import.meta.url), rendered(input));
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
    const point = { ...tcpPoint(4, 4243), id: 'udp4', network: { family: 4, protocol: 'udp' } as const };
    const both = text({ ...udp, points: [tcpPoint(4, 4242), point] });
    expect(both).toContain('-d 203.0.113.0/24 -p udp -m udp --dport 443');
    expect(both).toContain('-p udp -m connmark --mark 0x10000000/0x3f000000 -j TPROXY --on-port 4243');
    expect(both).toMatch(/-p udp -m conntrack --ctstate NEW -m connmark --mark 0x0\/0x3f000000 -j weir\/default\/pick/);
  });

  test('only points that were opened are delivered to', () => {
    const input = testPlanInput([WEB], { points: [tcpPoint(4, 4242)] });
    expect(text(input)).toContain('--on-port 4242 --on-ip 127.0.0.1');
    expect(plan(input).steps.map((step) => step.tool)).not.toContain('ip6tables-restore');
  });

  test('an owner that cannot be a name is refused', () => {
    expect(() => plan(testPlanInput([WEB], { owner: 'a -j ACCEPT' }))).toThrow(/cannot be part of the name/);
  });

  test('control groups are refused by name', () => {
    const input = testPlanInput(
      [WEB],
      {},
      { owners: { only: [{ kind: 'cgroup', path: 'system.slice' }], except: [] } },
    );
    expect(() => plan(input)).toThrow(/control group/);
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
    expect(validate(undefined)).toEqual({ value: { variant: 'auto' } });
    expect(validate({})).toEqual({ value: { variant: 'auto' } });
    expect(validate({ variant: 'legacy' })).toEqual({ value: { variant: 'legacy' } });
    expect(validate({ variant: 'new' })).toMatchObject({ issues: [{ path: ['variant'] }] });
    expect(validate({ varient: 'nft' })).toMatchObject({ issues: [{ path: ['varient'] }] });
    expect(validate([1])).toHaveProperty('issues');
    expect(validate('nft')).toHaveProperty('issues');
  });
});
