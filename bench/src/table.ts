/** A result as text for people: one block per measure, one line per candidate. */
import type { BenchmarkResult, MetricResult, Row } from './result.ts';

const WIDTH = 24;
/** What the ratio columns compare with, where it was measured. */
const REFERENCES = ['haproxy', 'direct'];

function numbers(row: Row, digits: number): string {
  const fixed = (value: number) => value.toFixed(digits);
  return `${fixed(row.median).padStart(10)}  ${`${fixed(row.lowest)} – ${fixed(row.highest)}`.padEnd(22)}`;
}

function block(metric: MetricResult, labels: ReadonlyMap<string, string>): string {
  const head = `${metric.label} (${metric.unit}, ${metric.better} is better)`;
  const lines = metric.rows.map((row) => {
    const ratios = REFERENCES.filter((id) => labels.has(id)).map((reference) => {
      const ratio = row.ratios[reference];
      return ratio === undefined ? ''.padEnd(24) : `${ratio.toFixed(2)} × ${labels.get(reference)}`.padEnd(24);
    });
    const label = (labels.get(row.candidate) ?? row.candidate).padEnd(WIDTH);
    return `   ${label}${numbers(row, metric.digits)}  ${ratios.join('')}`.trimEnd();
  });
  return [head, ...lines].join('\n');
}

export function renderTable(result: BenchmarkResult): string {
  const { machine } = result;
  const labels = new Map(result.candidates.map(({ id, label }) => [id, label]));
  const shown = result.metrics.filter(({ rows }) => rows.length > 0);
  const notes = [
    ...result.candidates.flatMap(({ label, leftOut }) =>
      leftOut === undefined ? [] : [`${label} is left out: ${leftOut}`],
    ),
    ...result.leftOut,
    ...result.candidates.flatMap(({ label, version, hostRestored, spliced }) =>
      hostRestored === undefined || version === 'no program'
        ? []
        : [
            `${label}: ${version}; every byte went through it` +
              `${spliced === undefined ? '' : spliced ? ', bulk by splice' : ', nothing by splice'}; ` +
              `its host is ${hostRestored ? 'as it was before' : 'NOT as it was before'}`,
          ],
    ),
    ...result.failures.map((failure) => `FAILED ${failure}`),
  ];
  return [
    `${machine.processors} × ${machine.cpu}, ${machine.memoryGib} GiB, ${machine.virtualisation}; kernel ${machine.kernel}, ` +
      `${machine.distribution}; load before ${machine.loadBefore.toFixed(1)}; commit ${machine.commit}`,
    `${result.arguments.rounds} rounds of ${result.arguments.secondsPerMeasurement} s, seed ${result.arguments.seed}: ` +
      'median, lowest – highest, and the median of the ratios within each round',
    ...shown.map((metric) => block(metric, labels)),
    notes.join('\n'),
  ].join('\n\n');
}
