/**
 * How a flow gets its upstream inside the worker: the steps of its service's plan in order, of each step its addresses
 * in order, each with a share of the time that is left. A failed dial is a RST to the client, never an empty success.
 */
import type { DialTarget } from '../api/dialer.ts';
import type { Family, FlowOutcome } from '../api/flow.ts';
import { isAddress } from '../capture/address.ts';
import {
  AF_INET,
  AF_INET6,
  IPPROTO_TCP,
  IPPROTO_UDP,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
  SO_ERROR,
  SO_MARK,
  TCP_NODELAY,
} from '../sys/constants.ts';
import { EINPROGRESS, ETIMEDOUT } from '../sys/errno.ts';
import { errno } from '../sys/library.ts';
import * as libc from '../sys/libc.ts';
import { outcomeOfErrno } from './dial-outcome.ts';
import { dialAddress, type AddressCache, type DialAddress } from './address-cache.ts';
import { at, type Counters } from './counters.ts';
import type { DescriptorLedger } from './descriptor-ledger.ts';
import type { FlowLifecycle } from './flow-lifecycle.ts';
import {
  AWAITING,
  CANDIDATE,
  CLIENT_FD,
  CONNECTED_AT,
  DEADLINE,
  DIALER,
  DIALING,
  DIAL_DEADLINE,
  DROPPED,
  ERRNO,
  F64,
  FAMILY,
  GENERATION,
  HELD,
  HANDSHAKE,
  I32,
  NAME,
  ORIGINAL,
  ORIGINAL_PORT,
  PROTOCOL,
  RELAY,
  RELAYING,
  RELAY_COPY,
  RESOLVING,
  SESSION,
  SIDE,
  SIDE_WRITABLE,
  STATE,
  STEP,
  STREAMING,
  UPSTREAM,
  UPSTREAM_FAMILY,
  UPSTREAM_FD,
  UPSTREAM_PORT,
  type FlowSlab,
} from './flow-slab.ts';
import type { HandshakeDialers } from './handshake-dialers.ts';
import type { Handshaking, HandshakeProgress } from './handshaking.ts';
import type { DialStep, FixedTarget, FromWorker, WorkerLimits, WorkerPoint, WorkerTimeouts } from './messages.ts';
import type { SpliceRelay } from './splice-relay.ts';

interface OwnListener {
  readonly family: Family;
  readonly loopback: boolean;
  readonly own: readonly DialAddress[];
}

export interface DialingParts {
  readonly slab: FlowSlab;
  readonly counters: Counters;
  readonly ledger: DescriptorLedger;
  readonly flows: FlowLifecycle;
  readonly cache: AddressCache;
  readonly dialers: HandshakeDialers;
  readonly handshaking: Handshaking;
  readonly relay: SpliceRelay;
  /** What a handshake is told about a flow. */
  readonly target: (slot: number) => DialTarget;
  /** A UDP session has its upstream. */
  readonly session: (slot: number, now: number) => void;
  /** A connection whose client is not there yet has its upstream. */
  readonly awaited: (slot: number, now: number) => void;
  /** Of such a connection: it can only be dialled once its client is there. */
  readonly connectFirst: (slot: number) => void;
  readonly mark: number;
  readonly limits: WorkerLimits;
  readonly post: (message: FromWorker) => void;
}

export class Dialing {
  readonly #parts: DialingParts;
  readonly #address = Buffer.alloc(28);
  readonly #addressWords = new DataView(this.#address.buffer, this.#address.byteOffset, 28);
  readonly #one = Int32Array.of(1);
  readonly #mark: Int32Array;
  readonly #value = new Int32Array(1);
  readonly #valueLength = Int32Array.of(4);
  readonly #literals = new Map<string, readonly DialAddress[]>();
  /** The plan a flow was begun with; a later one must not change its steps under it. By slot. */
  readonly #plans: (readonly DialStep[] | undefined)[] = [];
  /** Where a flow goes that came by a point of one service; the point may be gone before the dial is over. By slot. */
  readonly #targets: (FixedTarget | undefined)[] = [];
  /** Our own listeners by port. */
  readonly #listeners = new Map<number, OwnListener[]>();
  timeouts: WorkerTimeouts;

  constructor(parts: DialingParts, timeouts: WorkerTimeouts, points: readonly WorkerPoint[]) {
    this.#parts = parts;
    this.#mark = Int32Array.of(parts.mark);
    this.timeouts = timeouts;
    this.points = points;
  }

  set points(points: readonly WorkerPoint[]) {
    this.#listeners.clear();
    for (const { port, family, loopback, own } of points) {
      const known = this.#listeners.get(port) ?? [];
      known.push({ family, loopback, own: own.map(dialAddress) });
      this.#listeners.set(port, known);
    }
  }

  /** Of a flow that came by a point of one service. */
  targetOf(slot: number): FixedTarget | undefined {
    return this.#targets[slot];
  }

  /** Begins the dial of an accepted flow. `target` is that of the point, where a point serves one service. */
  begin(slot: number, plan: readonly DialStep[], now: number, target?: FixedTarget): void {
    this.#plans[slot] = plan;
    this.#targets[slot] = target;
    const { slab } = this.#parts;
    slab.f64[slot * F64 + DIAL_DEADLINE] = now + this.timeouts.connect;
    this.#advance(slot, now, 'dial-error');
  }

  /** Goes on with a flow that waited for addresses. */
  resume(slot: number, now: number): void {
    this.#advance(slot, now, 'dial-unresolved', true);
  }

  /**
   * The upstream's descriptor is ready or failed. True when the flow may be relayed.
   */
  connected(slot: number, failed: boolean, now: number): boolean {
    const { slab } = this.#parts;
    const i = slot * I32;
    if (failed) {
      this.#valueLength[0] = 4;
      this.#value[0] = 0;
      libc.getsockopt(slab.i32[i + UPSTREAM_FD] as number, SOL_SOCKET, SO_ERROR, this.#value, this.#valueLength);
      const code = this.#value[0];
      if (code !== 0) {
        this.#nextAddress(slot, code, now);
        return false;
      }
    }
    slab.i32[i + SIDE + 1] = (slab.i32[i + SIDE + 1] as number) | SIDE_WRITABLE;
    const step = this.#plans[slot]?.[slab.i32[i + STEP] as number];
    if (step?.kind === 'handshake') return this.#beginHandshake(slot, step.dialer, now);
    return this.#established(slot, now);
  }

  /** The upstream of a handshake is readable, writable or gone. True when the flow may be relayed. */
  shakeHands(slot: number, now: number): boolean {
    return this.#progressed(slot, this.#parts.handshaking.advance(slot), now);
  }

  #beginHandshake(slot: number, dialer: number, now: number): boolean {
    const { slab, dialers, handshaking, target } = this.#parts;
    const known = dialers.get(dialer);
    if (known === undefined) {
      this.#nextStep(slot, now, 'dial-error');
      return false;
    }
    slab.i32[slot * I32 + STATE] = HANDSHAKE;
    slab.f64[slot * F64 + DEADLINE] = now + this.timeouts.handshake;
    return this.#progressed(slot, handshaking.begin(slot, known, target(slot)), now);
  }

  #progressed(slot: number, progress: HandshakeProgress, now: number): boolean {
    if (progress.state === 'waiting') return false;
    if (progress.state === 'failed') {
      this.#nextStep(slot, now, progress.outcome);
      return false;
    }
    this.#parts.relay.prefillDown(slot, progress.early);
    return this.#established(slot, now);
  }

  /** True when the flow may be relayed. */
  #established(slot: number, now: number): boolean {
    const { slab, flows } = this.#parts;
    flows.endPending(slot);
    const datagrams = slab.i32[slot * I32 + PROTOCOL] === IPPROTO_UDP;
    const awaits = !datagrams && (slab.i32[slot * I32 + CLIENT_FD] as number) < 0;
    slab.i32[slot * I32 + STATE] = datagrams ? SESSION : awaits ? AWAITING : RELAYING;
    slab.i32[slot * I32 + RELAY] = RELAY_COPY;
    slab.f64[slot * F64 + CONNECTED_AT] = now;
    slab.f64[slot * F64 + DEADLINE] = 0;
    this.#plans[slot] = undefined;
    if (datagrams) this.#parts.session(slot, now);
    else if (awaits) this.#parts.awaited(slot, now);
    return !awaits;
  }

  /** What the upstream answered holds for all its addresses: the next dialer's turn. */
  #nextStep(slot: number, now: number, failure: FlowOutcome): void {
    const { slab, flows } = this.#parts;
    const i = slot * I32;
    flows.closeUpstream(slot, true);
    slab.i32[i + STEP] = (slab.i32[i + STEP] as number) + 1;
    slab.i32[i + CANDIDATE] = 0;
    // A chain's later dialers get their own time, or a stalled proxy would leave them none.
    slab.f64[slot * F64 + DIAL_DEADLINE] = now + this.timeouts.connect;
    this.#advance(slot, now, failure);
  }

  /** The time of an attempt, of a look-up or of a dropped flow is over. */
  expired(slot: number, now: number): void {
    const { slab, flows } = this.#parts;
    const state = slab.i32[slot * I32 + STATE];
    if (state === DIALING) this.#nextAddress(slot, ETIMEDOUT, now);
    else if (state === HANDSHAKE) {
      this.#parts.handshaking.forget(slot);
      this.#nextStep(slot, now, 'dial-timeout');
    } else if (state === RESOLVING) this.#fail(slot, 'dial-unresolved');
    else if (state === DROPPED) flows.finish(slot, 'denied');
    else if (state === AWAITING) flows.finish(slot, 'client-reset');
  }

  #nextAddress(slot: number, code: number, now: number): void {
    const { slab, flows } = this.#parts;
    const i = slot * I32;
    slab.i32[i + ERRNO] = code;
    flows.closeUpstream(slot, true);
    slab.i32[i + CANDIDATE] = (slab.i32[i + CANDIDATE] as number) + 1;
    this.#advance(slot, now, outcomeOfErrno(code));
  }

  /** Tries from the current step and address on. `failure` is what the flow ends with when nothing is left to try. */
  #advance(slot: number, now: number, failure: FlowOutcome, resumed = false): void {
    const { slab, flows, counters } = this.#parts;
    const { i32, f64 } = slab;
    const i = slot * I32;
    const plan = this.#plans[slot] ?? [];
    let reason = failure;
    let waited = resumed;
    for (;;) {
      const step = plan[i32[i + STEP] as number];
      if (step === undefined || now >= (f64[slot * F64 + DIAL_DEADLINE] as number)) {
        this.#fail(slot, step === undefined ? reason : 'dial-timeout');
        return;
      }
      i32[i + DIALER] = step.dialer;
      if (step.kind === 'reset') {
        this.#fail(slot, 'denied');
        return;
      }
      if (step.kind === 'drop') {
        flows.endPending(slot);
        i32[i + STATE] = DROPPED;
        f64[slot * F64 + DEADLINE] = now + this.timeouts.connect;
        return;
      }
      if (!flows.beginPending(slot, this.#parts.limits.pendingDials)) {
        this.#fail(slot, 'dial-limit');
        return;
      }
      if (step.kind !== 'route' && i32[i + PROTOCOL] === IPPROTO_UDP) {
        // Refused when the configuration is read; a dialer that carries no datagrams is passed over here.
        i32[i + STEP] = (i32[i + STEP] as number) + 1;
        continue;
      }
      if (step.kind === 'stream') {
        flows.endPending(slot);
        if (i32[i + HELD] === 0) this.#handToStreamWorker(slot, step.dialer);
        else this.#connectFirst(slot);
        return;
      }
      const addresses = this.#addressesOf(slot, step, now, waited);
      waited = false;
      if (addresses === undefined) {
        i32[i + STATE] = RESOLVING;
        f64[slot * F64 + DEADLINE] = f64[slot * F64 + DIAL_DEADLINE] as number;
        return;
      }
      if (addresses.length === 0) reason = 'dial-unresolved';
      const candidate = i32[i + CANDIDATE] as number;
      const address = addresses[candidate];
      if (address !== undefined) {
        const port = step.port ?? this.#targets[slot]?.port ?? (i32[i + ORIGINAL_PORT] as number);
        const remaining = (f64[slot * F64 + DIAL_DEADLINE] as number) - now;
        f64[slot * F64 + DEADLINE] = now + remaining / (addresses.length - candidate);
        const code = this.#connect(slot, address, port);
        if (code === 0) {
          counters.totals[at.dials] = (counters.totals[at.dials] as number) + 1;
          // A UDP socket is connected when connect() returns.
          if (i32[i + PROTOCOL] === IPPROTO_UDP) this.#established(slot, now);
          return;
        }
        i32[i + ERRNO] = code;
        reason = code === LOOP ? 'dial-loop' : outcomeOfErrno(code);
        flows.closeUpstream(slot, true);
        i32[i + CANDIDATE] = candidate + 1;
        continue;
      }
      i32[i + STEP] = (i32[i + STEP] as number) + 1;
      i32[i + CANDIDATE] = 0;
    }
  }

  /** Undefined: they were asked for. Those of the flow's own family come first. */
  #addressesOf(
    slot: number,
    step: Extract<DialStep, { kind: 'route' | 'handshake' }>,
    now: number,
    waited: boolean,
  ): readonly DialAddress[] | undefined {
    const { slab, cache } = this.#parts;
    const { i32 } = slab;
    const i = slot * I32;
    const host = step.host ?? this.#targets[slot]?.host;
    let key: number | string;
    if (host !== undefined) {
      let literal = this.#literals.get(host);
      if (literal === undefined && isAddress(host)) {
        literal = [dialAddress(host)];
        this.#literals.set(host, literal);
      }
      if (literal !== undefined) return literal;
      key = host;
    } else if (i32[i + NAME] !== 0) key = (i32[i + NAME] as number) - 1;
    else {
      const words = i32.slice(i + ORIGINAL, i + ORIGINAL + 4);
      return [{ family: i32[i + FAMILY] as 4 | 6, words }];
    }
    // Between two addresses of one dial the answer must not change under the cursor, whatever its TTL.
    const known = waited || (i32[i + CANDIDATE] as number) > 0 ? cache.last(key) : cache.get(key, now);
    if (known === undefined) {
      cache.wait(key, slot, i32[i + GENERATION] as number);
      return undefined;
    }
    const family = i32[i + FAMILY] as number;
    if (known.addresses.length < 2) return known.addresses;
    return known.addresses.toSorted((a, b) => Number(b.family === family) - Number(a.family === family));
  }

  /** Starts a connect. 0 when it is under way, else the errno. */
  #connect(slot: number, to: DialAddress, port: number): number {
    const { slab, ledger, flows } = this.#parts;
    const { i32 } = slab;
    const i = slot * I32;
    i32[i + UPSTREAM_FAMILY] = to.family;
    i32[i + UPSTREAM_PORT] = port;
    i32.set(to.words, i + UPSTREAM);
    if (this.#isOwnListener(to, port)) return LOOP;
    const datagrams = i32[i + PROTOCOL] === IPPROTO_UDP;
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
    i32[i + STATE] = DIALING;
    if (libc.connect(fd, this.#address, to.family === 4 ? 16 : 28) < 0) {
      const code = errno();
      if (code !== EINPROGRESS) return code;
    }
    return flows.watch(slot, 1, fd) ? 0 : errno();
  }

  /** Only the listeners' own addresses lead to them: everything else is kept out by the mark. */
  #isOwnListener(to: DialAddress, port: number): boolean {
    const listeners = this.#listeners.get(port) ?? [];
    return listeners.some(
      ({ family, loopback, own }) =>
        family === to.family && ((loopback && isLoopback(to)) || own.some((address) => isSame(address, to))),
    );
  }

  #connectFirst(slot: number): void {
    this.#plans[slot] = undefined;
    this.#parts.connectFirst(slot);
  }

  #handToStreamWorker(slot: number, dialer: number): void {
    const { slab, flows, post } = this.#parts;
    slab.i32[slot * I32 + STATE] = STREAMING;
    slab.f64[slot * F64 + DEADLINE] = 0;
    this.#plans[slot] = undefined;
    const fd = flows.handOver(slot);
    const target = this.#targets[slot];
    const generation = slab.i32[slot * I32 + GENERATION] as number;
    post({ type: 'stream', slot, generation, dialer, fd, ...(target === undefined ? {} : { target }) });
  }

  #fail(slot: number, outcome: FlowOutcome): void {
    this.#plans[slot] = undefined;
    this.#parts.flows.finish(slot, outcome);
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

/** Not an errno: the dial would have arrived at one of our own listeners. */
const LOOP = -1;
