/** A result as one HTML file that needs no network: targets, charts, all numbers. */
import type { BenchmarkResult, MetricResult } from '../result.ts';
import { BAR_STYLE, barChart, escapeXml, type KindOf } from './bars.ts';
import { formatted, labelsOf, machineLine, notesOf, shownMetrics, targetLines } from './wording.ts';

const STYLE = `
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; background: #fff; color: #1f2328; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
table { border-collapse: collapse; width: 100%; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #d5dae0; }
td.number { text-align: right; white-space: nowrap; }
.reached { color: #1a7f37; } .missed { color: #cf222e; font-weight: 600; } .unmeasured { opacity: .6; }
svg { max-width: 100%; height: auto; } details { margin: .2rem 0 1.6rem; }
@media (prefers-color-scheme: dark) {
  body { background: #0d1117; color: #e6edf3; } th, td { border-color: #3d444d; }
  .reached { color: #3fb950; } .missed { color: #ff7b72; }
}
${BAR_STYLE}`;

const CLASSES = { reached: 'reached', 'not reached': 'missed', 'not measured': 'unmeasured' } as const;

function targets(result: BenchmarkResult): string {
  const rows = targetLines(result).map(
    ({ target, what, wanted, measured, outcome }) =>
      `<tr><td>${escapeXml(target)}</td><td>${escapeXml(what)}</td><td class="number">${escapeXml(wanted)}</td>` +
      `<td class="number">${escapeXml(measured)}</td><td class="${CLASSES[outcome]}">${outcome}</td></tr>`,
  );
  if (rows.length === 0) return '';
  return `<h2>Targets</h2><table><tr><th>target</th><th>measure</th><th>wanted</th><th>measured</th><th></th></tr>${rows.join('')}</table>`;
}

function numbers(metric: MetricResult, labels: ReadonlyMap<string, string>): string {
  const references = ['direct', 'haproxy'].filter((id) => metric.rows.some(({ candidate }) => candidate === id));
  const rounds = Object.keys(metric.rows[0]?.values ?? {});
  const show = (value: number | undefined) => (value === undefined ? '' : formatted(value, metric.digits));
  const rows = metric.rows.map((row) => {
    const ratios = references.map((id) => `<td class="number">${row.ratios[id]?.toFixed(2) ?? ''}</td>`);
    const each = rounds.map((round) => `<td class="number">${show(row.values[round])}</td>`);
    return `<tr><td>${escapeXml(labels.get(row.candidate) ?? row.candidate)}</td><td class="number">${show(row.median)}</td>${ratios.join('')}${each.join('')}</tr>`;
  });
  const heads = [
    'candidate',
    'median',
    ...references.map((id) => `÷ ${labels.get(id) ?? id}`),
    ...rounds.map((round) => `round ${round}`),
  ];
  return `<details><summary>numbers</summary><table><tr>${heads.map((head) => `<th>${escapeXml(head)}</th>`).join('')}</tr>${rows.join('')}</table></details>`;
}

/** A whole document. */
export function renderHtml(result: BenchmarkResult): string {
  const labels = labelsOf(result);
  const kinds = new Map(result.candidates.map(({ id, kind }) => [id, kind]));
  const kindOf: KindOf = (id) => kinds.get(id) ?? 'peer';
  const charts = shownMetrics(result).map(
    (metric) => `${barChart([{ metric, labels, kindOf }], { style: false })}${numbers(metric, labels)}`,
  );
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Weir: benchmark of ${escapeXml(result.startedAt.slice(0, 10))}</title><style>${STYLE}</style></head><body>
<h1>Weir beside no interception and other programs</h1>
<p>${escapeXml(machineLine(result))}</p>
<p>Bars are medians of the rounds; the thin line is the lowest to the highest. Ratios are medians of the ratios within each round.</p>
${targets(result)}
<h2>Measures</h2>
${charts.join('\n')}
<h2>Notes</h2>
<ul>${notesOf(result)
    .map((note) => `<li>${escapeXml(note)}</li>`)
    .join('')}</ul>
</body></html>
`;
}
