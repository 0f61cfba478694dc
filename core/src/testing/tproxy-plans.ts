/**
 * Plan inputs that every TPROXY mechanism has golden files for; kernel tests feed the same ones to the real tools. And
 * plans as text.
 */
import type { InterceptorDefinition, PlanInput } from '../api/interceptor.ts';
import { numbersOf } from '../host/numbers.ts';
import { TEST_FACTS, testPlanInput, testPoint } from './plan-input.ts';

export interface NamedPlanInput {
  /** Also of the golden file, without its ending. */
  readonly name: string;
  readonly input: PlanInput;
}

const BOTH_PROTOCOLS = [
  testPoint(4, 15001),
  testPoint(6, 15001),
  testPoint(4, 15002, -1, 'udp'),
  testPoint(6, 15002, -1, 'udp'),
];

export const TPROXY_PLANS: readonly NamedPlanInput[] = [
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
    name: 'both-protocols',
    input: testPlanInput(
      [
        { prefixes: ['203.0.113.0/24', '2001:db8:7::/48'], ports: [[443, 443]], protocols: ['tcp', 'udp'] },
        { prefixes: ['198.51.100.53/32'], ports: [[53, 53]], protocols: ['udp'], name: 'names' },
      ],
      { points: BOTH_PROTOCOLS },
    ),
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
    name: 'local-and-forwarded',
    input: testPlanInput(
      [{ prefixes: ['203.0.113.0/24', '2001:db8:7::/48'], ports: [[443, 443]], protocols: ['tcp', 'udp'] }],
      { points: BOTH_PROTOCOLS },
      { scopes: { output: true, forward: { interfaces: ['eth1', 'br-lan.7'] } } },
    ),
  },
  {
    name: 'forwarded-alone',
    input: testPlanInput(
      [{ prefixes: ['203.0.113.0/24'] }],
      {},
      { canaries: [], scopes: { output: false, forward: { interfaces: ['eth1'] } } },
    ),
  },
  {
    name: 'owners-of-sockets-and-forwarded',
    input: testPlanInput(
      [{ prefixes: ['203.0.113.0/24'] }],
      {},
      {
        scopes: { output: true, forward: { interfaces: ['eth1'] } },
        owners: { only: [], except: [{ kind: 'uid', first: 1000, last: 1000 }] },
      },
    ),
  },
  {
    name: 'another-slot-without-ipv6',
    input: testPlanInput([{ prefixes: ['203.0.113.0/24'] }], {
      owner: 'second',
      numbers: numbersOf(1),
      facts: { netns: '1', ipv6: false, ownAddresses: ['127.0.0.1/32'], connectedNetworks: [] },
    }),
  },
  { name: 'nothing-but-canaries', input: testPlanInput([], { facts: TEST_FACTS }) },
];

/** A plan as one text, each step under the tool that takes it. */
export function planText<O>(definition: InterceptorDefinition<O>, input: PlanInput, options: O): string {
  const { steps } = definition.plan(input, options);
  return steps.map(({ tool, text }) => `# ${tool}\n${text}`).join('\n');
}
