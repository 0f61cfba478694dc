import type { PlanInput } from '@weir/core';
import { compareWithGolden, planText, TEST_FACTS, testPlanInput, testPoint, TPROXY_PLANS } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import { nft } from '../src/index.ts';

const WEB = { prefixes: ['203.0.113.0/24'], ports: [[443, 443]] as const };

describe('the plan', () => {
  for (const { name, input } of TPROXY_PLANS) {
    test(`golden: ${name}`, () => {
      const golden = compareWithGolden(new URL(`golden/${name}.txt`, import.meta.url), planText(nft, input, {}));
      expect(golden.actual).toBe(golden.expected);
    });
  }

  test('the same input gives the same plan', () => {
    for (const { input } of TPROXY_PLANS) expect(nft.plan(input, {})).toEqual(nft.plan(input, {}));
  });

  test('without IPv6 nothing of it is planned', () => {
    const input = testPlanInput([{ prefixes: ['203.0.113.0/24', '2001:db8:7::/48'] }], {
      facts: { ...TEST_FACTS, ipv6: false },
    });
    const { steps } = nft.plan(input, {});
    expect(steps.map((step) => step.tool)).toEqual(['ip', 'nft']);
    expect(steps.map((step) => step.text).join('')).not.toMatch(/ip6|::/);
  });

  test('a protocol without a capture point is not steered', () => {
    const { steps } = nft.plan(testPlanInput([{ ...WEB, protocols: ['udp'] }]), {});
    expect(steps.map((step) => step.text).join('')).not.toContain('203.0.113');
  });

  test('sets of more than 5,000 elements are divided', () => {
    const prefixes = Array.from({ length: 12_000 }, (_, i) => `20.${i >> 8}.${i & 255}.${i % 7}/32`);
    const text = nft.plan(testPlanInput([{ prefixes, ports: [[80, 80]] }]), {}).steps.at(-1)?.text ?? '';
    expect(text.match(/set any4_g1_\d+/g)).toEqual(['set any4_g1_0', 'set any4_g1_1', 'set any4_g1_2']);
    expect(text.match(/@any4_g1_\d+ goto claim/g)).toHaveLength(3);
  });

  test('an owner that cannot be a name is refused', () => {
    const bad = testPlanInput([WEB], { owner: 'a"; flush ruleset; "' });
    expect(() => nft.plan(bad, {})).toThrow(/cannot be part of the name/);
  });

  test('control groups are named by path and level, and one that is not there is left out', () => {
    const [here, gone] = ['/system.slice/web.service', '/user.slice'];
    const owners = { only: [here, gone].map((path) => ({ kind: 'cgroup' as const, path })), except: [] };
    const textOf = (more: Partial<PlanInput>) =>
      nft.plan(testPlanInput([WEB], more, { owners }), {}).steps.at(-1)?.text ?? '';
    const first = 'socket cgroupv2 level 2 "system.slice/web.service" goto destination';
    const second = 'socket cgroupv2 level 1 "user.slice" goto destination';
    expect(textOf({})).toContain(`${first}\n\t\t${second}\n`);
    const some = textOf({ facts: { ...TEST_FACTS, controlGroups: [{ path: here, id: '7' }] } });
    expect(some).toContain(first);
    expect(some).not.toContain('user.slice');
    // Nobody is in groups that are not there: nothing is captured, and not everything.
    const none = textOf({ facts: { ...TEST_FACTS, controlGroups: [] } });
    expect(none).not.toMatch(/cgroup|goto destination/);
  });

  test('only points that were opened are delivered to', () => {
    const text = nft.plan(testPlanInput([WEB], { points: [testPoint(4, 4242)] }), {}).steps.at(-1)?.text ?? '';
    expect(text).toContain('tproxy ip to 127.0.0.1:4242');
    expect(text).not.toContain('tproxy ip6');
  });
});

describe('options', () => {
  const validate = (value: unknown) => nft.options['~standard'].validate(value);

  test('there are none, and an unknown one is named', () => {
    expect(validate(undefined)).toEqual({ value: {} });
    expect(validate({})).toEqual({ value: {} });
    expect(validate({ tabel: 1 })).toMatchObject({ issues: [{ path: ['tabel'] }] });
    expect(validate([1])).toHaveProperty('issues');
    expect(validate('x')).toHaveProperty('issues');
  });
});
