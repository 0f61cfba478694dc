/**
 * The one place through which the host is changed. Every change is written to the journal and flushed before it is made,
 * and undone in reverse order. The journal lists containers (a table, a rule, a file), not what is inside them.
 *
 * For tests, WEIR_KILL_AT=n ends the process by SIGKILL at the n-th step and WEIR_FAIL_AT=n makes the n-th step throw; a
 * change has three steps (before the journal entry, before `do`, after `do`), an undo two. `steps` counts them.
 */
import { closeSync, existsSync, fdatasyncSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { HostChangeError, WeirError } from '../api/errors.ts';
import type { HostChange, HostChanges } from '../api/host.ts';
import type { Logger } from '../api/logger.ts';

/** One line of the journal. */
interface JournalEntry {
  readonly op: 'begin' | 'done' | 'undone';
  readonly id: string;
  readonly describe?: string;
  readonly data?: unknown;
}

/** A change that a dead process had begun and not undone. */
export interface Leftover {
  readonly id: string;
  readonly describe: string;
  readonly data?: unknown;
}

function stepFromEnvironment(name: string): number {
  const text = process.env[name];
  return text === undefined ? 0 : Number(text);
}

/** The journal of one owner and the changes of this run. Not safe for concurrent `change` calls; the engine makes none. */
export class HostChangeJournal implements HostChanges {
  readonly #path: string;
  readonly #log: Logger;
  readonly #made: HostChange[] = [];
  readonly #killAt = stepFromEnvironment('WEIR_KILL_AT');
  readonly #failAt = stepFromEnvironment('WEIR_FAIL_AT');
  #fd = -1;
  #steps = 0;

  constructor(path: string, log: Logger) {
    this.#path = path;
    this.#log = log;
  }

  /** Steps taken so far; see the file comment. */
  get steps(): number {
    return this.#steps;
  }

  /** Changes that are made now, oldest first. */
  get made(): ReadonlyArray<{ readonly id: string; readonly describe: string }> {
    return this.#made;
  }

  async change(change: HostChange): Promise<void> {
    let failure: unknown;
    try {
      this.#step();
      this.#write({ op: 'begin', id: change.id, describe: change.describe, data: change.undoData });
      this.#made.push(change);
      this.#step();
      await change.do();
      this.#step();
      this.#write({ op: 'done', id: change.id });
      this.#log.debug({ change: change.id }, change.describe);
      return;
    } catch (error) {
      failure = error;
    }
    if (this.#made.includes(change)) await this.undo(change.id);
    if (failure instanceof WeirError) throw failure;
    throw new HostChangeError({
      problem: `Could not ${change.describe}: ${failure instanceof Error ? failure.message : String(failure)}`,
      remedy: 'Everything that was changed before has been taken back; mend the cause and start again.',
      cause: failure,
    });
  }

  async undo(id: string): Promise<void> {
    const index = this.#made.findLastIndex((change) => change.id === id);
    if (index < 0) return;
    const change = this.#made[index] as HostChange;
    this.#step();
    await change.undo();
    this.#step();
    this.#made.splice(this.#made.indexOf(change), 1);
    this.#write({ op: 'undone', id });
  }

  async undoAll(): Promise<void> {
    const failures: string[] = [];
    let cause: unknown;
    for (const change of this.#made.toReversed()) {
      try {
        await this.undo(change.id);
      } catch (error) {
        cause = error;
        failures.push(`${change.describe}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    if (failures.length > 0) {
      throw new HostChangeError({
        problem: `${failures.length} changes of the host could not be undone: ${failures.join('; ')}.`,
        remedy: 'Run `weir cleanup`.',
        cause,
      });
    }
    this.close();
  }

  /** Closes the journal; removes it when nothing is left to undo. */
  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
    if (this.#made.length === 0) rmSync(this.#path, { force: true });
  }

  #write(entry: JournalEntry): void {
    if (this.#fd < 0) this.#fd = openSync(this.#path, 'a', 0o600);
    writeSync(this.#fd, `${JSON.stringify(entry)}\n`);
    fdatasyncSync(this.#fd);
  }

  #step(): void {
    this.#steps++;
    if (this.#steps === this.#killAt) process.kill(process.pid, 'SIGKILL');
    if (this.#steps === this.#failAt) {
      throw new HostChangeError({
        problem: `A failure was injected at step ${this.#steps}.`,
        remedy: 'Unset WEIR_FAIL_AT.',
      });
    }
  }
}

/** What the journal of a dead process lists as begun and not undone, newest first. A torn last line is ignored. */
export function readLeftovers(path: string): readonly Leftover[] {
  if (!existsSync(path)) return [];
  const open = new Map<string, Leftover>();
  for (const line of readFileSync(path, 'utf8').split('\n')) {
    if (line === '') continue;
    let entry: JournalEntry;
    try {
      entry = JSON.parse(line) as JournalEntry;
    } catch {
      continue;
    }
    if (entry.op === 'begin') {
      open.set(entry.id, { id: entry.id, describe: entry.describe ?? entry.id, data: entry.data });
    } else if (entry.op === 'undone') open.delete(entry.id);
  }
  return [...open.values()].toReversed();
}
