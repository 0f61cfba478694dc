/** Ends what has taken too long: dials, silent flows, half-closed ones. Looks at every slot, a few times a second. */
import { RESOLVER_SERVICES } from '../api/capture.ts';
import type { Dialing } from './dialing.ts';
import type { FlowLifecycle } from './flow-lifecycle.ts';
import {
  ACTIVE_AT,
  DEADLINE,
  F64,
  FREE,
  I32,
  RELAYING,
  SERVICE,
  SESSION,
  SIDE,
  SIDE_EOF,
  STATE,
  STREAMING,
  type FlowSlab,
} from './flow-slab.ts';

/** A UDP session that is silent for so long does not keep a drain waiting. Milliseconds. */
const DRAINING_UDP_IDLE = 1000;
/** Of a captured query: clients take a new port for each, and none waits longer for an answer. Milliseconds. */
const QUERY_IDLE = 6000;

export interface FlowTimeoutsParts {
  readonly slab: FlowSlab;
  readonly flows: FlowLifecycle;
  readonly dialing: Dialing;
}

export class FlowTimeouts {
  readonly #parts: FlowTimeoutsParts;
  draining = false;

  constructor(parts: FlowTimeoutsParts) {
    this.#parts = parts;
  }

  sweep(now: number): void {
    const { slab, flows, dialing } = this.#parts;
    const { i32, f64 } = slab;
    const { idle, halfClosed } = dialing.timeouts;
    const udpIdle = this.draining ? Math.min(DRAINING_UDP_IDLE, dialing.timeouts.udpIdle) : dialing.timeouts.udpIdle;
    for (let slot = 0; slot < flows.high; slot++) {
      const i = slot * I32;
      const state = i32[i + STATE];
      if (state === FREE || state === STREAMING) continue;
      const quiet = now - (f64[slot * F64 + ACTIVE_AT] as number);
      if (state === RELAYING) {
        const sides = (i32[i + SIDE] as number) | (i32[i + SIDE + 1] as number);
        if ((sides & SIDE_EOF) !== 0 && quiet > halfClosed) flows.finish(slot, 'half-closed-timeout');
        else if (quiet > idle) flows.finish(slot, 'idle-timeout');
      } else if (state === SESSION) {
        // Nobody says that a session is over; silence is its ordinary end.
        const limit = i32[i + SERVICE] === RESOLVER_SERVICES.udp ? Math.min(QUERY_IDLE, udpIdle) : udpIdle;
        if (quiet > limit) flows.finish(slot, 'closed');
      } else {
        const deadline = f64[slot * F64 + DEADLINE] as number;
        if (deadline !== 0 && now >= deadline) dialing.expired(slot, now);
      }
    }
  }
}
