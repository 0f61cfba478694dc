/**
 * The loop of a splice worker: one thread, blocked in epoll_wait, no event loop of Node and no `net.Socket`. Control
 * speaks to it through a message port and an eventfd that wakes it; it answers through the same port.
 */
import type { MessagePort } from 'node:worker_threads';
import { receiveMessageOnPort } from 'node:worker_threads';
import type { DatagramTunnel } from '../api/dialer.ts';
import { LookupTable } from '../capture/lookup-table.ts';
import {
  EPOLLERR,
  EPOLLHUP,
  EPOLLIN,
  EPOLLOUT,
  EPOLLRDHUP,
  EPOLL_CLOEXEC,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
} from '../sys/constants.ts';
import { EPOLL_DATA_OFFSET, EPOLL_EVENT_SIZE, writeEpollEvent } from '../sys/epoll.ts';
import { checked, EINTR } from '../sys/errno.ts';
import { errno } from '../sys/library.ts';
import * as libc from '../sys/libc.ts';
import { Acceptor, DATAGRAM_EVENT, LISTENER_EVENT, WAKE_EVENT } from './acceptor.ts';
import { AddressCache } from './address-cache.ts';
import { Associations } from './associations.ts';
import { at, Counters } from './counters.ts';
import { DatagramQueue } from './datagram-queue.ts';
import { DatagramRelay } from './datagram-relay.ts';
import { FlowDecision, type ServiceTables } from './decision.ts';
import { DescriptorLedger } from './descriptor-ledger.ts';
import { DialTargets } from './dial-targets.ts';
import { Dialing } from './dialing.ts';
import { FlowLifecycle } from './flow-lifecycle.ts';
import {
  DIALING,
  FlowSlab,
  FREE,
  GENERATION,
  HELD,
  HANDSHAKE,
  I32,
  outcomeOf,
  RELAYING,
  RESOLVING,
  SESSION,
  SIDE,
  SIDE_ERROR,
  SIDE_RDHUP,
  SIDE_READABLE,
  SIDE_WRITABLE,
  STATE,
  STREAMING,
} from './flow-slab.ts';
import { FlowTimeouts } from './flow-timeouts.ts';
import { takeOver } from './hand-overs.ts';
import { HandshakeDialers } from './handshake-dialers.ts';
import { Handshaking } from './handshaking.ts';
import { HeldDials } from './held-dials.ts';
import type { FromWorker, TableMessage, ToWorker, WorkerData, WorkerPoint } from './messages.ts';
import { NameDirectory } from './name-directory.ts';
import { NameTexts } from './name-texts.ts';
import { PipePool } from './pipe-pool.ts';
import { RecordRing } from './record-ring.ts';
import { SessionIndex } from './session-index.ts';
import { UpstreamConnect } from './upstream-connect.ts';
import { ReadyList } from './ready-list.ts';
import { FINISHED, MORE, SINK_FAILED, SOURCE_FAILED, SpliceRelay } from './splice-relay.ts';

const MAX_EVENTS = 512;
/** How long epoll_wait may block, and how often deadlines are looked at. Milliseconds. */
const TICK = 250;
/** Reads drop the bytes that answer an eventfd. */
const wakeBytes = new Uint8Array(8);

export class SpliceWorker {
  readonly #data: WorkerData;
  readonly #port: MessagePort;
  readonly #epfd: number;
  readonly #slab: FlowSlab;
  readonly #counters: Counters;
  readonly #ledger: DescriptorLedger;
  readonly #pipes: PipePool;
  readonly #relay: SpliceRelay;
  readonly #flows: FlowLifecycle;
  readonly #cache: AddressCache;
  readonly #dialers = new HandshakeDialers();
  readonly #targets: DialTargets;
  readonly #upstreams: UpstreamConnect;
  readonly #associations: Associations;
  readonly #dialing: Dialing;
  readonly #flowTimeouts: FlowTimeouts;
  readonly #decision: FlowDecision;
  readonly #acceptor: Acceptor;
  readonly #datagrams: DatagramRelay;
  readonly #held: HeldDials;
  readonly #events = new DataView(new ArrayBuffer(MAX_EVENTS * EPOLL_EVENT_SIZE));
  /** Slots that have more to do than one turn allowed. */
  readonly #ready: ReadyList;
  /** What came with the last messages and is to hold before the next events, in that order. */
  readonly #changes: Array<Extract<ToWorker, { type: 'table' | 'plan' }>> = [];
  #lastSweep = 0;
  #datagramPoints = new Map<number, WorkerPoint>();
  #stopping = false;

  constructor(data: WorkerData, port: MessagePort) {
    this.#data = data;
    this.#port = port;
    this.#slab = new FlowSlab(data.slab);
    this.#targets = new DialTargets(this.#slab, `${data.index}.${data.epoch}`);
    this.#counters = new Counters(data.counters);
    this.#ledger = new DescriptorLedger(data.ledger);
    this.#epfd = checked(libc.epoll_create1(EPOLL_CLOEXEC), 'epoll_create1()', 'Raise the limit of open files.');
    this.#ledger.opened(this.#epfd);
    this.#pipes = new PipePool(this.#ledger, data.limits.idlePipes);
    this.#ready = new ReadyList(this.#slab);
    this.#relay = new SpliceRelay(this.#slab, this.#pipes, this.#counters);
    const handshaking = new Handshaking(this.#slab, (fault) => this.#post({ type: 'dialer-fault', ...fault }));
    const sessions = new SessionIndex(this.#slab, data.limits.udpSessions);
    const queue = new DatagramQueue();
    const tunnels = new Map<number, DatagramTunnel>();
    this.#flows = new FlowLifecycle({
      epfd: this.#epfd,
      slab: this.#slab,
      records: new RecordRing(data.records),
      counters: this.#counters,
      ledger: this.#ledger,
      relay: this.#relay,
      handshaking,
      sessions,
      queue,
      ending: (slot, outcome) => {
        if (this.#slab.i32[slot * I32 + HELD] !== 0) this.#held.ended(slot, outcome);
        else this.#datagrams.ending(slot, outcome);
      },
      tunnels,
      flowLimit: data.limits.flows,
      sessionLimit: data.limits.udpSessions,
    });
    this.#cache = new AddressCache((key) => this.#post({ type: 'resolve', key }));
    const shared = {
      slab: this.#slab,
      counters: this.#counters,
      ledger: this.#ledger,
      flows: this.#flows,
      connectFirst: (slot: number) => this.#held.connectFirst(slot),
      post: (message: FromWorker) => this.#post(message),
    };
    this.#upstreams = new UpstreamConnect({ ...shared, mark: data.mark });
    this.#associations = new Associations({ ...shared, upstreams: this.#upstreams }, tunnels);
    this.#dialing = new Dialing(
      {
        ...shared,
        upstreams: this.#upstreams,
        associations: this.#associations,
        cache: this.#cache,
        dialers: this.#dialers,
        handshaking,
        relay: this.#relay,
        target: (slot) => this.#targets.of(slot, this.#dialing.targetOf(slot)),
        session: (slot, now) => this.#datagrams.established(slot, now),
        awaited: (slot, now) => this.#held.dialled(slot, now),
        limits: data.limits,
      },
      data.timeouts,
    );
    this.#flowTimeouts = new FlowTimeouts({ ...shared, dialing: this.#dialing });
    this.#decision = new FlowDecision({ ...shared, dialing: this.#dialing });
    const deciding = { ...shared, dialing: this.#dialing, decision: this.#decision };
    this.#held = new HeldDials({ ...deciding, worker: data.index });
    this.#acceptor = new Acceptor({ ...deciding, epfd: this.#epfd, held: this.#held });
    this.#datagrams = new DatagramRelay({
      ...deciding,
      associations: this.#associations,
      sessions,
      queue,
    });
    writeEpollEvent(this.#events, EPOLLIN, WAKE_EVENT, 0);
    checked(
      libc.epoll_ctl(this.#epfd, EPOLL_CTL_ADD, data.wakeFd, this.#events),
      'epoll_ctl() for the wake descriptor',
      'Report this.',
    );
  }

  /** Runs until told to stop; gives the thread back only to import dialers. Descriptors that are still open then are control's to close, by the ledger. */
  async run(): Promise<void> {
    this.#listen(this.#data.points);
    this.#post({ type: 'ready' });
    const { totals } = this.#counters;
    const events = this.#events;
    while (!this.#stopping) {
      const count = libc.epoll_wait(this.#epfd, events, MAX_EVENTS, this.#ready.empty ? TICK : 0);
      if (count < 0) {
        if (errno() === EINTR) continue;
        checked(count, 'epoll_wait()', 'Report this.');
      }
      const now = Date.now();
      totals[at.wakeups] = (totals[at.wakeups] as number) + 1;
      totals[at.events] = (totals[at.events] as number) + count;
      for (let n = 0; n < count; n++) {
        const offset = n * EPOLL_EVENT_SIZE;
        const low = events.getUint32(offset + EPOLL_DATA_OFFSET, true);
        const high = events.getUint32(offset + EPOLL_DATA_OFFSET + 4, true);
        if (low === WAKE_EVENT) this.#readMessages(now);
        else if (low === LISTENER_EVENT) this.#acceptor.accept(high, now);
        else if (low === DATAGRAM_EVENT) this.#receiveDatagrams(high, now);
        else this.#flowEvent(low >>> 1, low & 1, high, events.getUint32(offset, true), now);
      }
      if (!this.#ready.empty) this.#turnReady(now);
      for (let next = this.#changes.shift(); next !== undefined; next = this.#changes.shift()) {
        if (next.type === 'table') await this.#installTable(next);
        else this.#decision.tables?.plans.set(next.service, next.steps);
        if (this.#changes.length === 0) this.#held.look(now);
      }
      if (now - this.#lastSweep >= TICK) this.#sweep(now);
    }
    this.#acceptor.unlisten();
    this.#acceptor.closeSpare();
    this.#pipes.closeAll();
    this.#post({ type: 'stopped' });
  }

  /** Points of both protocols; UDP points stay watched while draining, for the sessions that live. */
  #listen(points: readonly WorkerPoint[]): void {
    for (const { fd } of this.#datagramPoints.values()) libc.epoll_ctl(this.#epfd, EPOLL_CTL_DEL, fd, this.#events);
    this.#datagramPoints = new Map(points.filter((one) => one.protocol === 'udp').map((one) => [one.index, one]));
    this.#upstreams.points = points;
    this.#datagrams.points = points;
    this.#held.points = points;
    this.#acceptor.listen(points);
    const event = new DataView(new ArrayBuffer(16));
    for (const { fd, index } of this.#datagramPoints.values()) {
      writeEpollEvent(event, EPOLLIN, DATAGRAM_EVENT, index);
      libc.epoll_ctl(this.#epfd, EPOLL_CTL_ADD, fd, event);
    }
  }

  #receiveDatagrams(index: number, now: number): void {
    const point = this.#datagramPoints.get(index);
    if (point !== undefined) this.#datagrams.receive(point, now);
  }

  #flowEvent(slot: number, side: number, generation: number, events: number, now: number): void {
    const { i32 } = this.#slab;
    const i = slot * I32;
    const state = i32[i + STATE];
    // An event of a descriptor that was closed earlier in this batch.
    if (i32[i + GENERATION] !== generation || state === FREE || state === STREAMING) return;
    let flags = i32[i + SIDE + side] as number;
    if ((events & EPOLLIN) !== 0) flags |= SIDE_READABLE;
    if ((events & EPOLLOUT) !== 0) flags |= SIDE_WRITABLE;
    if ((events & EPOLLRDHUP) !== 0) flags |= SIDE_READABLE | SIDE_RDHUP;
    // EPOLLHUP also comes when both directions have ended in order; only EPOLLERR is a reset.
    if ((events & EPOLLHUP) !== 0) flags |= SIDE_READABLE | SIDE_RDHUP;
    if ((events & EPOLLERR) !== 0) flags |= SIDE_READABLE | SIDE_RDHUP | SIDE_ERROR;
    i32[i + SIDE + side] = flags;

    if (state === RELAYING) {
      this.#turn(slot, now);
      return;
    }
    if (state === SESSION) {
      if (side === 0) {
        const ended = (events & (EPOLLRDHUP | EPOLLHUP)) !== 0;
        this.#associations.controlEvent(slot, ended, (events & EPOLLERR) !== 0);
      } else if ((events & (EPOLLIN | EPOLLERR)) !== 0) this.#replies(slot, now);
      return;
    }
    if (side === 0) {
      // The client reset before its upstream was there.
      if ((events & EPOLLERR) !== 0) this.#flows.finish(slot, 'client-reset');
      return;
    }
    if (state === HANDSHAKE) {
      if (this.#dialing.shakeHands(slot, now)) this.#turn(slot, now);
    } else if (state === DIALING && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) !== 0) {
      if (this.#dialing.connected(slot, (events & (EPOLLERR | EPOLLHUP)) !== 0, now)) this.#turn(slot, now);
    }
  }

  #turn(slot: number, now: number): void {
    const up = this.#relay.up(slot, now);
    if (up === SOURCE_FAILED || up === SINK_FAILED) {
      this.#flows.finish(slot, up === SOURCE_FAILED ? 'client-reset' : 'upstream-reset');
      return;
    }
    const down = this.#relay.down(slot, now);
    if (down === SOURCE_FAILED || down === SINK_FAILED) {
      this.#flows.finish(slot, down === SOURCE_FAILED ? 'upstream-reset' : 'client-reset');
      return;
    }
    if (up === FINISHED && down === FINISHED) {
      this.#flows.finish(slot, 'closed');
      return;
    }
    const { i32 } = this.#slab;
    const i = slot * I32;
    if (up === MORE || down === MORE) {
      this.#ready.add(slot);
      return;
    }
    // A side that was reset raises no further event: what it had sent has been passed on as far as it would go.
    if (((i32[i + SIDE] as number) & SIDE_ERROR) !== 0) this.#flows.finish(slot, 'client-reset');
    else if (((i32[i + SIDE + 1] as number) & SIDE_ERROR) !== 0) this.#flows.finish(slot, 'upstream-reset');
  }

  #replies(slot: number, now: number): void {
    if (this.#datagrams.reply(slot, now)) this.#ready.add(slot);
  }

  #turnReady(now: number): void {
    for (const slot of this.#ready.take()) {
      const state = this.#slab.i32[slot * I32 + STATE];
      if (state === RELAYING) this.#turn(slot, now);
      else if (state === SESSION) this.#replies(slot, now);
    }
  }

  #sweep(now: number): void {
    this.#lastSweep = now;
    this.#acceptor.resumeWhenDue(now);
    this.#flowTimeouts.sweep(now);
  }

  #readMessages(now: number): void {
    libc.read(this.#data.wakeFd, wakeBytes, 8);
    for (;;) {
      const received = receiveMessageOnPort(this.#port) as { message: ToWorker } | undefined;
      if (received === undefined) break;
      this.#handle(received.message, now);
    }
    // What is announced is decided by the tables that came with the same messages.
    if (this.#changes.length === 0) this.#held.look(now);
  }

  #handle(message: ToWorker, now: number): void {
    const { i32 } = this.#slab;
    switch (message.type) {
      case 'table':
      case 'plan':
        this.#changes.push(message);
        return;
      case 'resolved': {
        const waiting = this.#cache.resolved(message.key, message.addresses, message.expiresAt);
        for (let n = 0; n < waiting.length; n += 2) {
          const slot = waiting[n] as number;
          if (this.#isWaiting(slot, waiting[n + 1] as number)) this.#dialing.resume(slot, now);
        }
        return;
      }
      case 'named':
        if (this.#isWaiting(message.slot, message.generation)) this.#decision.named(message.slot, message.found, now);
        return;
      case 'returned':
        if (i32[message.slot * I32 + GENERATION] === message.generation) {
          this.#flows.finish(message.slot, outcomeOf(message.outcome) ?? 'error');
        }
        return;
      case 'adopt':
        takeOver(message, this.#slab, this.#ledger);
        this.#flows.adopt(message, now);
        return;
      case 'attach':
        takeOver(message, this.#slab, this.#ledger);
        this.#held.attach(message.slot, message.generation, message.clientFd, now);
        return;
      case 'points':
        this.#listen(message.points);
        this.#post({ type: 'points-taken', serial: message.serial });
        return;
      case 'draining':
        this.#flowTimeouts.draining = true;
        this.#decision.dialsDirectly = message.dialDirectly;
        return;
      case 'unlisten':
        this.#acceptor.unlisten();
        return;
      case 'reset': {
        const outcome = outcomeOf(message.outcome) ?? 'drained';
        let flows = 0;
        for (let slot = 0; slot < this.#flows.high; slot++) {
          const state = i32[slot * I32 + STATE];
          if (state === FREE || state === STREAMING) continue;
          this.#flows.finish(slot, outcome);
          flows++;
        }
        this.#post({ type: 'reset-done', flows });
        return;
      }
      case 'stop':
        this.#stopping = true;
        return;
      case 'crash':
        throw new Error('crash requested by a test');
    }
  }

  async #installTable(message: TableMessage): Promise<void> {
    // Importing needs the thread's event loop, which the loop above never enters by itself.
    if (message.dialers.length > 0) await this.#dialers.load(message.dialers);
    const tables: ServiceTables = {
      lookup: new LookupTable(message.lookup),
      names: new NameDirectory(message.names),
      plans: new Map(message.plans),
      unmatched: message.unmatched,
    };
    this.#targets.nameTexts = new NameTexts(message.nameTexts);
    this.#targets.serviceNames = new Map(message.serviceNames);
    this.#decision.replaceTables(tables, message.keepsRetired ? undefined : Date.now() + message.graceMs);
    this.#dialing.timeouts = message.timeouts;
    this.#post({ type: 'table-installed', generation: message.generation });
  }

  #isWaiting(slot: number, generation: number): boolean {
    const i = slot * I32;
    return this.#slab.i32[i + GENERATION] === generation && this.#slab.i32[i + STATE] === RESOLVING;
  }

  #post(message: FromWorker): void {
    this.#port.postMessage(message);
  }
}
