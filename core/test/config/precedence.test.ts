/** Flag, then WEIR_*, then file, then default. */
import { expect, test } from 'vitest';
import { OVERRIDES } from '../../src/config/precedence.ts';
import { faultsOf, FINE, read } from './reading.ts';

test('a flag wins over the environment, that over the file, that over the default', async () => {
  const file = `${FINE}owner: from-file\nworkers: 3\nlog: { level: warn, flows: all }\n`;
  const environment = { WEIR_OWNER: 'from-env', WEIR_LOG_LEVEL: 'error', WEIR_WORKERS: '4' };
  const flags = { owner: 'from-flag' };
  expect(await read(file, { environment, flags })).toMatchObject({
    owner: 'from-flag',
    workers: 4,
    log: { level: 'error', flows: 'all', format: 'auto' },
    interceptor: 'auto',
  });
  expect(await read(file, { environment })).toMatchObject({ owner: 'from-env' });
  expect(await read(file)).toMatchObject({ owner: 'from-file', workers: 3, log: { level: 'warn' } });
  expect(await read(FINE)).toMatchObject({ owner: 'default', workers: 1, log: { level: 'info' } });
});

test('every setting can be given from outside, in the words of the file', async () => {
  const flags = {
    interceptor: 'nft, tun',
    require: 'transparent,udp',
    owner: 'o',
    workers: '2',
    'worker-cpus': '1,0',
    resolver: 'none',
    'log-level': 'debug',
    'log-format': 'json',
    'log-flows': 'off',
    admin: 'off',
  };
  const expected = {
    interceptor: ['nft', 'tun'],
    require: ['transparent', 'udp'],
    owner: 'o',
    workers: 2,
    workerCpus: [1, 0],
    resolver: { reach: 'none', unanswerable: 'refused' },
    log: { level: 'debug', format: 'json', flows: 'off' },
    admin: 'off',
  };
  expect(await read(FINE, { flags })).toMatchObject(expected);
  const environment = Object.fromEntries(
    OVERRIDES.flatMap(({ flag, variable }) =>
      variable === undefined ? [] : [[variable, flags[flag as keyof typeof flags]] as const],
    ),
  );
  const { require: _, ...fromEnvironment } = expected;
  expect(await read(FINE, { environment })).toMatchObject(fromEnvironment);
});

test('an empty variable is one that is not set', async () => {
  expect(await read(FINE, { environment: { WEIR_OWNER: '', WEIR_WORKERS: '' } })).toMatchObject({ owner: 'default' });
});

test('variables that mean something else are left alone', async () => {
  // WEIR_REQUIRE names test groups; WEIR_SERVICE_HOST is what Kubernetes sets for a service named weir.
  const environment = { WEIR_REQUIRE: 'nft,tun', WEIR_SERVICE_HOST: '10.0.0.1', WEIR_PORT: 'tcp://10.0.0.1:80' };
  expect(await read(FINE, { environment })).toMatchObject({ require: [] });
});

test('faults of flags and variables are placed where they were given, behind those of the file', async () => {
  const faults = await faultsOf(
    read(`${FINE}unmatched: rst\n`, {
      flags: { interceptor: 'nft,tunn', 'log-level': 'trace' },
      environment: { WEIR_WORKERS: 'zero', WEIR_OWNER: 'no owner' },
    }),
  );
  expect(faults).toEqual([
    `weir.yaml:2:12: "rst" is not known here\n   2 | unmatched: rst\n     |            ^ allowed: one of reset, drop, direct`,
    `environment:1:12: "no owner" is not an owner\n   1 | WEIR_OWNER=no owner\n     |            ^ allowed: letters, digits, "_" and "-", at most 24, the first no dash: default, edge-1`,
    `command line:1:13: "trace" is not known here\n   1 | --log-level trace\n     |             ^ allowed: one of debug, info, warn, error, silent`,
    `environment:1:14: the text "zero" stands here\n   1 | WEIR_WORKERS=zero\n     |              ^ allowed: a whole number from 1 to 64`,
    `command line:1:19: unknown interceptor "tunn" (did you mean "tun"?)\n   1 | --interceptor nft,tunn\n     |                   ^ allowed: auto, or of nft, tproxy-iptables, ebpf-sklookup, tun, proxy`,
  ]);
});
