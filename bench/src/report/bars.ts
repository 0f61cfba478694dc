/** Horizontal bars as SVG: one block per metric, one bar per candidate, with the spread of the rounds. Light and dark. */
import type { MetricResult, Row } from '../result.ts';
import { formatted, heading } from './wording.ts';

export const escapeXml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

/** Colours for both themes; an SVG that stands alone and a page use the same. */
export const BAR_STYLE = `
.bars text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.bars .title { font-weight: 600; }
.bars .value { font-variant-numeric: tabular-nums; }
.bars .weir { fill: #0a7ea4; } .bars .peer { fill: #9aa4af; } .bars .none { fill: #d5dae0; }
.bars .spread { stroke: #1f2328; stroke-width: 1.5; opacity: .55; }
@media (prefers-color-scheme: dark) {
  .bars text { fill: #e6edf3; }
  .bars .weir { fill: #3fb6dc; } .bars .peer { fill: #6e7781; } .bars .none { fill: #3d444d; }
  .bars .spread { stroke: #e6edf3; }
}`;

export const WIDTH = 720;
const LABELS = 210;
const VALUES = 110;
const LINE = 24;
const BAR = 14;
const HEAD = 30;

/** How a candidate's bar is filled. */
export type KindOf = (candidate: string) => 'none' | 'weir' | 'peer';

export interface BarsInput {
  readonly metric: MetricResult;
  readonly labels: ReadonlyMap<string, string>;
  readonly kindOf: KindOf;
}

export const barsHeight = ({ metric }: BarsInput): number => HEAD + metric.rows.length * LINE;

function bar(row: Row, y: number, scale: (value: number) => number, { metric, labels, kindOf }: BarsInput): string {
  const middle = y + LINE / 2;
  const text = middle + 4.5;
  const end = LABELS + scale(row.median);
  const [low, high] = [LABELS + scale(row.lowest), LABELS + scale(row.highest)];
  return (
    `<text x="${LABELS - 8}" y="${text}" text-anchor="end">${escapeXml(labels.get(row.candidate) ?? row.candidate)}</text>` +
    `<rect class="${kindOf(row.candidate)}" x="${LABELS}" y="${middle - BAR / 2}" width="${(end - LABELS).toFixed(1)}" height="${BAR}" rx="2"/>` +
    `<line class="spread" x1="${low.toFixed(1)}" x2="${high.toFixed(1)}" y1="${middle}" y2="${middle}"/>` +
    `<text class="value" x="${(Math.max(end, high) + 8).toFixed(1)}" y="${text}">${formatted(row.median, metric.digits)}</text>`
  );
}

/** A group of SVG elements whose top is at `y`. */
export function bars(input: BarsInput, y: number): string {
  const { metric } = input;
  const most = Math.max(...metric.rows.map(({ highest }) => highest), Number.MIN_VALUE);
  const scale = (value: number) => (Math.max(0, value) / most) * (WIDTH - LABELS - VALUES);
  const lines = metric.rows.map((row, n) => bar(row, y + HEAD + n * LINE, scale, input));
  return `<text class="title" x="0" y="${y + 18}">${escapeXml(heading(metric))}</text>${lines.join('')}`;
}

/** One SVG with these blocks below each other. `style`: with its colours, to stand alone. */
export function barChart(
  inputs: readonly BarsInput[],
  options: { readonly style: boolean; readonly footer?: string },
): string {
  const gap = 18;
  let y = 4;
  const blocks = inputs.map((input) => {
    const drawn = bars(input, y);
    y += barsHeight(input) + gap;
    return drawn;
  });
  if (options.footer !== undefined) {
    blocks.push(`<text x="0" y="${y + 8}" opacity=".7">${escapeXml(options.footer)}</text>`);
    y += 24;
  }
  const height = Math.ceil(y);
  const description = inputs.map(({ metric }) => heading(metric)).join('; ');
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" class="bars" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${escapeXml(description)}">` +
    `${options.style ? `<style>${BAR_STYLE}</style>` : ''}${blocks.join('\n')}</svg>`
  );
}
