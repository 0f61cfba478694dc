/**
 * SYNs that wait until their upstream has been dialled (api/held-flows.ts of core): the first packet of each flow is kept
 * as it came, and goes on, or is refused, when the answer has come. Bounded: a SYN that finds no place is dropped, as by a
 * busy server, and its client tries again.
 */
import { HELD_DIALLED, HELD_ENDED, HeldAnswer, HeldTable } from '@weir/core/api';
import type { NatFlows } from './nat-flows.ts';

/** Bytes of a SYN with its virtio_net_hdr; one that brings more data comes again without. */
const ROOM = 2048;

const NONE = 0;
/** The packet is kept. */
const WAITS = 1;
/** The packet has gone on; the place ends when its connection is accepted. */
const GONE_ON = 2;
/** Nobody waits any more; the place is not free yet. */
const GIVEN_UP = 3;

/**
 * Tenths of a second. A client repeats its SYN after 1, 3, 7 … seconds (RFC 6298, tcp(7) tcp_syn_retries): one that has
 * been silent for longer than it takes is gone.
 */
const SILENCE = 40;

export interface HeldSynsSetup {
  readonly flows: NatFlows;
  /** See api/held-flows.ts of core. */
  readonly table: SharedArrayBuffer;
  /** Where packets stand when they are looked at. */
  readonly buffer: Uint8Array;
  /** Writes an eventfd. */
  readonly wake: (fd: number) => void;
}

export class HeldSyns {
  readonly #flows: NatFlows;
  readonly #table: HeldTable;
  readonly #buffer: Uint8Array;
  readonly #wake: (fd: number) => void;
  readonly #stage: Uint8Array;
  readonly #since: Uint32Array;
  readonly #seen: Uint32Array;
  readonly #lengths: Uint16Array;
  readonly #syns: Uint8Array;

  constructor({ flows, table, buffer, wake }: HeldSynsSetup) {
    this.#flows = flows;
    this.#table = new HeldTable(table);
    this.#buffer = buffer;
    this.#wake = wake;
    const { capacity } = this.#table;
    this.#stage = new Uint8Array(capacity);
    this.#since = new Uint32Array(capacity);
    this.#seen = new Uint32Array(capacity);
    this.#lengths = new Uint16Array(capacity);
    this.#syns = new Uint8Array(capacity * ROOM);
  }

  /**
   * Keeps the SYN that stands in the buffer, and has its upstream dialled.
   * @param length with its virtio_net_hdr.
   * @returns false when there is no place for it.
   */
  hold(entry: number, length: number, now: number): boolean {
    if (length > ROOM) return false;
    const place = this.#table.ask(entry);
    if (place < 0) return false;
    this.#stage[place] = WAITS;
    this.#since[place] = now;
    this.#seen[place] = now;
    this.#lengths[place] = length;
    this.#syns.set(this.#buffer.subarray(0, length), place * ROOM);
    this.#flows.hold(entry, place);
    this.#wake(this.#table.workerWake(place));
    return true;
  }

  /** Whether the flow of a place has not been let through yet. */
  waits(place: number): boolean {
    return this.#stage[place] === WAITS;
  }

  /** The SYN of a place came again. */
  again(place: number, now: number): void {
    this.#seen[place] = now;
  }

  /** The client does not want its connection any more; its dial is ended. */
  cancel(place: number): void {
    this.#flows.letGo(this.#table.entry(place), place);
    const worker = this.#table.workerWake(place);
    this.#stage[place] = this.#table.giveUp(place) ? NONE : GIVEN_UP;
    this.#wake(worker);
  }

  /**
   * Looks for answers.
   * @param act is told each whose SYN waits, with the SYN in the buffer.
   */
  look(act: (entry: number, answer: HeldAnswer | 'let through', length: number) => void): void {
    const { high } = this.#table;
    for (let place = 0; place < high; place++) {
      const stage = this.#stage[place];
      if (stage === NONE) continue;
      const state = this.#table.state(place);
      const entry = this.#table.entry(place);
      if (state === HELD_DIALLED && stage === WAITS) {
        this.#stage[place] = GONE_ON;
        act(entry, 'let through', this.#load(place));
      } else if (state === HELD_ENDED) {
        const answer = this.#table.answer(place);
        this.#stage[place] = NONE;
        this.#flows.letGo(entry, place);
        const length = this.#load(place);
        this.#table.release(place);
        if (stage === WAITS) act(entry, answer, length);
      }
    }
  }

  /**
   * Ends the dials whose clients have gone silent.
   * @param gone is told the entry of each.
   */
  sweep(now: number, gone: (entry: number) => void): void {
    const { high } = this.#table;
    for (let place = 0; place < high; place++) {
      if (this.#stage[place] !== WAITS) continue;
      const [since, seen] = [this.#since[place] as number, this.#seen[place] as number];
      if (now - seen < SILENCE + 2 * (seen - since)) continue;
      const entry = this.#table.entry(place);
      this.cancel(place);
      gone(entry);
    }
  }

  #load(place: number): number {
    const length = this.#lengths[place] as number;
    this.#buffer.set(this.#syns.subarray(place * ROOM, place * ROOM + length));
    return length;
  }
}
