/**
 * The loop between the device and itself: waits for packets, takes them one by one, writes back what goes on. Runs in a
 * thread of its own and never enters Node's event loop until it is told to stop.
 */
import { receiveMessageOnPort, type MessagePort } from 'node:worker_threads';
import {
  checked,
  EAGAIN,
  EINTR,
  EPOLL_CLOEXEC,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_DATA_OFFSET,
  EPOLL_EVENT_SIZE,
  EPOLLIN,
  errno,
  libc,
  writeEpollEvent,
} from '@weir/core/sys';
import { at, TunCounters } from './counters.ts';
import { HeldSyns } from './held-syns.ts';
import { NatFlows, type NatTimes, TICKS_PER_SECOND } from './nat-flows.ts';
import { PacketPath, type PathFamily, VNET_HEADER } from './packet-path.ts';

/** The largest IP packet, and its virtio_net_hdr. */
const BUFFER = VNET_HEADER + 65_535;
/** Packets taken before messages are looked at again. */
const PER_TURN = 256;
/** How long the thread blocks at most, and how often idle flows are looked at. Milliseconds. */
const TICK = 250;
const MOST_EVENTS = 2;
const DEVICE = 1;
const WAKE = 2;
const wakeBytes = new Uint8Array(8);
const wakeValue = BigInt64Array.of(1n);

/** One capture point, as the pump needs it. */
export interface PumpPoint {
  readonly protocol: 'tcp' | 'udp';
  readonly family: 4 | 6;
  readonly port: number;
  readonly table: SharedArrayBuffer;
  /** Of TCP, where connections are answered as their upstream answers. */
  readonly held?: SharedArrayBuffer | undefined;
}

export interface PumpFamily {
  readonly family: 4 | 6;
  readonly own: Uint8Array;
  readonly firstAddress: Uint8Array;
  /** Addresses of the block that is routed to the device. */
  readonly addresses: number;
}

/** Everything that a pump starts with. Descriptors are control's; it closes them when the pump has ended. */
export interface PumpData {
  /** Of the device, not blocking. */
  readonly fd: number;
  /** An eventfd: there is a message. */
  readonly wakeFd: number;
  readonly families: readonly PumpFamily[];
  readonly points: readonly PumpPoint[];
  /** Of the addresses of a block, those that flows get. */
  readonly natAddresses: number;
  readonly firstPort: number;
  readonly ports: number;
  readonly counters: SharedArrayBuffer;
  readonly times?: NatTimes;
}

export type ToPump =
  | 'stop'
  | { readonly type: 'device'; readonly fd: number }
  /** New flows of other hosts are not taken any more. */
  | { readonly type: 'draining' };

export class PumpLoop {
  readonly #port: MessagePort;
  readonly #epfd: number;
  readonly #wakeFd: number;
  readonly #buffer = new Uint8Array(BUFFER);
  readonly #events = new DataView(new ArrayBuffer(MOST_EVENTS * EPOLL_EVENT_SIZE));
  readonly #counters: TunCounters;
  readonly #flows: readonly NatFlows[];
  readonly #path: PacketPath;
  readonly #write = (length: number): void => {
    if (libc.write(this.#fd, this.#buffer, length) !== length) this.#counters.count(at.writeFailed);
  };
  readonly #began = Date.now();
  #fd: number;
  #stopping = false;

  constructor(data: PumpData, port: MessagePort) {
    this.#port = port;
    this.#wakeFd = data.wakeFd;
    this.#fd = data.fd;
    this.#counters = new TunCounters(data.counters);
    const flows: NatFlows[] = [];
    const flowsOf = (family: PumpFamily, protocol: 'tcp' | 'udp'): NatFlows | undefined => {
      const point = data.points.find((one) => one.family === family.family && one.protocol === protocol);
      if (point === undefined) return undefined;
      const { own, firstAddress } = family;
      const { natAddresses: addresses, firstPort, ports, times } = data;
      const block = { own, firstAddress, addresses, firstPort, ports, ...(times === undefined ? {} : { times }) };
      const made = new NatFlows({ ...point, ...block });
      flows.push(made);
      return made;
    };
    const heldOf = ({ family }: PumpFamily, tcp: NatFlows): HeldSyns | undefined => {
      const table = data.points.find((one) => one.family === family && one.protocol === 'tcp')?.held;
      if (table === undefined) return undefined;
      return new HeldSyns({ flows: tcp, table, buffer: this.#buffer, wake: (fd) => libc.write(fd, wakeValue, 8) });
    };
    const families: Partial<Record<4 | 6, PathFamily>> = {};
    for (const family of data.families) {
      const [tcp, udp] = [flowsOf(family, 'tcp'), flowsOf(family, 'udp')];
      families[family.family] = { ...family, tcp, udp, held: tcp && heldOf(family, tcp) };
    }
    this.#flows = flows;
    this.#path = new PacketPath({ buffer: this.#buffer, counters: this.#counters, families });
    this.#epfd = checked(libc.epoll_create1(EPOLL_CLOEXEC), 'epoll_create1()', 'Raise the limit of open files.');
    this.#watch(data.wakeFd, WAKE);
    this.#watch(data.fd, DEVICE);
  }

  /** Blocks until it is told to stop; what waits in the device then is still taken. */
  run(): void {
    try {
      let swept = 0;
      while (!this.#stopping) {
        const count = libc.epoll_wait(this.#epfd, this.#events, MOST_EVENTS, TICK);
        if (count < 0 && errno() !== EINTR) checked(count, 'epoll_wait()', 'Report this.');
        const now = this.#now();
        for (let n = 0; n < count; n++) {
          const what = this.#events.getUint32(n * EPOLL_EVENT_SIZE + EPOLL_DATA_OFFSET, true);
          if (what === WAKE) {
            this.#readMessages();
            this.#path.answerHeld(now, this.#write);
          } else this.#turn(now);
        }
        if (now - swept >= (TICK * TICKS_PER_SECOND) / 1000) {
          swept = now;
          for (const flows of this.#flows) flows.sweep(now);
          this.#path.sweepHeld(now);
          // A message whose wake was lost, e.g. of a stop that nobody waits for.
          if (count === 0) this.#readMessages();
        }
      }
      while (this.#turn(this.#now())) {
        // What came before the stop still goes where it belongs.
      }
    } finally {
      libc.close(this.#epfd);
    }
  }

  #now(): number {
    return Math.floor(((Date.now() - this.#began) * TICKS_PER_SECOND) / 1000);
  }

  #watch(fd: number, what: number): void {
    writeEpollEvent(this.#events, EPOLLIN, what, 0);
    checked(libc.epoll_ctl(this.#epfd, EPOLL_CTL_ADD, fd, this.#events), 'epoll_ctl()', 'Report this.');
  }

  /** @returns whether there may be more. */
  #turn(now: number): boolean {
    const buffer = this.#buffer;
    for (let taken = 0; taken < PER_TURN; taken++) {
      const length = libc.read(this.#fd, buffer, BUFFER);
      if (length < 0) {
        const code = errno();
        if (code === EINTR) continue;
        // Somebody removed the device: control notices, and makes another one.
        if (code !== EAGAIN) this.#unwatch();
        return false;
      }
      const out = this.#path.take(length, now);
      if (out > 0) this.#write(out);
    }
    return true;
  }

  #unwatch(): void {
    libc.epoll_ctl(this.#epfd, EPOLL_CTL_DEL, this.#fd, this.#events);
  }

  #readMessages(): void {
    libc.read(this.#wakeFd, wakeBytes, 8);
    for (;;) {
      const received = receiveMessageOnPort(this.#port);
      if (received === undefined) return;
      const message = received.message as ToPump;
      if (message === 'stop') this.#stopping = true;
      else if (message.type === 'draining') this.#path.draining = true;
      else {
        this.#unwatch();
        this.#fd = message.fd;
        this.#watch(message.fd, DEVICE);
      }
    }
  }
}
