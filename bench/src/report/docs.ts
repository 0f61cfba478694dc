/**
 * The tables of docs/performance.md, from a result. They stand between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->`;
 * everything else of the file is written by people and stays.
 */
import type { BenchmarkResult, MetricResult } from '../result.ts';
import { formatted, labelsOf, machineLine, notesOf, shownMetrics, targetLines } from './wording.ts';

const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
const line = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`;

export function markdownTable(heads: readonly string[], rows: ReadonlyArray<readonly string[]>): string {
  return [line(heads), `|${heads.map((_, n) => (n === 0 ? '---|' : '---:|')).join('')}`, ...rows.map(line)].join('\n');
}

/** One line per metric, one column per candidate. */
function measures(result: BenchmarkResult): string {
  const labels = labelsOf(result);
  const ids = result.candidates.map(({ id }) => id);
  const present = (metrics: readonly MetricResult[]) =>
    ids.filter((id) => metrics.some(({ rows }) => rows.some(({ candidate }) => candidate === id)));
  const table = (metrics: readonly MetricResult[]) => {
    const columns = present(metrics);
    return markdownTable(
      ['measure', ...columns.map((id) => labels.get(id) ?? id)],
      metrics.map((metric) => {
        const arrow = metric.better === 'more' ? '↑' : '↓';
        const values = columns.map((id) => {
          const row = metric.rows.find(({ candidate }) => candidate === id);
          return row === undefined ? '–' : formatted(row.median, metric.digits);
        });
        return [`${metric.label}, ${metric.unit} ${arrow}`, ...values];
      }),
    );
  };
  const shown = shownMetrics(result);
  const dns = shown.filter(({ id }) => id.startsWith('dns-'));
  const others = shown.filter((metric) => !dns.includes(metric));
  return [
    'Medians; ↑ more is better, ↓ less is better, – not measured.',
    ...(others.length > 0 ? [table(others)] : []),
    ...(dns.length > 0 ? [table(dns)] : []),
  ].join('\n\n');
}

function targets(result: BenchmarkResult): string {
  const lines = targetLines(result);
  const reached = lines.filter(({ outcome }) => outcome === 'reached').length;
  const rows = lines.map(({ what, wanted, measured, outcome }) => [
    what,
    wanted,
    measured,
    outcome === 'not reached' ? `**${outcome}**` : outcome,
  ]);
  return `${reached} of ${lines.length} are reached.\n\n${markdownTable(['measure', 'wanted', 'measured', ''], rows)}`;
}

/** What each marker is replaced with. */
export function documentParts(result: BenchmarkResult): Readonly<Record<string, string>> {
  return {
    machine: `${machineLine(result)}.`,
    measures: measures(result),
    targets: targets(result),
    notes: notesOf(result)
      .map((note) => `- ${note.replaceAll('\n', ' ')}`)
      .join('\n'),
  };
}

/** @returns the document with new text between each part's markers. @throws Error for a part whose markers are not there. */
export function renderParts(document: string, parts: Readonly<Record<string, string>>): string {
  let text = document;
  for (const [name, content] of Object.entries(parts)) {
    const [open, close] = [`<!-- bench:${name} -->`, `<!-- /bench:${name} -->`];
    const [start, end] = [text.indexOf(open), text.indexOf(close)];
    if (start < 0 || end < start) throw new Error(`the document has no ${open} … ${close}`);
    text = `${text.slice(0, start + open.length)}\n${content}\n${text.slice(end)}`;
  }
  return text;
}
