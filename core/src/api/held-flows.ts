/**
 * The table by which a mechanism that sees packets has a flow's upstream dialled before the flow may connect: it holds
 * the flow's first packet, announces the flow here, and lets the packet through, or refuses it, when the answer has come.
 * The client then sees what it would have seen without Weir. One table per capture point, beside its NAT table
 * (nat-table.ts), in shared memory; the two sides wake each other by an eventfd.
 *
 *   head   version · capacity · one more than the highest place ever used · eventfd of the mechanism · workers ·
 *          64 words: the eventfd of each worker
 *   place  state · entry of the NAT table · worker · slot · generation of the slot · answer
 *
 *              ask            (worker)            (worker)          accepted, or over          release
 *   FREE ───────────► ASKED ───────────► DIALLING ──────► DIALLED ───────────────► ENDED ───────────► FREE
 *                       │ giveUp            │ giveUp         │ giveUp                ▲
 *                       └─► FREE            └────────────────┴────────► GIVEN_UP ────┘
 *
 * What a mechanism does for a new flow: it writes the flow's entry of the NAT table, calls `ask`, writes `workerWake` of
 * the place, and keeps the packet. Woken by its own eventfd it looks at the places it has asked: DIALLED, it lets the
 * packet through, and the data plane joins the connection that is accepted to the upstream that stands; ENDED, it does
 * what `answer` says and releases the place. A place that was DIALLED ends later by itself: taken when its connection was
 * accepted, or given up when that did not come.
 */

export const HELD_TABLE_VERSION = 1;

/** Workers that can be asked; a place is asked of the worker of its number, modulo how many there are. */
const MOST_WORKERS = 64;

// Words of the head.
const VERSION = 0;
const CAPACITY = 1;
const HIGH = 2;
const MECHANISM_WAKE = 3;
const WORKERS = 4;
const WORKER_WAKES = 8;
const HEAD = WORKER_WAKES + MOST_WORKERS;

// Words of a place.
const PLACE = 8;
const STATE = 0;
const ENTRY = 1;
const WORKER = 2;
const SLOT = 3;
const GENERATION = 4;
const ANSWER = 5;

// States of a place.
export const HELD_FREE = 0;
export const HELD_ASKED = 1;
export const HELD_DIALLING = 2;
export const HELD_DIALLED = 3;
export const HELD_ENDED = 4;
export const HELD_GIVEN_UP = 5;

/** How a place has ended. */
export const HeldAnswer = {
  /** Its connection was accepted, or it was given up: there is nothing to do. */
  taken: 0,
  /** Let it connect: its upstream can only be dialled then. */
  connect: 1,
  /** Refuse it as a closed port does: RST. */
  refused: 2,
  /** ICMP: no route to the network. */
  networkUnreachable: 3,
  /** ICMP: the host does not answer, or cannot be reached. */
  hostUnreachable: 4,
  /** Say nothing. */
  silence: 5,
  /** A worker was lost: the client asks again by itself. */
  lost: 6,
} as const;
export type HeldAnswer = (typeof HeldAnswer)[keyof typeof HeldAnswer];

/**
 * An empty table.
 * @param capacity flows that may be held at once.
 */
export function createHeldTable(capacity: number): SharedArrayBuffer {
  const table = new SharedArrayBuffer(4 * (HEAD + PLACE * capacity));
  const head = new Int32Array(table, 0, HEAD);
  head[VERSION] = HELD_TABLE_VERSION;
  head[CAPACITY] = capacity;
  head[MECHANISM_WAKE] = -1;
  return table;
}

/** One view of a table; make one per thread. What only one side may call says so. */
export class HeldTable {
  readonly capacity: number;
  readonly #words: Int32Array;
  /** Of the mechanism: places that are free, the next one last. */
  readonly #free: number[] = [];

  /** @throws TypeError for memory that createHeldTable did not make. */
  constructor(table: SharedArrayBuffer) {
    this.#words = new Int32Array(table);
    this.capacity = this.#words[CAPACITY] ?? 0;
    if (this.#words[VERSION] !== HELD_TABLE_VERSION || this.#words.length !== HEAD + PLACE * this.capacity) {
      throw new TypeError(`${this.#words.length} words are no table of held flows; make it with createHeldTable.`);
    }
  }

  /** One more than the highest place that was ever used. */
  get high(): number {
    return Atomics.load(this.#words, HIGH);
  }

  /** The mechanism's eventfd; -1 until it has said which. */
  get wake(): number {
    return Atomics.load(this.#words, MECHANISM_WAKE);
  }

  /** Mechanism: what the data plane writes when there is an answer. The descriptor stays the mechanism's. */
  set wake(fd: number) {
    Atomics.store(this.#words, MECHANISM_WAKE, fd);
  }

  /** Data plane: the eventfd of each worker. At most 64 are asked. */
  set workers(wakes: readonly number[]) {
    const asked = wakes.slice(0, MOST_WORKERS);
    this.#words.set(asked, WORKER_WAKES);
    Atomics.store(this.#words, WORKERS, asked.length);
  }

  state(place: number): number {
    return Atomics.load(this.#words, HEAD + PLACE * place + STATE);
  }

  /** The flow's entry of the NAT table. */
  entry(place: number): number {
    return this.#words[HEAD + PLACE * place + ENTRY] as number;
  }

  worker(place: number): number {
    return this.#words[HEAD + PLACE * place + WORKER] as number;
  }

  slot(place: number): number {
    return this.#words[HEAD + PLACE * place + SLOT] as number;
  }

  generation(place: number): number {
    return this.#words[HEAD + PLACE * place + GENERATION] as number;
  }

  /** Of a place that has ended. */
  answer(place: number): HeldAnswer {
    return this.#words[HEAD + PLACE * place + ANSWER] as HeldAnswer;
  }

  /**
   * Mechanism: announces a flow whose entry of the NAT table is written. Write `workerWake` of the place afterwards.
   * @returns the place; -1 when all are in use, or no worker listens yet.
   */
  ask(entry: number): number {
    const workers = Atomics.load(this.#words, WORKERS);
    if (workers === 0) return -1;
    const place = this.#free.pop() ?? this.#fresh();
    if (place < 0) return -1;
    const at = HEAD + PLACE * place;
    this.#words[at + ENTRY] = entry;
    this.#words[at + WORKER] = place % workers;
    Atomics.store(this.#words, at + STATE, HELD_ASKED);
    return place;
  }

  /** The eventfd of the worker that a place is asked of. */
  workerWake(place: number): number {
    return this.#words[WORKER_WAKES + this.worker(place)] as number;
  }

  /**
   * Mechanism: nobody waits for this flow any more. Write `workerWake` afterwards.
   * @returns whether the place is free again at once; else it ends, and is then to be released.
   */
  giveUp(place: number): boolean {
    if (this.#moves(place, HELD_ASKED, HELD_FREE)) {
      this.#free.push(place);
      return true;
    }
    if (!this.#moves(place, HELD_DIALLING, HELD_GIVEN_UP)) this.#moves(place, HELD_DIALLED, HELD_GIVEN_UP);
    return false;
  }

  /** Mechanism: a place that has ended may be used for another flow. */
  release(place: number): void {
    if (this.#moves(place, HELD_ENDED, HELD_FREE)) this.#free.push(place);
  }

  /** Worker: dials for the place in that slot. False when it was given up meanwhile. */
  dialling(place: number, slot: number, generation: number): boolean {
    const at = HEAD + PLACE * place;
    this.#words[at + SLOT] = slot;
    this.#words[at + GENERATION] = generation;
    return this.#moves(place, HELD_ASKED, HELD_DIALLING);
  }

  /** Worker: the upstream stands. False when it was given up meanwhile. */
  dialled(place: number): boolean {
    this.#words[HEAD + PLACE * place + ANSWER] = HeldAnswer.taken;
    return this.#moves(place, HELD_DIALLING, HELD_DIALLED);
  }

  /** Data plane: the connection of this place was accepted. False when its upstream is gone, or there never was one. */
  take(place: number): boolean {
    return this.#moves(place, HELD_DIALLED, HELD_ENDED);
  }

  /** Worker: there will be no more of a place that it dials for. Harmless when that has ended. */
  end(place: number, answer: HeldAnswer): void {
    // Later its packet has gone on, and nobody asks how it ended.
    if (this.state(place) === HELD_DIALLING) this.#words[HEAD + PLACE * place + ANSWER] = answer;
    for (const from of [HELD_DIALLING, HELD_DIALLED, HELD_GIVEN_UP]) {
      if (this.#moves(place, from, HELD_ENDED)) return;
    }
  }

  #fresh(): number {
    const high = this.high;
    if (high >= this.capacity) return -1;
    Atomics.store(this.#words, HIGH, high + 1);
    return high;
  }

  #moves(place: number, from: number, to: number): boolean {
    return Atomics.compareExchange(this.#words, HEAD + PLACE * place + STATE, from, to) === from;
  }
}
