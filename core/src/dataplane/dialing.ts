/**
 * How a flow gets its upstream inside the worker: the steps of its service's plan in order, of each step its addresses
 * in order, each with a share of the time that is left. A failed dial is a RST to the client, never an empty success.
 */
import type { DialTarget } from '../api/dialer.ts';
import type { FlowOutcome } from '../api/flow.ts';
import { SO_ERROR, SOL_SOCKET, IPPROTO_UDP } from '../sys/constants.ts';
import { ETIMEDOUT } from '../sys/errno.ts';
import * as libc from '../sys/libc.ts';
import type { Associations } from './associations.ts';
import { outcomeOfErrno } from './dial-outcome.ts';
import type { AddressCache, DialAddress } from './address-cache.ts';
import { at, type Counters } from './counters.ts';
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
  UPSTREAM_FD,
  type FlowSlab,
} from './flow-slab.ts';
import type { HandshakeDialers } from './handshake-dialers.ts';
import type { Handshaking, HandshakeProgress } from './handshaking.ts';
import type { DialStep, FixedTarget, FromWorker, WorkerLimits, WorkerTimeouts } from './messages.ts';
import type { SpliceRelay } from './splice-relay.ts';
import type { UpstreamConnect } from './upstream-connect.ts';

export interface DialingParts {
  readonly slab: FlowSlab;
  readonly counters: Counters;
  readonly flows: FlowLifecycle;
  readonly cache: AddressCache;
  readonly dialers: HandshakeDialers;
  readonly handshaking: Handshaking;
  readonly relay: SpliceRelay;
  readonly upstreams: UpstreamConnect;
  readonly associations: Associations;
  /** What a handshake is told about a flow. */
  readonly target: (slot: number) => DialTarget;
  /** A UDP session has its upstream. */
  readonly session: (slot: number, now: number) => void;
  /** A connection whose client is not there yet has its upstream. */
  readonly awaited: (slot: number, now: number) => void;
  /** Of such a connection: it can only be dialled once its client is there. */
  readonly connectFirst: (slot: number) => void;
  readonly limits: WorkerLimits;
  readonly post: (message: FromWorker) => void;
}

export class Dialing {
  readonly #parts: DialingParts;
  readonly #value = new Int32Array(1);
  readonly #valueLength = Int32Array.of(4);
  /** The plan a flow was begun with; a later one must not change its steps under it. By slot. */
  readonly #plans: (readonly DialStep[] | undefined)[] = [];
  /** Where a flow goes that came by a point of one service; the point may be gone before the dial is over. By slot. */
  readonly #targets: (FixedTarget | undefined)[] = [];
  /** Flows with a name whose destination is where the client meant to go: a real address of the name. By slot. */
  readonly #meant: boolean[] = [];
  timeouts: WorkerTimeouts;

  constructor(parts: DialingParts, timeouts: WorkerTimeouts) {
    this.#parts = parts;
    this.timeouts = timeouts;
  }

  /** Of a flow that came by a point of one service. */
  targetOf(slot: number): FixedTarget | undefined {
    return this.#targets[slot];
  }

  /**
   * Begins the dial of an accepted flow. `target` is that of the point, where a point serves one service. `meant`: the flow
   * has a name, and its own destination is an address that the name really has.
   */
  begin(slot: number, plan: readonly DialStep[], now: number, target?: FixedTarget, meant = false): void {
    this.#plans[slot] = plan;
    this.#targets[slot] = target;
    this.#meant[slot] = meant;
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
    return this.#progressed(slot, handshaking.begin(slot, dialer, known, target(slot)), now);
  }

  #progressed(slot: number, progress: HandshakeProgress, now: number): boolean {
    if (progress.state === 'waiting') return false;
    if (progress.state === 'failed') {
      this.#nextStep(slot, now, progress.outcome);
      return false;
    }
    const { slab, relay, associations } = this.#parts;
    if (slab.i32[slot * I32 + PROTOCOL] !== IPPROTO_UDP) relay.prefillDown(slot, progress.early);
    else {
      const failure = associations.begin(slot, progress.tunnel);
      if (failure !== undefined) {
        this.#nextStep(slot, now, failure);
        return false;
      }
    }
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
    return !awaits && !datagrams;
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
      const datagrams = i32[i + PROTOCOL] === IPPROTO_UDP;
      if (step.kind === 'stream') {
        // Streams carry no datagrams: refused when the configuration is read.
        if (datagrams) {
          this.#fail(slot, 'dial-error');
          return;
        }
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
        i32[i + STATE] = DIALING;
        // A handshake is made by TCP, whatever it is for.
        const byDatagrams = datagrams && step.kind === 'route';
        const code = this.#parts.upstreams.connect(slot, address, port, byDatagrams);
        if (code === 0) {
          counters.totals[at.dials] = (counters.totals[at.dials] as number) + 1;
          // A UDP socket is connected when connect() returns.
          if (byDatagrams) this.#established(slot, now);
          return;
        }
        i32[i + ERRNO] = code;
        reason = outcomeOfErrno(code);
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
    if (host !== undefined) key = host;
    else if (i32[i + NAME] !== 0 && this.#meant[slot] !== true) key = (i32[i + NAME] as number) - 1;
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
