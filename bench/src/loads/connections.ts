/** New connections: each request of 64 bytes has one of its own, which the server ends. */
import type { Load } from '../load.ts';
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
  return {
    id,
    quick,
    metrics: [{ id, label, unit: '/s', better: 'more', digits: 0 }, latency('p50'), latency('p99')],
    missing: wrkMissing,
    appliesTo: () => true,
    async run(stage) {
      const report = await wrk(stage, '/close/64', concurrency);
      return {
        values: {
          [id]: report.requests / (report.microseconds / 1e6),
          [`${id}-p50`]: report.p50,
          [`${id}-p99`]: report.p99,
        },
        moved: { flows: report.requests, bytes: report.bytes },
      };
    },
  };
}
