/** How many open files the doctor asks for: for flows, and for UDP sessions where there may be any. */
import { describe, expect, test } from 'vitest';
import { directDialer } from '../../src/dialers/direct.ts';
import { socks5Dialer } from '../../src/dialers/socks5.ts';
import { DEFAULTS } from '../../src/config/defaults.ts';
import type { Configuration, Reach, ServiceConfiguration } from '../../src/config/model.ts';
import { checkOpenFiles, checkWorkerCpus } from '../../src/doctor/limits.ts';

const dialerTypes = new Map([
  ['direct', directDialer as never],
  ['socks5', socks5Dialer as never],
]);

function udp(...dialers: readonly string[]): ServiceConfiguration {
  return { name: 'games', names: [], prefixes: [], ports: [], protocols: ['udp'], sources: [], dialers };
}

function checked(limit: number | undefined, reach: Reach, services: readonly ServiceConfiguration[]) {
  const configuration: Configuration = {
    ...DEFAULTS,
    services,
    dialers: [{ name: 'relay', type: 'socks5', options: {} }],
    resolver: { ...DEFAULTS.resolver, reach },
    limits: { ...DEFAULTS.limits, flows: 1000, udpSessions: 500 },
  };
  return checkOpenFiles({ configuration, dialerTypes }, limit);
}

describe('open files', () => {
  test('are two a flow where no UDP is captured', () => {
    const services = [{ ...udp('relay'), protocols: ['tcp'] as const }];
    expect(checked(3024, 'none', services)).toMatchObject([
      { severity: 'ok', what: '3024 open files are enough for limits.flows: 1000' },
    ]);
    expect(checked(3023, 'none', services)).toMatchObject([
      {
        severity: 'warning',
        what: '3023 open files are enough for 999 flows, and limits.flows is 1000',
        command: 'ulimit -n 3024',
      },
    ]);
  });

  test.each([
    ['one a session more where a service takes UDP', 'none', [udp('direct')], 3524],
    ['one where queries may be captured', 'auto', [], 3524],
    ['one where queries are captured', 'capture', [], 3524],
    ['two where a dialer keeps a control connection', 'none', [udp('direct'), udp('reset', 'relay')], 4024],
  ] as const)('are %s', (_name, reach, services, needed) => {
    expect(checked(needed, reach, services)).toMatchObject([{ severity: 'ok' }]);
    expect(checked(undefined, reach, services)).toMatchObject([{ severity: 'ok' }]);
    const [found] = checked(needed - 1, reach, services);
    expect(found).toMatchObject({ severity: 'warning', command: `ulimit -n ${needed}` });
    expect(found?.what).toBe(
      `${needed - 1} open files are fewer than limits.flows: 1000 (2 each), limits.udp-sessions: 500 (${needed === 4024 ? 2 : 1} each) and 1024 for everything else may take`,
    );
    expect(found?.remedy).toContain('limits.udp-sessions');
  });
});

test('processors for workers: enough, too few, and none that Weir may use', () => {
  const check = (workers: number, workerCpus: Configuration['workerCpus']) =>
    checkWorkerCpus({ configuration: { ...DEFAULTS, workers, workerCpus } }, [0, 1, 4]);
  expect(check(3, 'none')).toMatchObject([{ severity: 'ok' }]);
  expect(check(2, [4, 0])).toMatchObject([{ severity: 'ok' }]);
  expect(check(4, 'auto')).toMatchObject([{ severity: 'warning', setting: { key: 'workers', value: 3 } }]);
  expect(check(3, [4, 0])).toMatchObject([{ severity: 'warning', setting: { key: 'workers', value: 2 } }]);
  expect(check(1, [2])).toMatchObject([
    {
      severity: 'problem',
      what: 'worker-cpus names processor 2, which Weir may not use here: it may use 0-1,4.',
      setting: { key: 'worker-cpus', value: 'auto' },
    },
  ]);
});
