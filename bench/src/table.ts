/** A result as text for people: one block per measure, one line per candidate. */
import { heading, labelsOf, machineLine, notesOf, shownMetrics, targetLines } from './report/wording.ts';
import type { BenchmarkResult, MetricResult, Row } from './result.ts';

const WIDTH = 24;
/** What the ratio columns compare with, where it was measured. */
const REFERENCES = ['haproxy', 'direct'];

function numbers(row: Row, digits: number): string {
  const fixed = (value: number) => value.toFixed(digits);
  return `${fixed(row.median).padStart(10)}  ${`${fixed(row.lowest)} – ${fixed(row.highest)}`.padEnd(22)}`;
}

function block(metric: MetricResult, labels: ReadonlyMap<string, string>): string {
  const lines = metric.rows.map((row) => {
    const ratios = REFERENCES.filter((id) => labels.has(id)).map((reference) => {
      const ratio = row.ratios[reference];
      return ratio === undefined ? ''.padEnd(24) : `${ratio.toFixed(2)} × ${labels.get(reference)}`.padEnd(24);
    });
    const label = (labels.get(row.candidate) ?? row.candidate).padEnd(WIDTH);
    return `   ${label}${numbers(row, metric.digits)}  ${ratios.join('')}`.trimEnd();
  });
  return [heading(metric), ...lines].join('\n');
}

export function renderTable(result: BenchmarkResult): string {
  const labels = labelsOf(result);
  const shown = shownMetrics(result);
  const targets = targetLines(result).map(
    ({ what, wanted, measured, outcome }) => `   ${outcome.padEnd(14)}${what}: ${measured}, wanted ${wanted}`,
  );
  return [
    `${machineLine(result)}:\nmedian, lowest – highest, and the median of the ratios within each round`,
    ...shown.map((metric) => block(metric, labels)),
    ...(targets.length === 0 ? [] : [`targets\n${targets.join('\n')}`]),
    notesOf(result).join('\n'),
  ].join('\n\n');
}
