/**
 * Connects the upstream's socket of a flow: marked, so that it is not captured again, and never to a listener of our own.
 */
import type { Family } from '../api/flow.ts';
import {
  AF_INET,
  AF_INET6,
  IPPROTO_TCP,
  SO_MARK,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
  TCP_NODELAY,
} from '../sys/constants.ts';
import { EINPROGRESS } from '../sys/errno.ts';
import { errno } from '../sys/library.ts';
import * as libc from '../sys/libc.ts';
import { dialAddress, type DialAddress } from './address-cache.ts';
import { LOOP } from './dial-outcome.ts';
import type { DescriptorLedger } from './descriptor-ledger.ts';
import type { FlowLifecycle } from './flow-lifecycle.ts';
import { I32, SIDE, UPSTREAM, UPSTREAM_FAMILY, UPSTREAM_FD, UPSTREAM_PORT, type FlowSlab } from './flow-slab.ts';
import type { WorkerPoint } from './messages.ts';

interface OwnListener {
  readonly family: Family;
  readonly loopback: boolean;
  readonly own: readonly DialAddress[];
}

export interface UpstreamConnectParts {
  readonly slab: FlowSlab;
  readonly ledger: DescriptorLedger;
  readonly flows: FlowLifecycle;
  readonly mark: number;
}

export class UpstreamConnect {
  readonly #parts: UpstreamConnectParts;
  readonly #address = Buffer.alloc(28);
  readonly #addressWords = new DataView(this.#address.buffer, this.#address.byteOffset, 28);
  readonly #one = Int32Array.of(1);
  readonly #mark: Int32Array;
  /** Our own listeners by port. */
  readonly #listeners = new Map<number, OwnListener[]>();

  constructor(parts: UpstreamConnectParts) {
    this.#parts = parts;
    this.#mark = Int32Array.of(parts.mark);
  }

  set points(points: readonly WorkerPoint[]) {
    this.#listeners.clear();
    for (const { port, family, loopback, own } of points) {
      const known = this.#listeners.get(port) ?? [];
      known.push({ family, loopback, own: own.map(dialAddress) });
      this.#listeners.set(port, known);
    }
  }

  /**
   * Starts a connect; the socket is the slot's upstream from then on, also when it fails.
   * @returns 0 when it is under way, and for datagrams when it is done; else a number for `outcomeOfErrno`.
   */
  connect(slot: number, to: DialAddress, port: number, datagrams: boolean): number {
    const { slab, ledger, flows } = this.#parts;
    const { i32 } = slab;
    const i = slot * I32;
    i32[i + UPSTREAM_FAMILY] = to.family;
    i32[i + UPSTREAM_PORT] = port;
    i32.set(to.words, i + UPSTREAM);
    if (this.#isOwnListener(to, port)) return LOOP;
    const type = (datagrams ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;
    const fd = libc.socket(to.family === 4 ? AF_INET : AF_INET6, type, 0);
    if (fd < 0) return errno();
    ledger.opened(fd);
    i32[i + UPSTREAM_FD] = fd;
    i32[i + SIDE + 1] = 0;
    if (this.#parts.mark !== 0 && libc.setsockopt(fd, SOL_SOCKET, SO_MARK, this.#mark, 4) < 0) return errno();
    if (!datagrams) libc.setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, this.#one, 4);
    const view = this.#addressWords;
    this.#address.fill(0);
    view.setUint16(0, to.family === 4 ? AF_INET : AF_INET6, true);
    view.setUint16(2, port, false);
    const offset = to.family === 4 ? 4 : 8;
    for (let word = 0; word < (to.family === 4 ? 1 : 4); word++) {
      view.setInt32(offset + 4 * word, to.words[word] as number, true);
    }
    if (libc.connect(fd, this.#address, to.family === 4 ? 16 : 28) < 0) {
      const code = errno();
      if (code !== EINPROGRESS) return code;
    }
    return (datagrams ? flows.watchDatagrams(slot, fd) : flows.watch(slot, 1, fd)) ? 0 : errno();
  }

  /** Only the listeners' own addresses lead to them: everything else is kept out by the mark. */
  #isOwnListener(to: DialAddress, port: number): boolean {
    const listeners = this.#listeners.get(port) ?? [];
    return listeners.some(
      ({ family, loopback, own }) =>
        family === to.family && ((loopback && isLoopback(to)) || own.some((address) => isSame(address, to))),
    );
  }
}

/** The unspecified address too: Linux connects it to the loopback one. */
function isLoopback({ family, words: [a = 0, b = 0, c = 0, d = 0] }: DialAddress): boolean {
  if (family === 4) return a === 0 || (a & 0xff) === 127;
  return a === 0 && b === 0 && c === 0 && (d === 0 || d === 0x01000000);
}

function isSame(one: DialAddress, other: DialAddress): boolean {
  return one.words.every((word, index) => word === other.words[index]);
}
