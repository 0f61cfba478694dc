import { UnsupportedError } from '@weir/core';
import { compareWithGolden, TEST_FACTS, testPlanInput, testPoint } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import { ebpfSklookup } from '../src/index.ts';
import { CASES, rendered } from './cases.ts';

const WEB = { prefixes: ['203.0.113.0/24'], ports: [[443, 443]] as const };

describe('the plan', () => {
  for (const { name, input } of CASES) {
    test(`golden: ${name}`, () => {
      const golden = compareWithGolden(new URL(`golden/${name}.txt`, import.meta.url), rendered(input));
      expect(golden.actual).toBe(golden.expected);
    });
  }

  test('the same input gives the same plan', () => {
    for (const { input } of CASES) expect(ebpfSklookup.plan(input, {})).toEqual(ebpfSklookup.plan(input, {}));
  });

  test('without IPv6 nothing of it is planned', () => {
    const input = testPlanInput([{ prefixes: ['203.0.113.0/24', '2001:db8:7::/48'] }], {
      facts: { ...TEST_FACTS, ipv6: false },
    });
    const { steps } = ebpfSklookup.plan(input, {});
    expect(steps.map((step) => step.tool)).toEqual(['bpf', 'ip']);
    expect(steps.map((step) => step.text).join('')).not.toMatch(/::/);
  });

  test('source addresses of the options take the place of those of the slot', () => {
    const options = { 'source-ipv4': '10.255.0.1', 'source-ipv6': 'fd00:5::1' };
    const text = ebpfSklookup
      .plan(testPlanInput([WEB]), options)
      .steps.map((step) => step.text)
      .join('');
    expect(text).toContain('address add 10.255.0.1/32');
    expect(text).toContain('src fd00:5::1');
    expect(text).not.toMatch(/169\.254\.84|fd64:7765:6972:ffff/);
  });

  test('a protocol without a capture point is not steered', () => {
    const { steps } = ebpfSklookup.plan(testPlanInput([{ ...WEB, protocols: ['udp'] }]), {});
    expect(steps.map((step) => step.text).join('')).not.toContain('203.0.113');
  });

  test('only points that were opened are delivered to', () => {
    const text = ebpfSklookup
      .plan(testPlanInput([WEB], { points: [testPoint(4, 4242)] }), {})
      .steps.map((each) => each.text)
      .join('');
    expect(text).toContain('sockets: tcp4 port 4242');
    expect(text).not.toContain('tcp6');
  });

  test('what the mechanism cannot do is refused by name', () => {
    const forward = { scopes: { output: true, forward: { interfaces: ['eth1'] } } };
    const named = testPlanInput([{ prefixes: ['127.0.0.53/32'] }], {}, forward);
    expect(() => ebpfSklookup.plan(named, {})).toThrow(UnsupportedError);
    expect(() => ebpfSklookup.plan(named, {})).toThrow(/others send to 127\.0\.0\.53\/32/);
    const owners = { only: [{ kind: 'uid', first: 1, last: 1 } as const], except: [] };
    const own = testPlanInput([{ prefixes: ['127.0.0.53/32'] }], {}, { owners });
    expect(() => ebpfSklookup.plan(own, {})).toThrow(/127\.0\.0\.53\/32, which is an address of this host/);
  });
});
