/** Ended flows: the last ones are remembered, listeners are told, and the log gets a line for each as configured. */
import type { FlowRecord } from '../api/flow.ts';
import type { Logger } from '../api/logger.ts';

/** Records that `recent` can give. */
const REMEMBERED = 1024;
/** Log lines about flows per second; what is over it is counted and told as a number. */
const LINES_PER_SECOND = 200;

export class FlowLog {
  readonly #log: Logger;
  readonly #recent: FlowRecord[] = [];
  readonly #listeners = new Set<(record: FlowRecord) => void>();
  #enabled: boolean;
  #second = 0;
  #lines = 0;
  #unlogged = 0;

  constructor(log: Logger, enabled: boolean) {
    this.#log = log;
    this.#enabled = enabled;
  }

  set enabled(value: boolean) {
    this.#enabled = value;
  }

  ended(record: FlowRecord): void {
    if (this.#recent.length >= REMEMBERED) this.#recent.shift();
    this.#recent.push(record);
    for (const listener of this.#listeners) listener(record);
    if (this.#enabled) this.#write(record);
  }

  recent(limit: number): readonly FlowRecord[] {
    return this.#recent.slice(-limit);
  }

  subscribe(listener: (record: FlowRecord) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #write(record: FlowRecord): void {
    const second = Math.floor(Date.now() / 1000);
    if (second !== this.#second) {
      if (this.#unlogged > 0) this.#log.info({ flows: this.#unlogged }, 'flows ended without a line of their own');
      this.#second = second;
      this.#lines = 0;
      this.#unlogged = 0;
    }
    if (++this.#lines > LINES_PER_SECOND) {
      this.#unlogged++;
      return;
    }
    this.#log.info({ flow: record }, `flow ${record.outcome}`);
  }
}
