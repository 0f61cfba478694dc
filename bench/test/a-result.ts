/** A result for tests. */
import { Readings, type BenchmarkResult } from '../src/result.ts';

const rate = { id: 'bulk-down-1', label: 'bulk down', unit: 'Gbit/s', better: 'more', digits: 1 } as const;
const start = { id: 'start', label: 'start to first captured flow', unit: 'ms', better: 'less', digits: 0 } as const;

/** Three rounds of one measure, a start that is too slow, a peer that is not there, a failure. */
export function result(): BenchmarkResult {
  const readings = new Readings();
  for (const [round, direct, weir, haproxy] of [
    [1, 20, 15, 10],
    [2, 22, 16, 16],
    [3, 10, 6, 5],
  ] as const) {
    readings.add(rate.id, 'direct', round, direct);
    readings.add(rate.id, 'nft', round, weir);
    readings.add(rate.id, 'haproxy', round, haproxy);
  }
  readings.add(start.id, 'nft', 1, 900);
  return {
    format: 1,
    startedAt: '2026-01-01T00:00:00.000Z',
    seconds: 9,
    arguments: { seed: 7, rounds: 3, secondsPerMeasurement: 1, quick: true },
    machine: {
      cpu: 'a CPU',
      processors: 2,
      memoryGib: 4,
      kernel: '6.1',
      distribution: 'Debian',
      virtualisation: 'none',
      node: '24.0.0',
      loadBefore: 0.1,
      commit: 'abc1234',
    },
    candidates: [
      { id: 'direct', kind: 'none', label: 'not intercepted', version: 'no program', hostRestored: true },
      { id: 'nft', kind: 'weir', label: 'Weir nft', version: 'weir 1', hostRestored: true, spliced: true },
      { id: 'haproxy', kind: 'peer', label: 'HAProxy', version: '2.6', hostRestored: false },
      { id: 'squid', kind: 'peer', label: 'Squid', version: 'not here', leftOut: 'not <installed>' },
    ],
    metrics: [
      { ...rate, rows: readings.rows(rate.id, ['direct', 'nft', 'haproxy', 'squid']) },
      { ...start, rows: readings.rows(start.id, ['nft']) },
    ],
    leftOut: ['bulk-up-1 is not measured: no iperf3'],
    failures: ['rate of HAProxy: it broke'],
  };
}
