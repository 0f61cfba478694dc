/** Inputs with a golden file each; the kernel tests feed the same ones to the real tools. */
import type { PlanInput } from '@weir/core';
import { type NamedPlanInput, testPlanInput, TPROXY_PLANS } from '@weir/core/testing';

/** Enough prefixes, ports and sources that the tree has several levels, in each direction it can grow. */
function forest(): PlanInput {
  return testPlanInput([
    ...Array.from({ length: 40 }, (_, i) => ({
      prefixes: [`20.${i >> 3}.${(i & 7) * 16}.0/24`],
      ports: [[80 + (i % 3), 80 + (i % 3)]] as const,
      name: `web-${i}`,
    })),
    ...Array.from({ length: 40 }, (_, i) => ({
      prefixes: ['198.51.100.0/24'],
      ports: [[1000 * (i + 1), 1000 * (i + 1) + 9]] as const,
      name: `port-${i}`,
    })),
    { prefixes: ['20.0.0.0/8'], ports: [[22, 22]] as const, name: 'wide' },
  ]);
}

export const CASES: readonly NamedPlanInput[] = [
  ...TPROXY_PLANS,
  {
    name: 'a-long-owner',
    input: testPlanInput([{ prefixes: ['203.0.113.0/24'] }], { owner: 'an-owner-with-a-long-nam' }),
  },
  {
    name: 'awkward-names',
    input: testPlanInput([
      { prefixes: ['203.0.113.1/32'], name: `it's "quoted" \\ and -j ACCEPT` },
      { prefixes: ['203.0.113.2/32'], name: 'two\nlines\tand a tab' },
      { prefixes: ['203.0.113.3/32'], name: 'Größe ☃' },
      { prefixes: ['203.0.113.4/32'], name: '☃'.repeat(100) },
      { prefixes: ['203.0.113.5/32'], name: '' },
      { prefixes: ['203.0.113.6/32'], name: '-A OUTPUT -j weir/default/out' },
    ]),
  },
  { name: 'a-tree-of-chains', input: forest() },
];
