/** The result of `--scale`: what something costs against how much of it there is. */
import type { Machine } from './machine.ts';

export interface Point {
  readonly x: number;
  /** Medians by column; what could not be measured is absent. */
  readonly values: Readonly<Record<string, number>>;
}

export interface Series {
  readonly id: 'flows' | 'services' | 'workers' | 'datagrams' | 'requests';
  readonly title: string;
  /** What `x` counts. */
  readonly axis: string;
  readonly columns: ReadonlyArray<{ readonly id: string; readonly label: string; readonly digits: number }>;
  readonly points: readonly Point[];
}

export interface ScaleResult {
  readonly format: 'scale';
  readonly startedAt: string;
  readonly seconds: number;
  readonly arguments: { readonly rounds: number; readonly secondsPerMeasurement: number };
  readonly machine: Machine;
  readonly series: readonly Series[];
  readonly leftOut: readonly string[];
  readonly failures: readonly string[];
}
