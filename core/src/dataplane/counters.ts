/**
 * What a worker counts, in shared memory: totals by name, and per service. The worker writes, anybody reads. Float64,
 * because totals pass 2^32 and stay exact to 2^53.
 */

/** Totals of a worker, in the order they stand in the buffer. */
export const WORKER_COUNTERS = [
  'accepted',
  'ended',
  'bytesUp',
  'bytesDown',
  'dials',
  'dialRefused',
  'dialTimeout',
  'dialUnreachable',
  'dialUnresolved',
  'dialLoop',
  'dialLimit',
  'dialError',
  'clientReset',
  'upstreamReset',
  'idleTimeout',
  'halfClosedTimeout',
  'denied',
  'unmatched',
  'flowLimit',
  'sessionLimit',
  'datagramsUp',
  'datagramsDown',
  'datagramsDropped',
  'datagramsRefused',
  'refusalsSent',
  'refusalsLimited',
  'refusalsFailed',
  'heldDials',
  'datagramsMalformed',
  'datagramRunsUp',
  'datagramRunsDown',
  'descriptorLimit',
  'pipeLimit',
  'resolveLimit',
  'wakeups',
  'events',
] as const;

export type WorkerCounter = (typeof WORKER_COUNTERS)[number];

/** Places by name: `at.accepted` is where `accepted` stands. */
export const at = Object.fromEntries(WORKER_COUNTERS.map((name, index) => [name, index])) as Readonly<
  Record<WorkerCounter, number>
>;

// Fields of one service.
export const SERVICE_ACTIVE = 0;
export const SERVICE_TOTAL = 1;
export const SERVICE_BYTES_UP = 2;
export const SERVICE_BYTES_DOWN = 3;
export const SERVICE_FIELDS = 4;

export interface CountersData {
  readonly totals: SharedArrayBuffer;
  readonly services: SharedArrayBuffer;
}

/** One view of a worker's counters. */
export class Counters {
  readonly totals: Float64Array;
  readonly services: Float64Array;

  constructor(data: CountersData) {
    this.totals = new Float64Array(data.totals);
    this.services = new Float64Array(data.services);
  }

  /** Room for service ids below `services`. */
  static allocate(services: number): CountersData {
    return {
      totals: new SharedArrayBuffer(WORKER_COUNTERS.length * 8),
      services: new SharedArrayBuffer(services * SERVICE_FIELDS * 8),
    };
  }

  readTotals(): Readonly<Record<WorkerCounter, number>> {
    return Object.fromEntries(WORKER_COUNTERS.map((name, index) => [name, this.totals[index] ?? 0])) as Record<
      WorkerCounter,
      number
    >;
  }
}
