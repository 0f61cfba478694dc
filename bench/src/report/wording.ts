/** Numbers and names as every report shows them. */
import type { BenchmarkResult, MetricResult } from '../result.ts';
import { targetOutcomes, type CheckOutcome } from '../targets.ts';

export const formatted = (value: number, digits: number): string =>
  value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });

/** Labels of candidates by id. */
export const labelsOf = (result: BenchmarkResult): ReadonlyMap<string, string> =>
  new Map(result.candidates.map(({ id, label }) => [id, label]));

/** Metrics that have a row. */
export const shownMetrics = (result: BenchmarkResult): readonly MetricResult[] =>
  result.metrics.filter(({ rows }) => rows.length > 0);

export const heading = ({ label, unit, better }: MetricResult): string => `${label} (${unit}, ${better} is better)`;

export function machineLine({ machine, arguments: args, startedAt }: BenchmarkResult): string {
  return (
    `${startedAt.slice(0, 10)}; ${machine.processors} × ${machine.cpu}, ${machine.memoryGib} GiB, ${machine.virtualisation}; ` +
    `kernel ${machine.kernel}, ${machine.distribution}, Node ${machine.node}; load before ${machine.loadBefore.toFixed(1)}; ` +
    `commit ${machine.commit}; ${args.rounds} round${args.rounds === 1 ? '' : 's'} of ${args.secondsPerMeasurement} s, seed ${args.seed}`
  );
}

/** Load above which others take processor time that a measurement needs. */
const QUIET = 0.5;

/** What a reader has to know before any number: what was left out, what failed, what was proven. */
export function notesOf(result: BenchmarkResult): readonly string[] {
  const { loadBefore } = result.machine;
  return [
    ...(loadBefore > QUIET
      ? [
          `others worked on this machine (load ${loadBefore.toFixed(1)} before): read the ratios, and repeat it where it is quiet`,
        ]
      : []),
    ...result.candidates.flatMap(({ label, leftOut }) =>
      leftOut === undefined ? [] : [`${label} is left out: ${leftOut}`],
    ),
    ...(result.candidates.some(({ kind, leftOut }) => kind === 'peer' && leftOut === undefined)
      ? []
      : ['no other program took part: there is nothing to compare with but what is not intercepted']),
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
}

export interface TargetLine {
  readonly target: string;
  /** What is measured of whom, against whom. */
  readonly what: string;
  readonly wanted: string;
  readonly measured: string;
  readonly outcome: CheckOutcome['outcome'];
}

/** A line for every check of every target of which anything was measured. */
export function targetLines(result: BenchmarkResult): readonly TargetLine[] {
  const labels = labelsOf(result);
  const metrics = new Map(result.metrics.map((metric) => [metric.id, metric]));
  const name = (id: string) => labels.get(id) ?? id;
  return targetOutcomes(result)
    .filter(({ checks }) => checks.some(({ outcome }) => outcome !== 'not measured'))
    .flatMap(({ label, checks }) =>
      checks.map((check) => {
        const metric = metrics.get(check.metric);
        const times = check.against === undefined ? '' : ' ×';
        const show = (value: number) =>
          check.against === undefined ? formatted(value, metric?.digits ?? 0) : value.toFixed(2);
        return {
          target: label,
          what: `${metric?.label ?? check.metric}: ${name(check.of)}${check.against === undefined ? '' : ` ÷ ${name(check.against)}`}`,
          wanted: `${check.relation} ${check.bound}${times}`,
          measured: check.value === undefined ? '–' : `${show(check.value)}${times}`,
          outcome: check.outcome,
        };
      }),
    );
}
