/** Inputs with a golden file each; the kernel tests feed the same ones to the real tools. */
import type { PlanInput } from '@weir/core';
import { TEST_FACTS, TEST_NUMBERS, testPlanInput } from '@weir/core/testing';
import { tproxyIptables } from '../src/index.ts';

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

export const CASES: ReadonlyArray<{ readonly name: string; readonly input: PlanInput }> = [
  {
    name: 'prefixes-of-both-families',
    input: testPlanInput([
      {
        prefixes: ['203.0.113.0/24', '2001:db8:7::/48'],
        ports: [
          [443, 443],
          [8000, 8100],
        ],
        name: 'web',
      },
    ]),
  },
  {
    name: 'everything-but-exclusions',
    input: testPlanInput(
      [{ prefixes: ['0.0.0.0/0', '::/0'], name: 'all of it' }],
      { onCrash: 'closed' },
      { excludes: ['192.168.0.0/16', '2001:db8:ffff::/48'] },
    ),
  },
  {
    name: 'sources-and-nested-prefixes',
    input: testPlanInput([
      { prefixes: ['198.51.100.0/24'], ports: [[80, 80]], sources: ['10.0.0.0/8', '172.16.0.0/12'] },
      { prefixes: ['198.51.100.64/26'], ports: [[80, 90]] },
      { prefixes: ['198.51.100.0/24'], ports: [[0, 79]], sources: ['10.0.0.0/8'] },
      { prefixes: ['2001:db8:9::/64'], ports: [[22, 22]], sources: ['2001:db8:1::/64'] },
    ]),
  },
  {
    name: 'own-and-loopback-addresses',
    input: testPlanInput([{ prefixes: ['127.0.0.53/32', '10.1.0.2/32', '::1/128'], ports: [[53, 53]] }]),
  },
  {
    name: 'owners-of-sockets',
    input: testPlanInput(
      [{ prefixes: ['203.0.113.0/24'] }],
      {},
      {
        owners: {
          only: [
            { kind: 'uid', first: 1000, last: 1999 },
            { kind: 'gid', first: 33, last: 33 },
          ],
          except: [{ kind: 'uid', first: 1042, last: 1042 }],
        },
      },
    ),
  },
  {
    name: 'a-long-owner-in-another-slot-without-ipv6',
    input: testPlanInput([{ prefixes: ['203.0.113.0/24'] }], {
      owner: 'an-owner-with-a-long-nam',
      numbers: {
        ...TEST_NUMBERS,
        slot: 1,
        captureMark: 0x11000000,
        table: 22513,
        preference: 9516,
        preferenceBehindMain: 32801,
      },
      facts: { netns: '1', ipv6: false, ownAddresses: ['127.0.0.1/32'], connectedNetworks: [] },
    }),
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
  { name: 'nothing-but-canaries', input: testPlanInput([], { facts: TEST_FACTS }) },
];

/** A plan as one text, each step under the tool that takes it. */
export function rendered(input: PlanInput): string {
  return tproxyIptables
    .plan(input, { variant: 'auto' })
    .steps.map(({ tool, text }) => `# ${tool}\n${text}`)
    .join('\n');
}
