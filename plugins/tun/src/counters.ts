/** What the pump counts, in memory that control reads while it runs. */

export const COUNTERS = [
  /** Packets that were rewritten and went on. */
  'packetsIn',
  'packetsOut',
  /** Packets of others that went on to where they were sent: of connections from before, and new flows while draining. */
  'packetsPassed',
  /** Flows that got an entry. */
  'natOpened',
  /** New flows that found no free port and were dropped; the client tries again. */
  'natExhausted',
  /** Packets of connections whose upstream is being dialled: SYNs that wait, and what came again. */
  'packetsHeld',
  /** SYNs that found no place to wait and were dropped; the client tries again. */
  'heldLimit',
  /** SYNs that waited, by what became of them: they went on, were answered by RST or ICMP, or their client went. */
  'heldReleased',
  'heldRefused',
  'heldUnreachable',
  'heldGivenUp',
  /** Answers to packets of TCP connections that nobody knows: RST. */
  'resets',
  /** Packets that were dropped, by reason. */
  'droppedMalformed',
  'droppedProtocol',
  'droppedIcmp',
  'droppedSourceRoute',
  'droppedAuthenticated',
  'droppedExtension',
  'droppedFragment',
  'droppedStray',
  'droppedUnknown',
  'droppedFamily',
  /** Packets among those whose sender was told so by ICMP. */
  'prohibited',
  /** The kernel refused a packet that was written. */
  'writeFailed',
] as const;

export type TunCounter = (typeof COUNTERS)[number];

/** Where each stands. */
export const at = Object.fromEntries(COUNTERS.map((name, index) => [name, index])) as Readonly<
  Record<TunCounter, number>
>;

export class TunCounters {
  readonly memory: SharedArrayBuffer;
  readonly #totals: Float64Array;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(8 * COUNTERS.length)) {
    this.memory = memory;
    this.#totals = new Float64Array(memory);
  }

  count(counter: number): void {
    this.#totals[counter] = (this.#totals[counter] as number) + 1;
  }

  read(): Readonly<Record<TunCounter, number>> {
    return Object.fromEntries(COUNTERS.map((name, index) => [name, this.#totals[index] as number])) as Record<
      TunCounter,
      number
    >;
  }
}
