/**
 * Flows in the hands of the stream worker, as control sees them. Their slots are the splice worker's; when that one dies
 * they live on without it, and their records end here.
 */
import type { FlowOutcome, FlowRecord } from '../api/flow.ts';
import { closeWithReset } from '../sys/sockets.ts';
import type { StreamedFlow } from './data-plane-host.ts';
import {
  ACTIVE_AT,
  BYTES_DOWN,
  BYTES_UP,
  F64,
  I32,
  NAME,
  OUTCOME,
  outcomeCode,
  RELAY,
  RELAY_STREAM,
  SERVICE,
  STATE,
  STREAMING,
  type FlowSlab,
} from './flow-slab.ts';
import { flowId, recordOf, type RecordTexts } from './flow-records.ts';
import type { FromWorker } from './messages.ts';
import type { ServiceTotals } from './service-totals.ts';
import type { WorkerHandle } from './worker-handle.ts';

interface Handed {
  readonly worker: WorkerHandle;
  readonly epoch: number;
  readonly slab: FlowSlab;
  readonly slot: number;
  readonly generation: number;
  /** What it ends with when the worker never reads that it was given back. */
  givenBack?: FlowOutcome;
}

export class StreamedFlows {
  readonly #texts: RecordTexts;
  readonly #ended: (record: FlowRecord) => void;
  /** Which flow of each slot was handed over last; it stays until the next, so there are at most as many as slots. */
  readonly #handed = new Map<WorkerHandle, Map<number, Handed>>();
  /** Those that outlived their splice worker. Nobody else writes to their slots. */
  readonly #orphans = new Set<Handed>();
  #ends = 0;
  /** What those that have ended carried, by service; at most as many as there are services. */
  readonly #endedBytes = new Map<number, { readonly bytesUp: number; readonly bytesDown: number }>();

  constructor(texts: RecordTexts, ended: (record: FlowRecord) => void) {
    this.#texts = texts;
    this.#ended = ended;
  }

  /** Of a flow that a worker hands over just now. */
  take(worker: WorkerHandle, message: Extract<FromWorker, { type: 'stream' }>): StreamedFlow {
    const { slot, generation, fd, dialer, target } = message;
    const { slab, epoch } = worker;
    const handed: Handed = { worker, epoch, slab, slot, generation };
    const ofWorker = this.#handed.get(worker) ?? new Map<number, Handed>();
    this.#handed.set(worker, ofWorker.set(slot, handed));
    return {
      fd,
      dialer,
      ...(target === undefined ? {} : { target }),
      record: this.#record(handed, Date.now()),
      finish: (outcome) => {
        if (this.#orphans.has(handed)) this.#end(handed, outcome);
        else {
          handed.givenBack = outcome;
          worker.post({ type: 'returned', slot, generation, outcome: outcomeCode(outcome) });
        }
      },
      adopt: (clientFd, upstreamFd, early) => {
        if (this.#orphans.has(handed)) {
          // Its slot is gone: nobody could relay it.
          closeWithReset(clientFd);
          closeWithReset(upstreamFd);
          this.#end(handed, 'worker-died');
          return;
        }
        handed.givenBack = 'worker-died';
        const fds = { clientFd, upstreamFd };
        worker.post({ type: 'adopt', slot, generation, ...fds, ...(early === undefined ? {} : { early }) });
      },
      count: (bytesUp, bytesDown) => {
        // The slot is the stream worker's while the flow is in its hands.
        slab.i32[slot * I32 + RELAY] = RELAY_STREAM;
        slab.f64[slot * F64 + BYTES_UP] = bytesUp;
        slab.f64[slot * F64 + BYTES_DOWN] = bytesDown;
      },
    };
  }

  /** The worker is gone: what it left streaming lives on or, where it was given back in vain, ends. */
  orphan(worker: WorkerHandle): void {
    const left = this.#handed.get(worker)?.values() ?? [];
    this.#handed.delete(worker);
    for (const handed of left) {
      const { slab, slot, generation, givenBack } = handed;
      if (slab.generation(slot) !== generation || slab.i32[slot * I32 + STATE] !== STREAMING) continue;
      if (givenBack === undefined) this.#orphans.add(handed);
      else this.#end(handed, givenBack);
    }
  }

  /** How many have outlived their worker; workers' slabs do not have them. */
  get orphans(): number {
    return this.#orphans.size;
  }

  /** How many of those have ended; workers' counters do not have them. */
  get ended(): number {
    return this.#ends;
  }

  /** Ids of those flows, each with what makes its record. */
  *living(): Iterable<readonly [id: string, record: () => FlowRecord]> {
    for (const handed of this.#orphans) {
      const { worker, epoch, slot, generation } = handed;
      yield [flowId(worker.settings.index, epoch, slot, generation), () => this.#record(handed, Date.now())];
    }
  }

  /** Numbers of the names that those flows were made to. */
  names(): number[] {
    return [...this.#orphans].flatMap(({ slab, slot }) => {
      const name = slab.i32[slot * I32 + NAME] as number;
      return name === 0 ? [] : [name - 1];
    });
  }

  /** The original destinations of those that were made to the name with that number. */
  destinations(name: number): string[] {
    return [...this.#orphans].flatMap(({ slab, slot }) =>
      slab.i32[slot * I32 + NAME] === name + 1 ? [slab.destination(slot)] : [],
    );
  }

  /** Adds what workers' counters do not have: living flows without a worker, and bytes of those that ended without one. */
  addTo(totals: ServiceTotals): void {
    for (const { slab, slot } of this.#orphans) totals.addLiving(slab, slot, 1);
    for (const [service, bytes] of this.#endedBytes) totals.add(service, { active: 0, total: 0, ...bytes });
  }

  #end(handed: Handed, outcome: FlowOutcome): void {
    const { slab, slot } = handed;
    const now = Date.now();
    this.#orphans.delete(handed);
    this.#ends++;
    // Not in the shared counters: the next worker writes to those.
    const service = slab.i32[slot * I32 + SERVICE] as number;
    const before = this.#endedBytes.get(service) ?? { bytesUp: 0, bytesDown: 0 };
    this.#endedBytes.set(service, {
      bytesUp: before.bytesUp + (slab.f64[slot * F64 + BYTES_UP] as number),
      bytesDown: before.bytesDown + (slab.f64[slot * F64 + BYTES_DOWN] as number),
    });
    slab.i32[slot * I32 + OUTCOME] = outcomeCode(outcome);
    slab.f64[slot * F64 + ACTIVE_AT] = now;
    this.#ended(this.#record(handed, now));
  }

  #record({ worker, epoch, slab, slot }: Handed, until: number): FlowRecord {
    return recordOf(slab.snapshot(slot), until, worker.settings.index, epoch, this.#texts);
  }
}
