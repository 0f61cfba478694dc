/** The result of `--scale` as tables, and the model that follows from it. */
import type { ScaleResult, Series } from '../scale-result.ts';
import { markdownTable } from './docs.ts';
import { formatted } from './wording.ts';

function seriesTable({ axis, columns, points }: Series): string {
  return markdownTable(
    [axis, ...columns.map(({ label }) => label)],
    points.map(({ x, values }) => [
      x.toLocaleString('en'),
      ...columns.map(({ id, digits }) => {
        const value = values[id];
        return value === undefined ? '–' : formatted(value, digits);
      }),
    ]),
  );
}

const GIB = 2 ** 30;
const KIB = 1024;

/** What one processor or one GiB carries, by the measured cost of one. */
function model(result: ScaleResult): string {
  const points = (id: Series['id']) => result.series.find((series) => series.id === id)?.points ?? [];
  const many = points('flows').at(-1);
  const one = points('workers')[0];
  const rows: Array<readonly string[]> = [];
  const add = (what: string, from: string, value: number, digits = 0) => {
    if (Number.isFinite(value)) rows.push([what, from, formatted(value, digits)]);
  };
  if (many !== undefined) {
    const user = many.values['each'] ?? Number.NaN;
    // Two of the four sockets of a flow are Weir's, the others the client's and the server's.
    const kernel = (many.values['kernel'] ?? Number.NaN) / 2;
    add(
      'idle flows per GiB',
      `${user.toFixed(2)} KiB of the process and ${kernel.toFixed(1)} KiB of the kernel each`,
      GIB / KIB / (user + kernel),
    );
  }
  if (one !== undefined) {
    const bulk = one.values['bulk-down-8-cpu'] ?? Number.NaN;
    const connection = one.values['connections-32-cpu'] ?? Number.NaN;
    const request = one.values['requests-64-cpu'] ?? Number.NaN;
    add('Gbit/s per processor of the worker, bulk', `${bulk.toFixed(3)} s/GiB`, (GIB * 8) / 1e9 / bulk, 1);
    add('new connections per second and processor', `${connection.toFixed(1)} µs each`, 1e6 / connection);
    add('requests of 64 B per second and processor', `${request.toFixed(1)} µs each`, 1e6 / request);
  }
  return markdownTable(['one worker on one processor of this machine', 'measured', 'carries'], rows);
}

/** What each marker of docs/performance.md is replaced with. */
export function scaleParts(result: ScaleResult): Readonly<Record<string, string>> {
  const notes = [
    ...result.leftOut.map((what) => `- Left out: ${what}`),
    ...result.failures.map((failure) => `- FAILED ${failure.split('\n')[0]}`),
  ];
  return {
    scale: [
      `${result.startedAt.slice(0, 10)}; medians of ${result.arguments.rounds} rounds of ${result.arguments.secondsPerMeasurement} s; commit ${result.machine.commit}; load before ${result.machine.loadBefore.toFixed(1)}.`,
      ...result.series.map((series) => `**${series.title}**\n\n${seriesTable(series)}`),
      ...(notes.length === 0 ? [] : [notes.join('\n')]),
    ].join('\n\n'),
    model: model(result),
  };
}

/** The same for a terminal. */
export function scaleTable(result: ScaleResult): string {
  const { scale = '', model: carried = '' } = scaleParts(result);
  return `${scale}\n\n${carried}`;
}
