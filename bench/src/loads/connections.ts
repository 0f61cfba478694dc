/** New connections: each request of 64 bytes has one of its own, which the server ends. */
import { cpuClock } from '../cpu-time.ts';
import type { Load, Metric } from '../load.ts';
import { wrk, wrkMissing } from '../wrk.ts';

export function connections(concurrency: number, quick: boolean): Load {
  const id = `connections-${concurrency}`;
  const label = `new connections, ${concurrency} at a time`;
  const latency = (percentile: string) => ({
    id: `${id}-${percentile}`,
    label: `${label}: ${percentile}`,
    unit: 'µs',
    better: 'less' as const,
    digits: 0,
  });
  const cpu = (suffix: string, whose: string): Metric => ({
    id: `${id}-${suffix}`,
    label: `${label}: ${whose}`,
    unit: 'µs each',
    better: 'less',
    digits: 1,
  });
  return {
    id,
    quick,
    metrics: [
      { id, label, unit: '/s', better: 'more', digits: 0 },
      cpu('cpu', 'CPU'),
      cpu('all-cpu', 'CPU with client and server'),
      latency('p50'),
      latency('p99'),
    ],
    missing: wrkMissing,
    appliesTo: () => true,
    async run(stage) {
      const stop = cpuClock(stage.running.pids, stage.serverPids);
      const report = await wrk(stage, '/close/64', concurrency);
      const cost = stop();
      const each = (seconds: number) => (seconds * 1e6) / report.requests;
      return {
        values: {
          [id]: report.requests / (report.microseconds / 1e6),
          ...(cost.candidate === undefined ? {} : { [`${id}-cpu`]: each(cost.candidate) }),
          [`${id}-all-cpu`]: each(cost.all),
          [`${id}-p50`]: report.p50,
          [`${id}-p99`]: report.p99,
        },
        moved: { flows: report.requests, bytes: report.bytes },
      };
    },
  };
}
