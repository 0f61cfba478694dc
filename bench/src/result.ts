/** The result of a run: what is written as JSON and shown as a table. */
import type { Metric } from './load.ts';
import type { Machine } from './machine.ts';
import { pairedRatio, summarise, type Summary } from './statistics.ts';

export interface CandidateResult {
  readonly id: string;
  readonly label: string;
  readonly kind: 'none' | 'weir' | 'peer';
  readonly version: string;
  /** Why it has no numbers. */
  readonly leftOut?: string;
  /** Whether its host was byte for byte as before when it had stopped; absent when it did not run. */
  readonly hostRestored?: boolean;
  /** Whether bulk really went through splice(2), where the candidate tells. */
  readonly spliced?: boolean;
}

export interface Row extends Summary {
  readonly candidate: string;
  /** By round. */
  readonly values: Readonly<Record<string, number>>;
  /** Median of the ratios within each round, by the id of what it is compared with. */
  readonly ratios: Readonly<Record<string, number>>;
}

export interface MetricResult extends Metric {
  readonly rows: readonly Row[];
}

export interface BenchmarkResult {
  readonly format: 1;
  readonly startedAt: string;
  readonly seconds: number;
  readonly arguments: {
    readonly seed: number;
    readonly rounds: number;
    readonly secondsPerMeasurement: number;
    readonly quick: boolean;
  };
  readonly machine: Machine;
  readonly candidates: readonly CandidateResult[];
  readonly metrics: readonly MetricResult[];
  /** What could not be measured, and why. */
  readonly leftOut: readonly string[];
  /** Measurements that failed; the run as a whole has failed when there is one. */
  readonly failures: readonly string[];
}

/** Values by metric, candidate and round. */
export class Readings {
  readonly #values = new Map<string, Map<string, Map<number, number>>>();

  add(metric: string, candidate: string, round: number, value: number): void {
    let candidates = this.#values.get(metric);
    if (candidates === undefined) this.#values.set(metric, (candidates = new Map()));
    let rounds = candidates.get(candidate);
    if (rounds === undefined) candidates.set(candidate, (rounds = new Map()));
    rounds.set(round, value);
  }

  /** Rows in the order of `candidates`, each compared with every other. */
  rows(metric: string, candidates: readonly string[]): readonly Row[] {
    const measured = this.#values.get(metric) ?? new Map<string, Map<number, number>>();
    return candidates.flatMap((candidate) => {
      const values = measured.get(candidate);
      if (values === undefined) return [];
      const ratios = candidates.flatMap((reference): Array<readonly [string, number]> => {
        const other = measured.get(reference);
        const ratio = other === undefined || reference === candidate ? undefined : pairedRatio(values, other);
        return ratio === undefined ? [] : [[reference, ratio]];
      });
      return [
        {
          candidate,
          ...summarise([...values.values()]),
          values: Object.fromEntries([...values].map(([round, value]) => [String(round), value])),
          ratios: Object.fromEntries(ratios),
        },
      ];
    });
  }
}
