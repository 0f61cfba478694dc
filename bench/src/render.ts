/** Reports from results that are there already: `--render docs`, `--render html`. */
import { UsageError } from '@weir/core';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { renderChart } from './report/chart.ts';
import { documentParts, renderParts } from './report/docs.ts';
import { renderHtml } from './report/html.ts';
import { scaleParts } from './report/scale-docs.ts';
import type { BenchmarkResult, Row } from './result.ts';
import type { ScaleResult } from './scale-result.ts';
import { TARGETS } from './targets.ts';

const path = (name: string) => fileURLToPath(new URL(`../../docs/${name}`, import.meta.url));

/** The committed results, from which the committed tables are. */
const COMMITTED = path('performance.json');
const COMMITTED_SCALE = path('performance-scale.json');
const DOCUMENT = path('performance.md');
const CHART = path('performance.svg');

function read(file: string): BenchmarkResult | ScaleResult {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as BenchmarkResult | ScaleResult;
  } catch (error) {
    throw new UsageError({
      problem: `${file} is no result of the benchmark.`,
      remedy: 'Name one with --json FILE; npm run bench writes them below bench/results/.',
      cause: error,
    });
  }
}

/** Ratios that a report shows; all others follow from the values. */
const COMPARED_WITH: ReadonlySet<string> = new Set([
  'direct',
  'haproxy',
  ...TARGETS.flatMap(({ checks }) => checks.flatMap(({ against }) => against ?? [])),
]);

/** Five digits say all that a measurement does; a line for each metric and candidate keeps differences readable. */
function committed(result: BenchmarkResult | ScaleResult): string {
  const rounded = (key: string, value: unknown) => {
    if (typeof value === 'number') return Number(value.toPrecision(5));
    if (key !== 'ratios') return value;
    return Object.fromEntries(Object.entries(value as Row['ratios']).filter(([id]) => COMPARED_WITH.has(id)));
  };
  const exact: typeof result = JSON.parse(JSON.stringify(result, rounded));
  const text = JSON.stringify({ ...exact, arguments: result.arguments, seconds: result.seconds });
  return `${text.replaceAll(/\{"(?=(?:id|candidate|x)":)/g, '\n{"')}\n`;
}

/** The document with the tables of every result that is committed. */
function renderDocument(): void {
  let text = readFileSync(DOCUMENT, 'utf8');
  if (existsSync(COMMITTED)) {
    const result = read(COMMITTED) as BenchmarkResult;
    text = renderParts(text, documentParts(result));
    writeFileSync(CHART, renderChart(result));
  }
  if (existsSync(COMMITTED_SCALE)) text = renderParts(text, scaleParts(read(COMMITTED_SCALE) as ScaleResult));
  writeFileSync(DOCUMENT, text);
}

/**
 * `docs`: makes `json` the committed result, where one is named, and writes the tables of docs/performance.md and the chart of
 * README from it. `html`: the page of `json`, or of the committed result, beside it.
 * @throws UsageError for a file that is no result.
 */
export function render(what: 'docs' | 'html', json: string | undefined, say: (text: string) => void): void {
  if (what === 'html') {
    const file = json ?? COMMITTED;
    const result = read(file);
    if (result.format === 'scale') {
      throw new UsageError({
        problem: `${file} is a result of --scale, which has no page.`,
        remedy: 'Give --render docs for its tables.',
      });
    }
    const page = `${file.replace(/\.json$/, '')}.html`;
    writeFileSync(page, renderHtml(result));
    say(page);
    return;
  }
  if (json !== undefined) {
    const result = read(json);
    writeFileSync(result.format === 'scale' ? COMMITTED_SCALE : COMMITTED, committed(result));
  }
  renderDocument();
  say(`${DOCUMENT}\n${CHART}`);
}
