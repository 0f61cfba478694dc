/** One example for each sentence about precedence in the documentation. */
import { describe, expect, test } from 'vitest';
import { CANARY_SERVICE, NAMES_SERVICE } from '../../src/api/capture.ts';
import type { ServiceConfiguration } from '../../src/config/model.ts';
import {
  type CapturedService,
  decide,
  explain,
  formatPrefix,
  parsePrefix,
  protocolsOfNames,
  STATIC_EXCLUSIONS,
} from '../../src/capture/index.ts';
import { compile, flow, service } from './sets.ts';

const net = '198.51.100.0/24';
const host = '198.51.100.7';
const FIRST = 16;
const SECOND = 17;

describe('precedence', () => {
  test('a service configuration is what the compiler takes', () => {
    const configured: ServiceConfiguration = { name: 'web', dialers: ['direct'], ...service({ prefixes: [net] }) };
    const captured: CapturedService = configured;
    expect(decide(compile({ services: [captured] }), flow(host, 80))).toBe(FIRST);
  });

  test('the longest prefix decides, whatever stands first and however narrow the ports are', () => {
    const set = compile({
      services: [service({ prefixes: ['198.51.0.0/16'], ports: [443] }), service({ prefixes: [net] })],
    });
    expect(decide(set, flow(host, 443))).toBe(SECOND);
    expect(decide(set, flow('198.51.99.1', 443))).toBe(FIRST);
    expect(decide(set, flow('198.52.0.1', 443))).toBe('none');
  });

  test('an entry whose ports do not fit does not match, and the look-up goes on to shorter prefixes', () => {
    const set = compile({
      services: [
        service({ prefixes: [net], ports: [443] }),
        service({ prefixes: ['0.0.0.0/0'], ports: [[1, 1023]], protocols: ['tcp', 'udp'] }),
      ],
    });
    expect(decide(set, flow(host, 443))).toBe(FIRST);
    expect(decide(set, flow(host, 80))).toBe(SECOND);
    expect(decide(set, flow(host, 443, 'udp'))).toBe(SECOND);
    expect(decide(set, flow(host, 8080))).toBe('none');
  });

  test('an entry whose sources do not fit does not match, and the look-up goes on to shorter prefixes', () => {
    const set = compile({
      services: [
        service({ prefixes: [net], sources: ['10.0.0.0/8'] }),
        service({ prefixes: ['198.51.0.0/16'], sources: ['10.0.0.0/8', '172.16.0.0/12'] }),
      ],
    });
    expect(decide(set, flow(host, 80, 'tcp', '10.9.9.9'))).toBe(FIRST);
    expect(decide(set, flow(host, 80, 'tcp', '172.16.0.1'))).toBe(SECOND);
    expect(decide(set, flow(host, 80, 'tcp', '192.0.2.9'))).toBe('none');
  });

  test('on one prefix narrower ports win', () => {
    const set = compile({
      services: [
        service({ prefixes: [net] }),
        service({ prefixes: [net], ports: [[8000, 8100]] }),
        service({ prefixes: [net], ports: [8080] }),
      ],
    });
    expect([80, 8000, 8080, 8100, 8101].map((port) => decide(set, flow(host, port)))).toEqual([16, 17, 18, 17, 16]);
  });

  test('each range of a service is as narrow as it is itself', () => {
    const set = compile({
      services: [
        service({ prefixes: [net], ports: [443, [8000, 9000]] }),
        service({ prefixes: [net], ports: [[440, 450], 8500] }),
      ],
    });
    expect([443, 444, 8500, 8501].map((port) => decide(set, flow(host, port)))).toEqual([16, 17, 17, 16]);
  });

  test('with equal ports, one protocol wins over both', () => {
    const set = compile({
      services: [
        service({ prefixes: [net], ports: [53], protocols: ['tcp', 'udp'] }),
        service({ prefixes: [net], ports: [53], protocols: ['udp'] }),
      ],
    });
    expect(decide(set, flow(host, 53, 'udp'))).toBe(SECOND);
    expect(decide(set, flow(host, 53, 'tcp'))).toBe(FIRST);
  });

  test('then the more specific source wins, and any source comes last', () => {
    const set = compile({
      services: [
        service({ prefixes: [net] }),
        service({ prefixes: [net], sources: ['10.0.0.0/8', '172.16.0.0/24'] }),
        service({ prefixes: [net], sources: ['10.1.0.0/16', '172.16.0.0/16'] }),
      ],
    });
    const from = (source: string) => decide(set, flow(host, 80, 'tcp', source));
    expect(['10.1.0.1', '10.2.0.1', '172.16.0.1', '172.16.1.1', '192.0.2.1'].map(from)).toEqual([18, 17, 17, 18, 16]);
  });

  test('narrower ports win over more specific sources', () => {
    const set = compile({
      services: [service({ prefixes: [net], sources: ['10.0.0.1'] }), service({ prefixes: [net], ports: [80] })],
    });
    expect(decide(set, flow(host, 80))).toBe(SECOND);
    expect(decide(set, flow(host, 81))).toBe(FIRST);
  });

  test('sources of the other family allow nothing, and a whole family is any source', () => {
    const set = compile({
      services: [
        service({ prefixes: [net, '2001:db8::/32'], sources: ['10.0.0.0/8'] }),
        service({ prefixes: ['203.0.113.0/24'], sources: ['0.0.0.0/0'] }),
        service({ prefixes: ['203.0.113.0/24'] }),
      ],
    });
    expect(decide(set, flow(host, 80))).toBe(FIRST);
    expect(decide(set, flow('2001:db8::1', 80))).toBe('none');
    expect(decide(set, flow('203.0.113.1', 80))).toBe(SECOND);
  });

  test('a user exclusion wins over every service on the same prefix, and loses to a longer one', () => {
    const set = compile({
      services: [service({ prefixes: [net], ports: [443], protocols: ['tcp'] }), service({ prefixes: [host] })],
      exclude: [net],
    });
    expect(decide(set, flow('198.51.100.8', 443))).toBe('spare');
    expect(decide(set, flow('198.51.100.8', 80, 'udp'))).toBe('spare');
    expect(decide(set, flow(host, 443))).toBe(SECOND);
    expect(decide(set, flow(host, 443, 'udp'))).toBe('spare');
  });

  test('a built-in exclusion loses to a service on the same prefix, for the ports of that service only', () => {
    const set = compile({
      services: [
        service({ prefixes: ['127.0.0.0/8'], ports: [[1, 65_535]] }),
        service({ prefixes: ['0.0.0.0/0'], protocols: ['tcp', 'udp'] }),
      ],
      builtins: ['127.0.0.0/8', '10.0.0.0/24'],
    });
    expect(decide(set, flow('127.0.0.1', 80))).toBe(FIRST);
    expect(decide(set, flow('127.0.0.1', 0))).toBe('spare');
    expect(decide(set, flow('127.0.0.1', 80, 'udp'))).toBe('spare');
    expect(decide(set, flow('10.0.0.9', 80))).toBe('spare');
    expect(decide(set, flow('10.0.1.9', 80))).toBe(SECOND);
  });

  test('a built-in exclusion takes the sources that a service on the same prefix leaves', () => {
    const set = compile({
      services: [service({ prefixes: ['10.0.0.0/24'], sources: ['10.0.0.1'] }), service({ prefixes: ['10.0.0.0/8'] })],
      builtins: ['10.0.0.0/24'],
    });
    expect(decide(set, flow('10.0.0.9', 80, 'tcp', '10.0.0.1'))).toBe(FIRST);
    expect(decide(set, flow('10.0.0.9', 80, 'tcp', '10.0.0.2'))).toBe('spare');
  });

  test('what is equal in everything is decided by the order of the configuration', () => {
    const twice = [service({ prefixes: [net], ports: [80] }), service({ prefixes: [net], ports: [80] })];
    expect(decide(compile({ services: twice }), flow(host, 80))).toBe(FIRST);
  });
});

describe('assigned ranges', () => {
  const range = '100.64.0.0/10';

  test('are captured on every port of the protocols in use', () => {
    const set = compile({ services: [], ranges: [range], rangeProtocols: ['tcp'] });
    expect([0, 1, 65_535].map((port) => decide(set, flow('100.64.0.1', port)))).toEqual([0, 0, 0]);
    expect(decide(set, flow('100.64.0.1', 53, 'udp'))).toBe('none');
    expect(compile({ services: [], ranges: [range], rangeProtocols: [] }).rows).toEqual([]);
  });

  test('win over a wider service and lose to a service on a longer prefix, and to exclusions', () => {
    const set = compile({
      services: [service({ prefixes: ['0.0.0.0/0'], ports: [80] }), service({ prefixes: ['100.64.9.0/24'] })],
      ranges: [range],
    });
    expect(decide(set, flow('100.64.0.1', 80))).toBe(NAMES_SERVICE);
    expect(decide(set, flow('100.64.9.1', 80))).toBe(SECOND);
    expect(decide(compile({ services: [], ranges: [range], exclude: [range] }), flow('100.64.0.1', 80))).toBe('spare');
    expect(decide(compile({ services: [], ranges: [range], builtins: [range] }), flow('100.64.0.1', 80))).toBe(0);
  });

  test('need the protocols of the services that have names', () => {
    const tcp = service({ names: ['a.internal'] });
    const udp = service({ names: ['*.b.internal'], protocols: ['udp'] });
    const nameless = service({ prefixes: [net], protocols: ['tcp', 'udp'] });
    expect(protocolsOfNames([nameless])).toEqual([]);
    expect(protocolsOfNames([nameless, udp])).toEqual(['udp']);
    expect(protocolsOfNames([udp, tcp])).toEqual(['tcp', 'udp']);
  });

  test('names make no rows', () => {
    expect(compile({ services: [service({ names: ['web.internal', '*.apps.internal'] })] }).rows).toEqual([]);
  });
});

describe('canaries', () => {
  const canary = { family: 4, protocol: 'tcp', address: '192.0.2.1', port: 4711 } as const;

  test('are taken on their port only, and win over exclusions', () => {
    const set = compile({ services: [], exclude: ['192.0.2.1/32', '0.0.0.0/0'], canaries: [canary] });
    expect(decide(set, flow('192.0.2.1', 4711, 'tcp', '203.0.113.9'))).toBe(CANARY_SERVICE);
    expect(decide(set, flow('192.0.2.1', 4711, 'udp'))).toBe('spare');
    expect(decide(set, flow('192.0.2.1', 4712))).toBe('spare');
    expect(set.canaries).toEqual([canary]);
  });

  test('have a row of their own that is complete', () => {
    const set = compile({ services: [service({ prefixes: ['192.0.2.0/24'] })], canaries: [canary] });
    expect(set.rows.map((row) => formatPrefix(row.prefix))).toEqual(['192.0.2.0/24', '192.0.2.1/32']);
    expect(set.rows[1]?.ports.map(({ first, last }) => [first, last])).toEqual([
      [0, 4710],
      [4711, 4711],
      [4712, 65_535],
    ]);
  });
});

describe('rows', () => {
  test('that repeat what a shorter prefix gives are left out', () => {
    const set = compile({
      services: [service({ prefixes: ['10.0.0.0/8', '10.1.0.0/16', '10.1.2.0/24', '192.0.2.0/24'] })],
    });
    expect(set.rows.map((row) => formatPrefix(row.prefix))).toEqual(['10.0.0.0/8', '192.0.2.0/24']);
  });

  test('end a list of choices at the first one for any source, and join neighbours of one verdict', () => {
    const set = compile({
      services: [
        service({ prefixes: [net], sources: ['10.1.0.0/16', '10.0.0.0/8'] }),
        service({ prefixes: ['198.51.0.0/16'], sources: ['10.1.2.0/24', '172.16.0.0/12'] }),
        service({ prefixes: ['198.0.0.0/8'] }),
        service({ prefixes: ['0.0.0.0/0'], sources: ['192.0.2.0/24'] }),
      ],
    });
    const row = set.rows.find(({ prefix }) => formatPrefix(prefix) === net);
    expect(row?.ports).toHaveLength(1);
    expect(row?.ports[0]?.choices).toEqual([
      // 10.1.0.0/16 stays although 10.0.0.0/8 holds it: its place is before.
      { sources: [parsePrefix('10.1.0.0/16'), parsePrefix('10.0.0.0/8')], verdict: { steer: 16 } },
      // 10.1.2.0/24 could never be reached.
      { sources: [parsePrefix('172.16.0.0/12')], verdict: { steer: 17 } },
      { sources: [], verdict: { steer: 18 } },
    ]);
  });

  test('join neighbouring stretches with equal choices', () => {
    const set = compile({
      services: [service({ prefixes: [net], ports: [[1, 80], [81, 90], 92] })],
    });
    expect(set.rows[0]?.ports.map(({ first, last }) => [first, last])).toEqual([
      [1, 90],
      [92, 92],
    ]);
  });

  test('have no sources where a service allows its whole family', () => {
    const set = compile({ services: [service({ prefixes: [net], sources: ['10.0.0.0/8', '0.0.0.0/0', '::/0'] })] });
    expect(set.rows[0]?.ports[0]?.choices).toEqual([{ sources: [], verdict: { steer: FIRST } }]);
  });

  test('are plain data: a set survives JSON but for its big numbers', () => {
    const set = compile({ services: [service({ prefixes: [net], ports: [80] })] });
    const text = JSON.stringify(set.rows, (_, value: unknown) => (typeof value === 'bigint' ? Number(value) : value));
    expect(JSON.parse(text)).toEqual([
      {
        prefix: { family: 4, address: 0xc633_6400, length: 24 },
        ports: [{ protocol: 'tcp', first: 80, last: 80, choices: [{ sources: [], verdict: { steer: 16 } }] }],
      },
    ]);
  });
});

describe('explain', () => {
  const set = compile({
    services: [
      service({ prefixes: ['0.0.0.0/0'], ports: [[1, 1023]] }),
      service({ prefixes: [net], ports: [443], sources: ['172.16.0.0/12'] }),
    ],
  });

  test('names the row, the stretch and the choice that decided', () => {
    const { decision, row, ports, choice } = explain(set, flow(host, 443, 'tcp', '172.16.0.1'));
    expect(decision).toBe(SECOND);
    expect(row && formatPrefix(row.prefix)).toBe(net);
    expect(ports).toMatchObject({ protocol: 'tcp', first: 443, last: 443 });
    expect(choice).toEqual({ sources: [parsePrefix('172.16.0.0/12')], verdict: { steer: SECOND } });
  });

  test('says how far the look-up came when nothing decided', () => {
    expect(explain(set, flow('2001:db8::1', 80))).toEqual({ decision: 'none' });
    const wrongPort = explain(set, flow(host, 8080));
    expect(wrongPort.decision).toBe('none');
    expect(wrongPort.row && formatPrefix(wrongPort.row.prefix)).toBe(net);
    expect(wrongPort.ports).toBeUndefined();
    const only = compile({ services: [service({ prefixes: [net], sources: ['172.16.0.0/12'] })] });
    const wrongSource = explain(only, flow(host, 80));
    expect(wrongSource).toMatchObject({ decision: 'none', ports: { first: 0, last: 65_535 } });
    expect(wrongSource.choice).toBeUndefined();
  });
});

test('the static exclusions are those that hold on every host', () => {
  expect(STATIC_EXCLUSIONS.map((prefix) => formatPrefix(prefix))).toEqual([
    '127.0.0.0/8',
    '169.254.0.0/16',
    '224.0.0.0/4',
    '255.255.255.255/32',
    '::1/128',
    'fe80::/10',
    'ff00::/8',
  ]);
});
