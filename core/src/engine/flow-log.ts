/** Flows that begin and end: the last ones are remembered, listeners are told, and the log gets lines as configured. */
import type { FlowRecord } from '../api/flow.ts';
import type { Logger } from '../api/logger.ts';
import type { LogConfiguration } from '../config/model.ts';
import type { DataPlane } from '../dataplane/data-plane.ts';
import type { Events } from './events.ts';
import { FlowOpenings } from './flow-openings.ts';

/** Records that `recent` can give. */
const REMEMBERED = 1024;
/** Log lines about flows per second; what is over it is counted and told as a number. */
const LINES_PER_SECOND = 200;

export class FlowLog {
  readonly #log: Logger;
  readonly #events: Events;
  readonly #openings: FlowOpenings;
  readonly #recent: FlowRecord[] = [];
  #lines: LogConfiguration['flows'];
  #second = 0;
  #written = 0;
  #unlogged = 0;

  /** @param dataPlane asked for flows only after this has returned */
  constructor(log: Logger, events: Events, lines: LogConfiguration['flows'], dataPlane: () => DataPlane) {
    this.#log = log;
    this.#events = events;
    this.#lines = lines;
    this.#openings = new FlowOpenings({
      begun: (known, living) => dataPlane().flowsBegun(known, living),
      collect: () => dataPlane().collectRecords(),
      wanted: () => this.#lines === 'all' || this.#events.has('flow-opened'),
      opened: (record) => this.#opened(record),
    });
  }

  /** Which flows get lines from now on. */
  set lines(value: LogConfiguration['flows']) {
    this.#lines = value;
    this.#openings.watch();
  }

  /** Looks for flows that begin, if anybody wants to know; again when somebody has come to want it. */
  watch(): void {
    this.#openings.watch();
  }

  close(): void {
    this.#openings.close();
  }

  ended(record: FlowRecord): void {
    this.#openings.ending(record);
    if (this.#recent.length >= REMEMBERED) this.#recent.shift();
    this.#recent.push(record);
    this.#events.emit('flow-closed', record);
    if (this.#lines !== 'off') this.#write(record, `flow ${record.outcome}`);
  }

  recent(limit: number): readonly FlowRecord[] {
    return this.#recent.slice(-limit);
  }

  #opened(record: FlowRecord): void {
    this.#events.emit('flow-opened', record);
    if (this.#lines === 'all') this.#write(record, 'flow opened');
  }

  #write(record: FlowRecord, message: string): void {
    const second = Math.floor(Date.now() / 1000);
    if (second !== this.#second) {
      if (this.#unlogged > 0)
        this.#log.info({ lines: this.#unlogged }, 'flows began or ended without a line of their own');
      this.#second = second;
      this.#written = 0;
      this.#unlogged = 0;
    }
    if (++this.#written > LINES_PER_SECOND) {
      this.#unlogged++;
      return;
    }
    this.#log.info({ flow: record }, message);
  }
}
