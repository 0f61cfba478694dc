/** The points that proxy asks for and the plan that it prints, without any host. */
import { parsePrefix, type PlanInput, type ServiceListener } from '@weir/core';
import { expect, test } from 'vitest';
import { proxy } from '../src/index.ts';

const FACTS = { netns: '1', ipv6: true, ownAddresses: [], connectedNetworks: [] };
const LISTENERS: readonly ServiceListener[] = [
  {
    service: 16,
    name: 'db',
    listen: { address: '127.0.0.1', port: 15432 },
    protocols: ['tcp'],
    sources: [],
    target: { host: '10.0.0.5', port: 6432 },
  },
  {
    service: 17,
    name: 'web',
    listen: { address: '::', port: 8443 },
    protocols: ['tcp'],
    sources: [parsePrefix('2001:db8::/32')],
    target: { host: '2001:db8::7', port: 443 },
  },
  {
    service: 18,
    name: 'gone',
    listen: { address: '127.0.0.1', port: 9 },
    protocols: ['tcp'],
    sources: [],
    target: { host: '', port: 0 },
  },
];

function input(): PlanInput {
  const points = proxy.points(FACTS, LISTENERS).map((point) => ({ ...point, port: point.bind.port, fds: [] }));
  return {
    owner: 'default',
    set: { generation: 1, rows: [], scopes: { output: true }, owners: { only: [], except: [] }, canaries: [] },
    points,
    numbers: {
      slot: 0,
      mask: 0,
      captureMark: 0,
      bypassMark: 0,
      table: 0,
      preference: 0,
      preferenceBehindMain: 0,
      protocolId: 0,
    },
    facts: FACTS,
    onCrash: 'open',
    serviceNames: new Map(),
  };
}

test('asks for one ordinary socket per service, of the family of its address', () => {
  expect(proxy.points(FACTS, LISTENERS)).toEqual([
    {
      id: 'db',
      network: { family: 4, protocol: 'tcp' },
      bind: { address: '127.0.0.1', port: 15432 },
      transparent: false,
      original: { via: 'fixed', service: 16, target: { host: '10.0.0.5', port: 6432 } },
    },
    expect.objectContaining({
      network: { family: 6, protocol: 'tcp' },
      original: expect.objectContaining({ sources: [parsePrefix('2001:db8::/32')] }),
    }),
    expect.objectContaining({ id: 'gone' }),
  ]);
  expect(proxy.points(FACTS)).toEqual([]);
});

test('plans listeners and nothing else', () => {
  expect(proxy.plan(input(), {})).toEqual({
    interceptor: 'proxy',
    steps: [
      {
        tool: 'listen',
        text: [
          'tcp 127.0.0.1:15432 # db -> 10.0.0.5:6432',
          'tcp [::]:8443 # web -> [2001:db8::7]:443, only from 2001:db8::/32',
          'tcp 127.0.0.1:9 # gone',
          '',
        ].join('\n'),
      },
    ],
  });
});

test('has a socket for each protocol of a service', () => {
  const [first] = LISTENERS;
  const listeners = [{ ...(first as ServiceListener), protocols: ['tcp', 'udp'] as const }];
  const { name } = first as ServiceListener;
  expect(proxy.points(FACTS, listeners).map(({ id, network }) => [id, network.protocol])).toEqual([
    [name, 'tcp'],
    [`${name}/udp`, 'udp'],
  ]);
});

test('takes no options', async () => {
  const { validate } = proxy.options['~standard'];
  expect(await validate(undefined)).toEqual({ value: {} });
  expect(await validate({})).toEqual({ value: {} });
  expect(await validate({ port: 1 })).toMatchObject({ issues: [{ path: ['port'] }] });
  expect(await validate([])).toMatchObject({ issues: [{ message: expect.stringMatching(/mapping/) }] });
});
