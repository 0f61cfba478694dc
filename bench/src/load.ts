/** What is measured: a load gives one or several readings of a candidate. */
import type { Candidate, RunningCandidate, Task } from './candidate.ts';

export interface Metric {
  readonly id: string;
  readonly label: string;
  readonly unit: string;
  readonly better: 'more' | 'less';
  /** Digits after the point in the table. */
  readonly digits: number;
}

/** What a load works with. */
export interface Stage {
  readonly candidate: Candidate;
  readonly running: RunningCandidate;
  /** With the places where the candidate's clients connect. */
  readonly task: Task;
  /** The same candidate's other host, where it can be started and stopped. */
  readonly spare: Task;
  /** Processes of the server host whose CPU time is the server's. */
  readonly serverPids: readonly number[];
  readonly seconds: number;
}

/** Readings by metric id, and what must have gone through the candidate for them to count. */
export interface Reading {
  readonly values: Readonly<Record<string, number>>;
  /** What the candidate could not do, where the rest counts all the same. */
  readonly notes?: readonly string[];
  /** The least that the candidate must have carried meanwhile. */
  readonly moved: { readonly flows: number; readonly bytes: number };
}

export interface Load {
  readonly id: string;
  /** Part of `--quick`. */
  readonly quick: boolean;
  /** Starts the candidate itself, on the spare host: needs no warm-up, and as many rounds as it says suffice. */
  readonly fresh?: { readonly rounds: number };
  readonly metrics: readonly Metric[];
  /** Why this load cannot be run here; undefined when it can. */
  missing(): string | undefined;
  /** Whether the candidate can be measured by it at all. */
  appliesTo(candidate: Candidate): boolean;
  /** @throws Error when the load generator fails. */
  run(stage: Stage): Promise<Reading>;
}
