/** Requests on connections that stay. */
import { cpuClock } from '../cpu-time.ts';
import type { Load, Metric } from '../load.ts';
import { wrk, wrkMissing } from '../wrk.ts';

const CONNECTIONS = 32;

export function requests(bytes: number, size: string): Load {
  const id = `requests-${bytes}`;
  const label = `requests of ${size}`;
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
    quick: bytes === 64,
    metrics: [
      { id, label, unit: '/s', better: 'more', digits: 0 },
      cpu('cpu', 'CPU'),
      cpu('all-cpu', 'CPU with client and server'),
      latency('p50'),
      latency('p99'),
      latency('p99.9'),
    ],
    missing: wrkMissing,
    appliesTo: () => true,
    async run(stage) {
      const stop = cpuClock(stage.running.pids, stage.serverPids);
      const report = await wrk(stage, `/${bytes}`, CONNECTIONS);
      const cost = stop();
      const each = (seconds: number) => (seconds * 1e6) / report.requests;
      return {
        values: {
          [id]: report.requests / (report.microseconds / 1e6),
          ...(cost.candidate === undefined ? {} : { [`${id}-cpu`]: each(cost.candidate) }),
          [`${id}-all-cpu`]: each(cost.all),
          [`${id}-p50`]: report.p50,
          [`${id}-p99`]: report.p99,
          [`${id}-p99.9`]: report.p999,
        },
        moved: { flows: CONNECTIONS, bytes: report.bytes },
      };
    },
  };
}
