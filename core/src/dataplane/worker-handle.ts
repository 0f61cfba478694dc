/**
 * One splice worker as control sees it: the thread, its shared memory, and what to do when the thread dies. A thread that
 * dies takes no descriptor with it: its flows are reset and everything it had open is closed by the ledger.
 */
import type { Worker } from 'node:worker_threads';
import { FIRST_SERVICE } from '../api/capture.ts';
import type { Family } from '../api/flow.ts';
import type { BoundPoint } from '../api/point.ts';
import { EFD_CLOEXEC, EFD_NONBLOCK } from '../sys/constants.ts';
import { checked } from '../sys/errno.ts';
import { listAddresses } from '../sys/netlink/address.ts';
import { NETLINK_ROUTE } from '../sys/netlink/constants.ts';
import { NetlinkSocket } from '../sys/netlink/socket.ts';
import * as libc from '../sys/libc.ts';
import { closeWithReset } from '../sys/sockets.ts';
import {
  at,
  Counters,
  SERVICE_ACTIVE,
  SERVICE_BYTES_DOWN,
  SERVICE_BYTES_UP,
  SERVICE_FIELDS,
  type CountersData,
} from './counters.ts';
import { DescriptorLedger } from './descriptor-ledger.ts';
import { descriptorsOf, HandOvers } from './hand-overs.ts';
import {
  ACTIVE_AT,
  BYTES_DOWN,
  BYTES_UP,
  F64,
  FlowSlab,
  FREE,
  I32,
  OUTCOME,
  outcomeCode,
  SERVICE,
  STATE,
  STREAMING,
  type SlotSnapshot,
} from './flow-slab.ts';
import type { FromWorker, ToWorker, WorkerData, WorkerLimits, WorkerPoint, WorkerTimeouts } from './messages.ts';
import { RecordRing } from './record-ring.ts';
import { startThread } from './thread-start.ts';

const UNSPECIFIED = { 4: '0.0.0.0', 6: '::' } as const;

/** Ended flows that may wait for control; at 10,000 a second and a look every 50 ms there are 500. */
const RECORDS = 8192;

const wakeValue = new BigInt64Array([1n]);

export interface WorkerSettings {
  readonly index: number;
  /** Where its thread is to run; absent: anywhere. */
  readonly processor?: number;
  readonly mark: number;
  readonly limits: WorkerLimits;
  readonly timeouts: WorkerTimeouts;
  /** Service ids must stay below. */
  readonly serviceCapacity: number;
}

/** What a worker tells besides its messages. */
export interface WorkerEvents {
  readonly message: (worker: WorkerHandle, message: FromWorker) => void;
  /** The thread is gone; its flows have been reset and are handed over as records. */
  readonly died: (worker: WorkerHandle, error: Error, flows: readonly SlotSnapshot[]) => void;
}

export class WorkerHandle {
  readonly settings: WorkerSettings;
  /** Grows with each successor; part of flow ids. */
  epoch = 0;
  deaths = 0;
  running = false;
  /** Where its thread was put; undefined: nowhere, or it could not be. */
  processor: number | undefined;
  slab: FlowSlab;
  records: RecordRing;
  readonly counters: Counters;
  readonly #countersData: CountersData;
  readonly #ledger = new DescriptorLedger();
  readonly #handOvers = new HandOvers();
  readonly #wakeFd: number;
  readonly #events: WorkerEvents;
  #thread: Worker | undefined;
  #expectedExit = false;
  #lostBefore = 0;

  constructor(settings: WorkerSettings, events: WorkerEvents) {
    this.settings = settings;
    this.#events = events;
    this.slab = new FlowSlab(FlowSlab.allocate(slabCapacity(settings.limits)));
    this.records = new RecordRing(RecordRing.allocate(RECORDS));
    this.#countersData = Counters.allocate(settings.serviceCapacity);
    this.counters = new Counters(this.#countersData);
    this.#wakeFd = checked(libc.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), 'eventfd()', 'Raise the limit of open files.');
  }

  /** TCP flows and UDP sessions that live. */
  get activeFlows(): number {
    return (this.slab.head[1] as number) + (this.slab.head[2] as number);
  }

  /** Records that the ring had no room for, over all lives of this worker. */
  get recordsLost(): number {
    return this.#lostBefore + this.records.lost;
  }

  /** Starts the thread; resolves when it accepts. Rejects when it dies before. */
  start(points: readonly WorkerPoint[]): Promise<void> {
    // Not at the death: what is told of the flows of a dead thread still bears its epoch.
    if (this.#thread !== undefined) this.epoch++;
    const data: WorkerData = {
      index: this.settings.index,
      epoch: this.epoch,
      wakeFd: this.#wakeFd,
      points,
      slab: this.slab.data,
      records: this.records.data,
      counters: this.#countersData,
      ledger: this.#ledger.buffer,
      ...(this.settings.processor === undefined ? {} : { processor: this.settings.processor }),
      mark: this.settings.mark,
      limits: this.settings.limits,
      timeouts: this.settings.timeouts,
    };
    const thread = startThread(this.settings.index, data);
    this.#thread = thread;
    this.#expectedExit = false;
    this.processor = this.settings.processor;
    let failure: Error | undefined;
    return new Promise((resolve, reject) => {
      thread.on('message', (message: FromWorker) => {
        if (message.type === 'ready') {
          this.running = true;
          resolve();
        } else if (message.type === 'stopped') this.#expectedExit = true;
        else {
          if (message.type === 'not-placed') this.processor = undefined;
          this.#events.message(this, message);
        }
      });
      thread.on('error', (error) => {
        failure = error instanceof Error ? error : new Error(String(error));
      });
      thread.on('exit', () => {
        const wasRunning = this.running;
        this.running = false;
        if (this.#expectedExit) {
          this.#closeDescriptors();
          return;
        }
        const error = failure ?? new Error('the thread ended without a reason');
        const flows = this.#bury();
        if (wasRunning) this.#events.died(this, error, flows);
        else reject(error);
      });
    });
  }

  /** Ends its wait, for whoever shares memory with it. */
  get wakeFd(): number {
    return this.#wakeFd;
  }

  /** Descriptors in the message are the worker's from then on; when nobody runs who could take them they are closed with RST. */
  post(message: ToWorker): void {
    const fds = descriptorsOf(message);
    if (fds.length > 0) {
      if (!this.running) {
        for (const fd of fds) closeWithReset(fd);
        return;
      }
      this.#handOvers.sent(fds, this.slab);
    }
    if (this.#thread === undefined) return;
    this.#thread.postMessage(message);
    this.wake();
  }

  /** Ends a blocking epoll_wait; called from `process.on('exit')` too, or the process could not end. */
  wake(): void {
    libc.write(this.#wakeFd, wakeValue, 8);
  }

  /** Stops the thread and waits for it. Flows that still live are cut without a record: drain and reset them before. */
  async stop(): Promise<void> {
    const thread = this.#thread;
    if (thread === undefined) return;
    this.#thread = undefined;
    if (this.running) {
      const gone = new Promise<void>((resolve) => thread.once('exit', () => resolve()));
      this.#expectedExit = true;
      thread.postMessage({ type: 'stop' } satisfies ToWorker);
      this.wake();
      await gone;
    }
    libc.close(this.#wakeFd);
  }

  /** Resets the flows of a dead thread, keeps their last state for the records, and starts over with fresh memory. */
  #bury(): readonly SlotSnapshot[] {
    this.#closeDescriptors();
    const dead: SlotSnapshot[] = [];
    const { slab } = this;
    this.records.drain((record) => dead.push(record));
    for (let slot = 0; slot < (slab.head[0] as number); slot++) {
      const state = slab.i32[slot * I32 + STATE];
      if (state === FREE || state === STREAMING) continue;
      slab.i32[slot * I32 + OUTCOME] = outcomeCode('worker-died');
      slab.f64[slot * F64 + ACTIVE_AT] = Date.now();
      dead.push(slab.snapshot(slot));
      this.#countEnded(slot);
    }
    this.deaths++;
    this.#lostBefore += this.records.lost;
    this.slab = FlowSlab.successor(slab);
    this.records = new RecordRing(RecordRing.allocate(RECORDS));
    for (let service = 0; service < this.settings.serviceCapacity; service++) {
      this.counters.services[service * SERVICE_FIELDS + SERVICE_ACTIVE] = 0;
    }
    return dead;
  }

  /** What the thread would have counted. Nobody else writes to the counters until the next one starts. */
  #countEnded(slot: number): void {
    const { slab, counters } = this;
    const base = (slab.i32[slot * I32 + SERVICE] as number) * SERVICE_FIELDS;
    for (const [field, bytes] of [
      [SERVICE_BYTES_UP, BYTES_UP],
      [SERVICE_BYTES_DOWN, BYTES_DOWN],
    ] as const) {
      counters.services[base + field] =
        (counters.services[base + field] as number) + (slab.f64[slot * F64 + bytes] as number);
    }
    counters.totals[at.ended] = (counters.totals[at.ended] as number) + 1;
  }

  #closeDescriptors(): void {
    for (const fd of this.#ledger.takeAll()) closeWithReset(fd);
    this.#handOvers.closeUnread(this.slab);
  }
}

/** Raw sockets that answer datagrams from any address, by family; see `openReplySocket` and `openIcmpSocket`. */
export type ReplySockets = ReadonlyMap<Family, { readonly datagrams: number; readonly icmp: number }>;

/** The points as one worker gets them. */
export function pointsOf(
  points: readonly BoundPoint[],
  replySockets: ReplySockets,
  worker: number,
): readonly WorkerPoint[] {
  return points.map((point, index) => {
    const { family, protocol } = point.network;
    const reply = protocol === 'udp' && point.transparent ? replySockets.get(family) : undefined;
    return {
      index,
      fd: point.fds[worker] as number,
      family,
      protocol,
      replyFd: reply?.datagrams ?? -1,
      icmpFd: reply?.icmp ?? -1,
      port: point.port,
      ...leadingTo(point),
      original: point.original,
    };
  });
}

function slabCapacity({ flows, udpSessions }: WorkerLimits): number {
  return flows + udpSessions;
}

/** Which dials would arrive at a point. */
function leadingTo({ network, bind, transparent, original }: BoundPoint): Pick<WorkerPoint, 'own' | 'loopback'> {
  if (original.via === 'nat-table') return { own: [bind.address], loopback: false };
  // What arrives at a transparent point by its own address was not captured: it is ours.
  if (transparent) return { own: [], loopback: true };
  if (bind.address !== UNSPECIFIED[network.family]) return { own: [bind.address], loopback: false };
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  const own = listAddresses(socket).filter(({ family }) => family === network.family);
  return { own: own.map(({ address }) => address), loopback: true };
}

/** Room for service ids: twice what is configured, and never less than a few thousand reloads need. */
export function serviceCapacityFor(services: number): number {
  return Math.max(4096, FIRST_SERVICE + 2 * services);
}
