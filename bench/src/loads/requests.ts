/** Requests on connections that stay. */
import type { Load } from '../load.ts';
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
  return {
    id,
    quick: true,
    metrics: [{ id, label, unit: '/s', better: 'more', digits: 0 }, latency('p50'), latency('p99'), latency('p99.9')],
    missing: wrkMissing,
    appliesTo: () => true,
    async run(stage) {
      const report = await wrk(stage, `/${bytes}`, CONNECTIONS);
      return {
        values: {
          [id]: report.requests / (report.microseconds / 1e6),
          [`${id}-p50`]: report.p50,
          [`${id}-p99`]: report.p99,
          [`${id}-p99.9`]: report.p999,
        },
        moved: { flows: 1, bytes: report.bytes },
      };
    },
  };
}
