import type { BoundPoint, PlanInput } from '@weir/core';
import { compareWithGolden, TEST_FACTS, TEST_NUMBERS, testPlanInput, type TestService } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import { processorMask } from '../src/device.ts';
import { tun } from '../src/index.ts';
import type { TunOptions } from '../src/options.ts';

function points(options: TunOptions = {}, facts = TEST_FACTS): readonly BoundPoint[] {
  return tun
    .points(facts, [], { numbers: TEST_NUMBERS, options })
    .map((spec, index) => ({ ...spec, port: 15_001 + index, fds: [] }));
}

function input(services: readonly TestService[], more: Partial<PlanInput> = {}): PlanInput {
  return testPlanInput(services, { points: points({}, more.facts), ...more });
}

function text(of: PlanInput, options: TunOptions = {}): string {
  return tun
    .plan(of, options as never)
    .steps.map(({ tool, text: lines }) => `# ${tool}\n${lines}`)
    .join('\n');
}

const WEB: TestService = { prefixes: ['203.0.113.0/24', '2001:db8:7::/48'], ports: [[443, 443]] };

const CASES: Readonly<Record<string, PlanInput>> = {
  'prefixes of both families': input([WEB]),
  'ports and protocols': input([
    WEB,
    { prefixes: ['198.51.100.0/24'], ports: [[8000, 8100]], protocols: ['tcp', 'udp'] },
    { prefixes: ['198.51.100.128/25'], ports: [[8000, 8100]], protocols: ['udp'] },
  ]),
  'everything but exclusions': testPlanInput(
    [{ prefixes: ['0.0.0.0/0', '::/0'] }],
    { points: points() },
    { excludes: ['192.168.0.0/16', 'fd00::/8'] },
  ),
  'forwarded with sources': testPlanInput(
    [
      WEB,
      { prefixes: ['192.0.2.128/25'], ports: [[443, 443]], sources: ['10.2.0.0/24', '10.4.0.0/24'] },
      { prefixes: ['198.51.100.0/24'], ports: [[65_000, 65_535]], protocols: ['udp'] },
    ],
    { points: points() },
    { scopes: { output: true, forward: { interfaces: ['eth1', 'eth2'] } } },
  ),
  'blocked when it dies': input([WEB], { onCrash: 'closed' }),
};

describe('the plan', () => {
  for (const [name, of] of Object.entries(CASES)) {
    test(`golden: ${name}`, () => {
      const golden = compareWithGolden(new URL(`golden/${name.replaceAll(' ', '-')}.txt`, import.meta.url), text(of));
      expect(golden.actual).toBe(golden.expected);
      expect(text(of)).toBe(text({ ...of }));
    });
  }

  test('without IPv6 nothing of it is planned', () => {
    const planned = text(input([WEB], { facts: { ...TEST_FACTS, ipv6: false } }));
    expect(planned).not.toMatch(/ip -6|::/);
  });

  test('another owner has another device and other addresses', () => {
    const numbers = { ...TEST_NUMBERS, slot: 3 };
    const planned = text(input([WEB], { numbers }));
    expect(planned).toMatch(/weirtun3/);
    expect(planned).toMatch(/169\.254\.84\.4\/32/);
    expect(planned).toMatch(/169\.254\.85\.48\/28/);
    expect(planned).not.toMatch(/weirtun0|169\.254\.85\.0/);
  });

  test('addresses of this host are refused with the mechanisms that can', () => {
    expect(() => text(input([{ prefixes: ['10.1.0.2/32'] }]))).toThrow(/10\.1\.0\.2\/32.*nft or tproxy-iptables/);
    expect(() => text(input([{ prefixes: ['127.0.0.53/32'] }]))).toThrow(/127\.0\.0\.53/);
  });

  test('control groups are refused', () => {
    const owners = { owners: { only: [{ kind: 'cgroup' as const, path: '/x' }], except: [] } };
    expect(() => text(testPlanInput([WEB], { points: points() }, owners))).toThrow(/interceptor tun cannot choose/);
  });
});

describe('options', () => {
  const issues = (value: unknown) => {
    const result = tun.options['~standard'].validate(value);
    if (result instanceof Promise) throw new Error('options are validated at once');
    return (result.issues ?? []).map(({ message, path }) => `${path?.map(String).join('.') ?? ''}: ${message}`);
  };

  test('all that there are', () => {
    const all: TunOptions = {
      mtu: 1500,
      'nat-addresses': 4,
      offload: 'off',
      'source-ipv4': '192.168.250.1',
      'source-ipv6': 'fd00:9::1',
      'nat-ipv4': '192.168.251.16',
      'nat-ipv6': 'fd00:9:1::20',
    };
    expect(issues(all)).toEqual([]);
    expect(issues(undefined)).toEqual([]);
  });

  test.each([
    [{ mtu: 1279 }, /mtu: .*1280 to 65535/],
    [{ mtu: 1500.5 }, /mtu/],
    [{ 'nat-addresses': 17 }, /1 to 16/],
    [{ offload: 'maybe' }, /auto or off/],
    [{ 'source-ipv4': '::1' }, /IPv4 address/],
    [{ 'source-ipv6': 'ff02::1' }, /multicast/],
    [{ 'nat-ipv4': '192.168.251.17' }, /multiple of 16/],
    [{ nonsense: 1 }, /nonsense: unknown key; there are mtu/],
    [[], /mapping/],
  ])('%j is refused', (value, message) => {
    expect(issues(value).join('\n')).toMatch(message);
  });
});

test('a mask of processors has words of 32', () => {
  expect([1, 2, 31, 32, 33, 72].map(processorMask)).toEqual([
    '1',
    '3',
    '7fffffff',
    'ffffffff',
    '1,ffffffff',
    'ff,ffffffff,ffffffff',
  ]);
});
