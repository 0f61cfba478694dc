/** The run itself: candidates in their hosts, warm-up, interleaved rounds, path proof, clean-up check. */
import type { TestNetwork } from '@weir/core/testing';
import type { BenchArguments } from './arguments.ts';
import type { Candidate, RunningCandidate, Task } from './candidate.ts';
import type { Load, Stage } from './load.ts';
import { machineFacts } from './machine.ts';
import { provePath } from './path-proof.ts';
import { Readings, type BenchmarkResult, type CandidateResult } from './result.ts';
import { setScene, type Scene } from './scene.ts';
import { randomFrom, shuffled } from './statistics.ts';

/** A candidate that takes part. */
interface Entrant {
  readonly candidate: Candidate;
  readonly running: RunningCandidate;
  readonly task: Task;
  readonly spare: Task;
  /** State of the client host before anything of the candidate was in it. */
  readonly before: string;
  spliced?: boolean;
}

export interface Progress {
  say(text: string): void;
  /** When the run as a whole began; Date.now(). */
  readonly began: number;
}

/** The second row of what is not intercepted: after the candidates of each measure. */
export const AFTER = 'direct-after';
/** What stopping everything takes at the end. Milliseconds. */
const LEAVING_MS = 10_000;

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

export class Measurement {
  readonly #scene: Scene;
  readonly #arguments: BenchArguments;
  readonly #progress: Progress;
  readonly #readings = new Readings();
  readonly #failures: string[] = [];
  readonly #leftOut: string[] = [];
  #rounds = 0;
  readonly #entrants: Entrant[] = [];
  readonly #results = new Map<string, CandidateResult>();

  private constructor(scene: Scene, args: BenchArguments, progress: Progress) {
    this.#scene = scene;
    this.#arguments = args;
    this.#progress = progress;
  }

  /** @throws Error when the hosts cannot be made; what a candidate or a load does wrong is part of the result. */
  static async run(
    net: TestNetwork,
    candidates: readonly Candidate[],
    loads: readonly Load[],
    args: BenchArguments,
    progress: Progress,
  ): Promise<BenchmarkResult> {
    const { began } = progress;
    const machine = machineFacts();
    const measurement = new Measurement(await setScene(net), args, progress);
    const possible = loads.filter((load) => load.missing() === undefined);
    if (possible.length > 0) for (const candidate of candidates) await measurement.#enter(candidate);
    if (possible.length > 0) await measurement.#measure(possible);
    for (const entrant of measurement.#entrants) await measurement.#leave(entrant);
    const ids = candidates.flatMap(({ id, kind }) => (kind === 'none' ? [id, AFTER] : [id]));
    return {
      format: 1,
      startedAt: new Date(began).toISOString(),
      seconds: Math.round((Date.now() - began) / 1000),
      arguments: {
        seed: args.seed,
        rounds: measurement.#rounds,
        secondsPerMeasurement: args.seconds,
        quick: args.quick,
      },
      machine,
      candidates: ids.flatMap((id) => measurement.#results.get(id) ?? []),
      metrics: possible.flatMap((load) =>
        load.metrics.map((metric) => ({ ...metric, rows: measurement.#readings.rows(metric.id, ids) })),
      ),
      leftOut: [
        ...measurement.#leftOut,
        ...loads.flatMap((load) => {
          const missing = load.missing();
          return missing === undefined ? [] : [`${load.id} is not measured: ${missing}`];
        }),
      ],
      failures: measurement.#failures,
    };
  }

  async #enter(candidate: Candidate): Promise<void> {
    const base = { id: candidate.id, label: candidate.label, kind: candidate.kind };
    const missing = candidate.missing();
    if (missing !== undefined) {
      this.#results.set(candidate.id, { ...base, version: 'not here', leftOut: missing });
      this.#progress.say(`${candidate.label} is left out: ${missing}`);
      return;
    }
    const task = await this.#scene.client(candidate.id);
    const spare = await this.#scene.client(`${candidate.id}-spare`);
    const before = await task.client.state();
    const version = candidate.version();
    try {
      await candidate.prepare(task);
      const running = await candidate.start(task);
      this.#entrants.push({ candidate, running, task, spare, before });
      this.#results.set(candidate.id, { ...base, version });
      if (candidate.kind === 'none') {
        this.#results.set(AFTER, { ...base, id: AFTER, label: `${candidate.label}, after`, version });
      }
    } catch (error) {
      this.#results.set(candidate.id, { ...base, version, leftOut: messageOf(error) });
      this.#progress.say(`${candidate.label} is left out: ${messageOf(error)}`);
    }
  }

  async #measure(loads: readonly Load[]): Promise<void> {
    const { seed, rounds, minutes } = this.#arguments;
    const random = randomFrom(seed);
    let longest = 0;
    // Round 0 is the warm-up: caches, compiled code, grown buffers. Its readings do not count, its failures do.
    for (let round = 0; round <= rounds; round++) {
      const begun = Date.now();
      if (round > 1 && begun + longest > this.#progress.began + minutes * 60_000 - LEAVING_MS) {
        this.#leftOut.push(`rounds ${round} to ${rounds}: they would take longer than ${minutes} minutes in all`);
        break;
      }
      this.#progress.say(round === 0 ? 'warm-up' : `round ${round} of ${rounds}`);
      for (const load of shuffled(loads, random)) await this.#takeInTurns(load, round, random);
      if (round > 0) {
        this.#rounds = round;
        longest = Math.max(longest, Date.now() - begun);
      }
    }
  }

  /** Every candidate in random order, between two measurements without any: what has drifted meanwhile shows there. */
  async #takeInTurns(load: Load, round: number, random: () => number): Promise<void> {
    if (load.fresh !== undefined && (round === 0 || round > load.fresh.rounds)) return;
    const able = this.#entrants.filter(({ candidate }) => load.appliesTo(candidate));
    const plain = able.find(({ candidate }) => candidate.kind === 'none');
    if (plain !== undefined) await this.#take(plain, load, round);
    for (const entrant of shuffled(able, random)) if (entrant !== plain) await this.#take(entrant, load, round);
    if (plain !== undefined && round > 0) await this.#take(plain, load, round, AFTER);
  }

  async #take(entrant: Entrant, load: Load, round: number, as = entrant.candidate.id): Promise<void> {
    const { candidate, running, task, spare } = entrant;
    const stage: Stage = {
      candidate,
      running,
      task: candidate.entrance?.(task) ?? task,
      spare,
      serverPids: this.#scene.serverPids,
      seconds: round === 0 ? 1 : this.#arguments.seconds,
    };
    try {
      const before = await running.carried();
      const { values, moved, notes = [] } = await load.run(stage);
      for (const note of notes) if (!this.#leftOut.includes(note)) this.#leftOut.push(note);
      const after = await provePath(candidate.label, before, () => running.carried(), moved);
      if (after?.spliced !== undefined) entrant.spliced = entrant.spliced === true || after.spliced;
      if (round === 0) return;
      for (const [metric, value] of Object.entries(values)) {
        this.#readings.add(metric, as, round, value);
      }
    } catch (error) {
      this.#failures.push(`${load.id} of ${candidate.label}: ${messageOf(error)}`);
    }
  }

  async #leave(entrant: Entrant): Promise<void> {
    const { candidate, running, task, before, spliced } = entrant;
    let hostRestored = false;
    try {
      await running.stop();
      await candidate.unprepare(task);
      hostRestored = (await task.client.state()) === before;
      if (!hostRestored) this.#failures.push(`clean-up of ${candidate.label}: the host is not as it was before`);
    } catch (error) {
      this.#failures.push(`clean-up of ${candidate.label}: ${messageOf(error)}`);
    }
    const result = this.#results.get(candidate.id);
    if (result === undefined) return;
    this.#results.set(candidate.id, { ...result, hostRestored, ...(spliced === undefined ? {} : { spliced }) });
  }
}
