/** What a micro benchmark is: a function that is called very often, timed in batches, because one call is shorter than a clock tick. */

export interface MicroCase {
  readonly name: string;
  /** Does the thing once. What it returns is kept alive, so that it cannot be optimised away. */
  readonly once: (n: number) => unknown;
}

export interface MicroSuite {
  readonly name: string;
  readonly cases: readonly MicroCase[];
  /** Frees what the suite opened. */
  readonly close?: () => void;
}
