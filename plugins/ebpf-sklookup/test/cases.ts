/** Inputs with a golden file each; the kernel tests feed the same ones to the real tools. */
import { TEST_FACTS, TEST_NUMBERS, testPlanInput, testPoint } from '@weir/core/testing';
import type { PlanInput } from '@weir/core';
import { ebpfSklookup } from '../src/index.ts';

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
      },
    ]),
  },
  {
    name: 'everything-but-exclusions',
    input: testPlanInput(
      [{ prefixes: ['0.0.0.0/0', '::/0'] }],
      { onCrash: 'closed' },
      { excludes: ['192.168.0.0/16', '2001:db8:ffff::/48'] },
    ),
  },
  {
    name: 'sources-and-nested-prefixes',
    input: testPlanInput([
      { prefixes: ['198.51.100.0/24'], ports: [[80, 80]], sources: ['169.254.0.0/16'] },
      { prefixes: ['198.51.100.64/26'], ports: [[80, 90]], sources: ['10.0.0.0/8'] },
      { prefixes: ['198.51.100.128/26', '198.51.100.224/27', '198.18.0.0/15'], ports: [[1, 65_535]] },
      { prefixes: ['2001:db8:9::/64'], ports: [[60_000, 65_535]] },
    ]),
  },
  {
    name: 'both-protocols',
    input: testPlanInput(
      [
        { prefixes: ['203.0.113.0/24', '2001:db8:7::/48'], ports: [[443, 443]] },
        { prefixes: ['198.51.100.0/24', '198.51.101.0/24'], ports: [[53, 53]], protocols: ['udp'] },
        { prefixes: ['192.0.2.128/25', '2001:db8:9::/64'], ports: [[8000, 65_535]], protocols: ['tcp', 'udp'] },
      ],
      {
        points: ([4, 6] as const).flatMap((family) => [testPoint(family, 15001), testPoint(family, 15002, -1, 'udp')]),
      },
    ),
  },
  {
    name: 'forwarded-with-sources',
    input: testPlanInput(
      [
        { prefixes: ['203.0.113.0/24', '2001:db8:7::/48'], ports: [[443, 443]] },
        { prefixes: ['192.0.2.128/25'], ports: [[443, 443]], sources: ['10.2.0.0/24', '10.4.0.0/24'] },
      ],
      {},
      { scopes: { output: true, forward: { interfaces: ['eth1', 'eth2'] } } },
    ),
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
          only: [{ kind: 'uid', first: 1000, last: 1999 }],
          except: [{ kind: 'uid', first: 1042, last: 1042 }],
        },
      },
    ),
  },
  {
    name: 'another-slot-without-ipv6',
    input: testPlanInput([{ prefixes: ['203.0.113.0/24'] }], {
      owner: 'second',
      points: [testPoint(4, 15001)],
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
  { name: 'nothing-but-canaries', input: testPlanInput([], { facts: TEST_FACTS }) },
];

/** A plan as one text, each step under the tool that takes it. */
export function rendered(input: PlanInput): string {
  return ebpfSklookup
    .plan(input, {})
    .steps.map(({ tool, text }) => `# ${tool}\n${text}`)
    .join('\n');
}
