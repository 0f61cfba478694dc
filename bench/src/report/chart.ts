/** The one chart of README: four measures, from a result. */
import type { BenchmarkResult } from '../result.ts';
import { barChart } from './bars.ts';
import { labelsOf } from './wording.ts';

const SHOWN = ['bulk-up-8', 'connections-32', 'requests-64', 'idle-10000'];
/** Weir by one mechanism; all of them are in docs/performance.md. */
const OF_WEIR = 'nft';

/** A whole SVG document that stands alone, light and dark. */
export function renderChart(result: BenchmarkResult): string {
  const labels = labelsOf(result);
  const kinds = new Map(result.candidates.map(({ id, kind }) => [id, kind]));
  const wanted = (id: string) => id === OF_WEIR || id === 'direct' || kinds.get(id) === 'peer';
  const metrics = SHOWN.flatMap((id) => result.metrics.filter((metric) => metric.id === id))
    .map((metric) => ({ ...metric, rows: metric.rows.filter(({ candidate }) => wanted(candidate)) }))
    .filter(({ rows }) => rows.length > 0);
  const { machine, arguments: args } = result;
  const footer = `${machine.processors} × ${machine.cpu}, kernel ${machine.kernel}; medians of ${args.rounds} interleaved rounds, ${result.startedAt.slice(0, 10)}`;
  return `${barChart(
    metrics.map((metric) => ({ metric, labels, kindOf: (id) => kinds.get(id) ?? 'peer' })),
    { style: true, footer },
  )}\n`;
}
