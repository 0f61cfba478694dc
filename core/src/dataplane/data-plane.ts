/**
 * The data plane as the engine sees it: points, workers, tables, records. Runs in the control thread and never touches a
 * flow's bytes.
 */
import type { Family, FlowRecord } from '../api/flow.ts';
import { HeldTable } from '../api/held-flows.ts';
import type { BoundPoint, PointSpec } from '../api/point.ts';
import { WORKER_COUNTERS } from './counters.ts';
import { outcomeCode, type SlotSnapshot } from './flow-slab.ts';
import * as libc from '../sys/libc.ts';
import { closeWithReset, openIcmpSocket, openReplySocket } from '../sys/sockets.ts';
import type { DataPlaneHost, DataPlaneOptions } from './data-plane-host.ts';
import { DialerFaults } from './dialer-faults.ts';
import { flowId, recordOf } from './flow-records.ts';
import { closePoints, openPoints, replacePoints } from './listeners.ts';
import { ServiceTotals } from './service-totals.ts';
import { StreamedFlows } from './streamed-flows.ts';
import type { DialStep, FromWorker, TableMessage, ToWorker } from './messages.ts';
import { pointsOf, serviceCapacityFor, WorkerHandle } from './worker-handle.ts';
import type { FlowOutcome } from '../api/flow.ts';

/** Look for ended flows this often while there are any, and that often while there are none. Milliseconds. */
const RECORDS_BUSY = 50;
const RECORDS_IDLE = 500;
/** Age from which on a flow's slot is complete. Milliseconds. */
const SETTLED = 20;
/** This many deaths within DEATH_WINDOW end Weir. */
const FATAL_DEATHS = 3;
const DEATH_WINDOW = 60_000;

export class DataPlane {
  readonly #options: DataPlaneOptions;
  readonly #host: DataPlaneHost;
  readonly #workers: WorkerHandle[] = [];
  readonly #deaths: number[] = [];
  readonly #streamed: StreamedFlows;
  readonly #faults: DialerFaults;
  #points: readonly BoundPoint[] = [];
  readonly #replySockets = new Map<Family, { readonly datagrams: number; readonly icmp: number }>();
  /** What workers have been told of a drain, for their successors. */
  #draining: Extract<ToWorker, { type: 'draining' }> | undefined;
  #table: TableMessage | undefined;
  #installed = new Map<WorkerHandle, number>();
  #pointsTaken = new Map<WorkerHandle, number>();
  #pointsSerial = 0;
  /** Called whenever a worker has said that it got somewhere, or is gone. */
  #waiters: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;
  #stopping = false;
  readonly #onExit = (): void => {
    for (const worker of this.#workers) worker.wake();
  };

  constructor(options: DataPlaneOptions, host: DataPlaneHost) {
    this.#options = options;
    this.#host = host;
    this.#faults = new DialerFaults(options.log);
    this.#streamed = new StreamedFlows(host, (record) => host.ended(record));
    const events = {
      message: (worker: WorkerHandle, message: FromWorker) => this.#message(worker, message),
      died: (worker: WorkerHandle, error: Error, flows: readonly SlotSnapshot[]) => this.#died(worker, error, flows),
    };
    const { processors = [] } = options;
    for (let index = 0; index < options.workers; index++) {
      const processor = processors[index % processors.length];
      this.#workers.push(
        new WorkerHandle(
          {
            index,
            ...(processor === undefined ? {} : { processor }),
            mark: options.mark,
            limits: {
              flows: Math.ceil(options.flowLimit / options.workers),
              udpSessions: Math.ceil(options.sessionLimit / options.workers),
              pendingDials: options.pendingDials,
              idlePipes: 64,
            },
            timeouts: options.timeouts,
            serviceCapacity: serviceCapacityFor(options.services),
          },
          events,
        ),
      );
    }
  }

  get serviceCapacity(): number {
    return serviceCapacityFor(this.#options.services);
  }

  get points(): readonly BoundPoint[] {
    return this.#points;
  }

  /** Opens points; they are lent to the interceptor and closed by `stop`. */
  open(specs: readonly PointSpec[]): readonly BoundPoint[] {
    this.#points = openPoints(specs, this.#options.workers, this.#options.mark);
    this.#openReplySockets();
    return this.#points;
  }

  /** Closes what `open` opened, for the next candidate of a selection. The workers stay. */
  closePoints(): void {
    const points = this.#points;
    this.#points = [];
    this.listen();
    closePoints(points);
  }

  /**
   * Opens what is new, keeps what stays with its socket and queue, and closes what is gone once no worker accepts from
   * it. Flows that live go on.
   * @throws as `open`; nothing has changed then.
   */
  async replacePoints(specs: readonly PointSpec[]): Promise<readonly BoundPoint[]> {
    const { points, gone } = replacePoints(this.#points, specs, this.#options.workers, this.#options.mark);
    this.#points = points;
    this.#openReplySockets();
    this.listen();
    const serial = this.#pointsSerial;
    await this.#everyWorker((worker) => (this.#pointsTaken.get(worker) ?? 0) >= serial);
    closePoints(gone);
    return points;
  }

  /** Starts the workers without points; they take what `listen` gives them. */
  async start(): Promise<void> {
    process.on('exit', this.#onExit);
    await Promise.all(this.#workers.map((worker) => worker.start([])));
    this.#schedule();
  }

  /** Lets the workers accept from the open points. */
  listen(): void {
    this.#pointsSerial++;
    for (const { original } of this.#points) {
      if (original.via !== 'nat-table' || original.held === undefined) continue;
      new HeldTable(original.held).workers = this.#workers.map(({ wakeFd }) => wakeFd);
    }
    for (const worker of this.#workers) this.#givePoints(worker);
  }

  /** Hands new tables to all workers; resolves when every one of them decides by them. */
  async install(table: TableMessage): Promise<void> {
    this.#table = table;
    for (const worker of this.#workers) worker.post(table);
    await this.#everyWorker((worker) => (this.#installed.get(worker) ?? -1) >= table.generation);
  }

  /** Gives all workers other names, with the rows by which they are decided; all else of the last table stays. */
  async installNames(names: Pick<TableMessage, 'generation' | 'lookup' | 'names'>): Promise<void> {
    if (this.#table) await this.install({ ...this.#table, ...names, keepsRetired: true });
  }

  /** Replaces the dial plan of one service; flows that have begun keep theirs. */
  setPlan(service: number, steps: readonly DialStep[]): void {
    if (this.#table !== undefined) {
      const plans = new Map(this.#table.plans);
      plans.set(service, steps);
      this.#table = { ...this.#table, plans: [...plans] };
    }
    for (const worker of this.#workers) worker.post({ type: 'plan', service, steps });
  }

  get activeFlows(): number {
    return this.#workers.reduce((sum, worker) => sum + worker.activeFlows, this.#streamed.orphans);
  }

  /**
   * Nothing new is steered from now on: UDP sessions that are silent end soon.
   * @param dialDirectly what arrives all the same goes where it meant to go.
   */
  drain(dialDirectly = false): void {
    this.#draining = { type: 'draining', dialDirectly };
    for (const worker of this.#workers) worker.post(this.#draining);
  }

  /** Takes no new connection. What still arrives waits in the listeners' queues. */
  stopAccepting(): void {
    for (const worker of this.#workers) worker.post({ type: 'unlisten' });
  }

  /** Resolves when no flow lives or `timeoutMs` has passed; then with how many are left. */
  async drained(timeoutMs: number): Promise<number> {
    const deadline = Date.now() + timeoutMs;
    while (this.activeFlows > 0 && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20));
    return this.activeFlows;
  }

  /** Resets all living flows. */
  resetAll(outcome: FlowOutcome): void {
    for (const worker of this.#workers) worker.post({ type: 'reset', outcome: outcomeCode(outcome) });
  }

  /** Tests: makes a worker throw as a bug would. */
  crashWorker(index: number): void {
    this.#workers[index]?.post({ type: 'crash' });
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    this.#wakeWaiters();
    clearTimeout(this.#timer);
    await Promise.all(this.#workers.map((worker) => worker.stop()));
    this.collectRecords();
    closePoints(this.#points);
    this.#points = [];
    for (const { datagrams, icmp } of this.#replySockets.values()) {
      libc.close(datagrams);
      libc.close(icmp);
    }
    this.#replySockets.clear();
    process.off('exit', this.#onExit);
  }

  /** Numbers of the names that living flows were made to. */
  namesInUse(): Set<number> {
    return new Set([...this.#workers.flatMap(({ slab }) => slab.names()), ...this.#streamed.names()]);
  }

  /** The original destinations of living flows to the name with that number. */
  destinations(name: number): Set<string> {
    return new Set([
      ...this.#workers.flatMap(({ slab }) => slab.destinations(name)),
      ...this.#streamed.destinations(name),
    ]);
  }

  /** Living flows, at most `limit`. */
  flows(limit: number): FlowRecord[] {
    const flows: FlowRecord[] = [];
    for (const worker of this.#workers) {
      for (const slot of worker.slab.living()) {
        if (flows.length >= limit) break;
        flows.push(this.#record(worker, worker.slab.snapshot(slot), Date.now()));
      }
    }
    for (const [, record] of this.#streamed.living()) if (flows.length < limit) flows.push(record());
    return flows;
  }

  /** Living flows whose ids are not in `known`; `living` is told the ids of all. Cheap for those that are known. */
  flowsBegun(known: ReadonlySet<string>, living: (id: string) => void): FlowRecord[] {
    const flows: FlowRecord[] = [];
    const now = Date.now();
    for (const worker of this.#workers) {
      for (const slot of worker.slab.living()) {
        const id = flowId(worker.settings.index, worker.epoch, slot, worker.slab.generation(slot));
        living(id);
        if (known.has(id)) continue;
        const flow = worker.slab.snapshot(slot);
        // The worker may still be writing down where a younger one comes from.
        if (flow.startedAt + SETTLED < now) flows.push(this.#record(worker, flow, now));
      }
    }
    for (const [id, record] of this.#streamed.living()) {
      living(id);
      if (!known.has(id)) flows.push(record());
    }
    return flows;
  }

  /** Totals over all workers. */
  counters(): Record<string, number> {
    const sum: Record<string, number> = {};
    for (const name of WORKER_COUNTERS) sum[name] = 0;
    for (const worker of this.#workers) {
      const totals = worker.counters.readTotals();
      for (const name of WORKER_COUNTERS) sum[name] = (sum[name] as number) + totals[name];
    }
    sum['ended'] = (sum['ended'] as number) + this.#streamed.ended;
    sum['active'] = this.activeFlows;
    sum['recordsLost'] = this.#workers.reduce((total, worker) => total + worker.recordsLost, 0);
    sum['workerDeaths'] = this.#workers.reduce((total, worker) => total + worker.deaths, 0);
    return sum;
  }

  /** What each service did until now, living flows included. */
  serviceTotals(): ServiceTotals {
    const totals = new ServiceTotals(this.#workers.map(({ counters }) => counters));
    for (const { slab } of this.#workers) {
      for (const slot of slab.living()) totals.addLiving(slab, slot, 0);
    }
    this.#streamed.addTo(totals);
    return totals;
  }

  workerReports(): ReadonlyArray<{
    index: number;
    state: 'running' | 'restarting';
    activeFlows: number;
    deaths: number;
    cpu?: number;
  }> {
    return this.#workers.map((worker) => ({
      index: worker.settings.index,
      state: worker.running ? 'running' : 'restarting',
      activeFlows: worker.activeFlows,
      deaths: worker.deaths,
      ...(worker.processor === undefined ? {} : { cpu: worker.processor }),
    }));
  }

  /** One per family that has a transparent UDP point; kept until the end. */
  #openReplySockets(): void {
    for (const { network, transparent } of this.#points) {
      const { family, protocol } = network;
      if (protocol !== 'udp' || !transparent || this.#replySockets.has(family)) continue;
      const datagrams = openReplySocket(family, this.#options.mark);
      try {
        this.#replySockets.set(family, { datagrams, icmp: openIcmpSocket(family, this.#options.mark) });
      } catch (error) {
        libc.close(datagrams);
        throw error;
      }
    }
  }

  #message(worker: WorkerHandle, message: FromWorker): void {
    switch (message.type) {
      case 'table-installed':
        this.#installed.set(worker, message.generation);
        this.#wakeWaiters();
        return;
      case 'points-taken':
        this.#pointsTaken.set(worker, message.serial);
        this.#wakeWaiters();
        return;
      case 'resolve':
        void this.#host.resolve(message.key).then(({ addresses, expiresAt }) => {
          worker.post({ type: 'resolved', key: message.key, addresses, expiresAt });
        });
        return;
      case 'unnamed':
        void this.#host.findName(message.address).then((found) => {
          worker.post({ type: 'named', slot: message.slot, generation: message.generation, found });
        });
        return;
      case 'canary':
        this.#host.canary(message);
        return;
      case 'stream':
        this.#host.stream(this.#streamed.take(worker, message));
        return;
      case 'held': {
        const owner = this.#workers[message.worker];
        const { slot, generation, fd } = message;
        if (owner !== undefined) owner.post({ type: 'attach', slot, generation, clientFd: fd });
        else closeWithReset(fd);
        return;
      }
      case 'dialer-fault':
        this.#faults.report(this.#host.dialerName(message.dialer), message.reason);
        return;
      case 'not-placed':
        this.#options.log.warn(
          { worker: worker.settings.index, cpu: worker.settings.processor, reason: message.reason },
          'a worker could not be put on its processor and runs on any',
        );
        return;
      case 'ready':
      case 'reset-done':
      case 'stopped':
        return;
    }
  }

  #died(worker: WorkerHandle, error: Error, flows: readonly SlotSnapshot[]): void {
    for (const flow of flows) this.#host.ended(this.#record(worker, flow, flow.activeAt));
    this.#streamed.orphan(worker);
    this.#wakeWaiters();
    if (this.#stopping) return;
    const now = Date.now();
    this.#deaths.push(now);
    while ((this.#deaths[0] as number) < now - DEATH_WINDOW) this.#deaths.shift();
    this.#options.log.error(
      { worker: worker.settings.index, flows: flows.length, reason: error.message },
      'a splice worker died; its flows were reset and a successor is started',
    );
    if (this.#deaths.length >= FATAL_DEATHS) {
      this.#host.fatal(error);
      return;
    }
    worker.start([]).then(
      () => {
        // Tables before points: a flow that is accepted must find its service.
        if (this.#table !== undefined) worker.post({ ...this.#table, graceMs: 0 });
        if (this.#draining !== undefined) worker.post(this.#draining);
        this.#givePoints(worker);
        this.#host.rebound(this.#points);
      },
      (failure: unknown) => this.#host.fatal(failure instanceof Error ? failure : new Error(String(failure))),
    );
  }

  #givePoints(worker: WorkerHandle): void {
    const points = pointsOf(this.#points, this.#replySockets, worker.settings.index);
    worker.post({ type: 'points', serial: this.#pointsSerial, points });
  }

  /** Resolves when it holds for every worker that runs; one that is being replaced starts with what is newest. */
  #everyWorker(holds: (worker: WorkerHandle) => boolean): Promise<void> {
    return new Promise((resolve) => {
      const check = (): void => {
        if (!this.#stopping && !this.#workers.every((worker) => !worker.running || holds(worker))) return;
        this.#waiters = this.#waiters.filter((waiter) => waiter !== check);
        resolve();
      };
      this.#waiters.push(check);
      check();
    });
  }

  #wakeWaiters(): void {
    for (const waiter of this.#waiters.slice()) waiter();
  }

  #schedule(): void {
    this.#timer = setTimeout(
      () => {
        this.collectRecords();
        if (!this.#stopping) this.#schedule();
      },
      this.activeFlows > 0 ? RECORDS_BUSY : RECORDS_IDLE,
    );
    this.#timer.unref();
  }

  /** Hands over what has ended since the last look; also done by a timer. */
  collectRecords(): void {
    for (const worker of this.#workers) {
      worker.records.drain((flow) => this.#host.ended(this.#record(worker, flow, flow.activeAt)));
    }
  }

  #record(worker: WorkerHandle, flow: SlotSnapshot, until: number): FlowRecord {
    return recordOf(flow, until, worker.settings.index, worker.epoch, this.#host);
  }
}
