import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { renderChart } from '../src/report/chart.ts';
import { documentParts, renderParts } from '../src/report/docs.ts';
import { renderHtml } from '../src/report/html.ts';
import { scaleParts } from '../src/report/scale-docs.ts';
import type { BenchmarkResult } from '../src/result.ts';
import type { ScaleResult } from '../src/scale-result.ts';
import { targetOutcomes } from '../src/targets.ts';
import { LOADS } from '../src/loads/catalogue.ts';
import { result } from './a-result.ts';

const docs = (name: string) => fileURLToPath(new URL(`../../docs/${name}`, import.meta.url));
const DOCUMENT = docs('performance.md');
const committed = <T>(name: string): T => JSON.parse(readFileSync(docs(name), 'utf8')) as T;

describe('targets', () => {
  test('are reached, not reached, or not measured', () => {
    const outcomes = new Map(targetOutcomes(result()).map(({ id, checks }) => [id, checks]));
    expect(outcomes.get('bulk')?.[0]).toMatchObject({ metric: 'bulk-down-1', value: 1.2, outcome: 'reached' });
    expect(outcomes.get('start')).toMatchObject([{ value: 900, outcome: 'not reached' }]);
    expect(outcomes.get('sklookup')?.every(({ outcome }) => outcome === 'not measured')).toBe(true);
  });

  test('name measures that there are', () => {
    const ids = new Set(LOADS.flatMap(({ metrics }) => metrics.map(({ id }) => id)));
    const named = targetOutcomes(result()).flatMap(({ checks }) => checks.map(({ metric }) => metric));
    expect(named.filter((id) => !ids.has(id) && !id.startsWith('dns-'))).toEqual([]);
  });
});

describe('the page', () => {
  const page = renderHtml(result());

  test('needs no network and no script', () => {
    expect(page).not.toMatch(/src=|href=|@import|<script|url\(/);
    expect(page).toContain('prefers-color-scheme: dark');
  });

  test('shows losing rows, every round, what was left out and what failed', () => {
    expect(page).toMatch(/Weir nft[^]*HAProxy[^]*round 3/);
    expect(page).toContain('class="missed">not reached');
    expect(page).toContain('Squid is left out: not &lt;installed&gt;');
    expect(page).toContain('FAILED rate of HAProxy: it broke');
  });
});

test('the chart stands alone and shows what was measured of its four measures', () => {
  const chart = renderChart({ ...result(), metrics: result().metrics.map((each) => ({ ...each, id: 'bulk-up-8' })) });
  expect(chart).toMatch(/^<svg xmlns=[^]*<style>[^]*bulk down \(Gbit\/s, more is better\)[^]*a CPU[^]*<\/svg>\n$/);
});

describe('the document', () => {
  test('has a place for every part, and keeps what people wrote', () => {
    const document = readFileSync(DOCUMENT, 'utf8');
    const scale = {
      format: 'scale' as const,
      startedAt: '2026-01-01T00:00:00.000Z',
      seconds: 1,
      arguments: { rounds: 1, secondsPerMeasurement: 1 },
      machine: result().machine,
      series: [
        {
          id: 'flows' as const,
          title: 'Idle flows',
          axis: 'idle flows',
          columns: [{ id: 'each', label: 'per flow, KiB', digits: 2 }],
          points: [{ x: 1000, values: { each: 1, kernel: 6 } }],
        },
      ],
      leftOut: ['50000 flows: too few descriptors'],
      failures: [],
    };
    const text = renderParts(renderParts(document, documentParts(result())), scaleParts(scale));
    expect(text).toContain('| bulk down, Gbit/s ↑ | 20.0 | 15.0 | 10.0 |');
    expect(text).toContain('**not reached**');
    expect(text).toContain('| 1,000 | 1.00 |');
    // 1 GiB of 1 KiB in the process and half of 6 KiB in the kernel each.
    expect(text).toContain('262,144');
    expect(text).toContain('- Left out: 50000 flows: too few descriptors');
    expect(text).toContain('## Method');
    expect(renderParts(text, documentParts(result()))).toBe(text);
  });

  test('has the tables and the chart of the committed results; npm run bench -- --render docs writes them', () => {
    const document = readFileSync(DOCUMENT, 'utf8');
    const compared = committed<BenchmarkResult>('performance.json');
    const parts = { ...documentParts(compared), ...scaleParts(committed<ScaleResult>('performance-scale.json')) };
    expect(renderParts(document, parts)).toBe(document);
    expect(readFileSync(docs('performance.svg'), 'utf8')).toBe(renderChart(compared));
  });

  test('without a place for a part is refused', () => {
    expect(() => renderParts('# Performance', { measures: 'x' })).toThrow(/bench:measures/);
  });
});
