/**
 * Plays handshakes on connected upstreams, before the first byte of the flow. What the upstream sends beyond the
 * handshake belongs to the flow and goes to the client first. Everything is bounded: bytes by MAX_INPUT and MAX_OUTPUT,
 * time by the flow's deadline.
 */
import type { DatagramTunnel, DialTarget, Handshake, HandshakeDialer } from '../api/dialer.ts';
import type { DialError } from '../api/errors.ts';
import type { FlowOutcome } from '../api/flow.ts';
import { IPPROTO_UDP, MSG_NOSIGNAL } from '../sys/constants.ts';
import { EAGAIN, EINTR } from '../sys/errno.ts';
import { errno } from '../sys/library.ts';
import * as libc from '../sys/libc.ts';
import { I32, PROTOCOL, SIDE, SIDE_READABLE, SIDE_WRITABLE, UPSTREAM_FD, type FlowSlab } from './flow-slab.ts';

/** Bytes of an unfinished handshake that may wait for more; the longest reply known is far below. */
const MAX_INPUT = 64 * 1024;
const MAX_OUTPUT = 64 * 1024;
const READ_SIZE = 16 * 1024;
/** A handshake that neither consumes nor sends anything but is called for ever is a fault of the dialer. */
const MAX_STEPS = 64;

/** Characters of a fault's text that are told. */
const MAX_REASON = 500;

const NOTHING = new Uint8Array(0);

interface Playing {
  readonly handshake: Handshake;
  readonly dialer: number;
  input: Uint8Array;
  output: Uint8Array;
}

/** `early`: what the upstream has sent for the client already. `tunnel`: for datagrams, where the dialer gave one. */
export type HandshakeProgress =
  | { readonly state: 'waiting' }
  | { readonly state: 'done'; readonly early: Uint8Array; readonly tunnel: DatagramTunnel | undefined }
  | { readonly state: 'failed'; readonly outcome: FlowOutcome };

/** A dialer whose code threw what is no DialError, or broke the contract; `reason` is for the log. */
export interface DialerFault {
  /** Its place in the list of dialers. */
  readonly dialer: number;
  readonly reason: string;
}

const WAITING: HandshakeProgress = { state: 'waiting' };

export class Handshaking {
  readonly #slab: FlowSlab;
  readonly #playing = new Map<number, Playing>();
  readonly #buffer = new Uint8Array(READ_SIZE);
  readonly #tell: (fault: DialerFault) => void;
  readonly #told = new Set<number>();

  /** @param tell is called for the first fault of each dialer. */
  constructor(slab: FlowSlab, tell: (fault: DialerFault) => void) {
    this.#slab = slab;
    this.#tell = tell;
  }

  /** Begins on a connected upstream. @param dialer the place of `made` in the list of dialers. */
  begin(slot: number, dialer: number, made: HandshakeDialer, target: DialTarget): HandshakeProgress {
    try {
      const playing: Playing = { handshake: made.handshake(target), dialer, input: NOTHING, output: NOTHING };
      this.#playing.set(slot, playing);
      return this.#step(slot, playing) ?? this.advance(slot);
    } catch (error) {
      return this.#failed(slot, dialer, error);
    }
  }

  /** Goes on after an event of the upstream. */
  advance(slot: number): HandshakeProgress {
    const playing = this.#playing.get(slot);
    if (playing === undefined) return { state: 'failed', outcome: 'dial-error' };
    try {
      return this.#flush(slot, playing) ?? this.#read(slot, playing);
    } catch (error) {
      return this.#failed(slot, playing.dialer, error);
    }
  }

  /** The flow ended or goes to another upstream. */
  forget(slot: number): void {
    if (this.#playing.size > 0) this.#playing.delete(slot);
  }

  #read(slot: number, playing: Playing): HandshakeProgress {
    const { i32 } = this.#slab;
    const side = slot * I32 + SIDE + 1;
    while (((i32[side] as number) & SIDE_READABLE) !== 0) {
      const got = libc.recv(i32[slot * I32 + UPSTREAM_FD] as number, this.#buffer, READ_SIZE, 0);
      if (got < 0) {
        const code = errno();
        if (code === EINTR) continue;
        if (code !== EAGAIN) return this.#end(slot, 'dial-refused');
        i32[side] = (i32[side] as number) & ~SIDE_READABLE;
        break;
      }
      // The end in the middle of a handshake.
      if (got === 0) return this.#end(slot, 'dial-protocol');
      if (playing.input.length + got > MAX_INPUT) return this.#end(slot, 'dial-protocol');
      playing.input = joined(playing.input, this.#buffer.subarray(0, got));
      const progress = this.#step(slot, playing) ?? this.#flush(slot, playing);
      if (progress !== undefined) return progress;
    }
    return WAITING;
  }

  /** Lets the handshake see its input until it wants more. Undefined: not done. */
  #step(slot: number, playing: Playing): HandshakeProgress | undefined {
    for (let steps = 0; steps < MAX_STEPS; steps++) {
      const { send, consumed, done, tunnel } = playing.handshake.step(playing.input);
      if (!Number.isInteger(consumed) || consumed < 0 || consumed > playing.input.length) {
        throw new TypeError(`step() says it consumed ${consumed} of ${playing.input.length} bytes`);
      }
      playing.input = playing.input.subarray(consumed);
      if (send !== undefined) playing.output = joined(playing.output, send);
      if (playing.output.length > MAX_OUTPUT) throw new RangeError(`step() sends more than ${MAX_OUTPUT} bytes`);
      if (done) {
        const failed = this.#flush(slot, playing);
        if (failed !== undefined) return failed;
        // The last message of a handshake is short; an upstream whose buffer is full already keeps no protocol.
        if (playing.output.length > 0) return this.#end(slot, 'dial-protocol');
        if (tunnel === undefined && this.#slab.i32[slot * I32 + PROTOCOL] === IPPROTO_UDP) {
          throw new TypeError('step() is done for UDP and has no tunnel');
        }
        this.#playing.delete(slot);
        return { state: 'done', early: playing.input, tunnel };
      }
      if (consumed === 0 || playing.input.length === 0) return undefined;
    }
    throw new RangeError(`step() was called ${MAX_STEPS} times for what one read brought`);
  }

  #flush(slot: number, playing: Playing): HandshakeProgress | undefined {
    const { i32 } = this.#slab;
    const side = slot * I32 + SIDE + 1;
    while (playing.output.length > 0 && ((i32[side] as number) & SIDE_WRITABLE) !== 0) {
      const { output } = playing;
      const sent = libc.send(i32[slot * I32 + UPSTREAM_FD] as number, output, output.length, MSG_NOSIGNAL);
      if (sent >= 0) {
        playing.output = output.subarray(sent);
        continue;
      }
      const code = errno();
      if (code === EINTR) continue;
      if (code !== EAGAIN) return this.#end(slot, 'dial-refused');
      i32[side] = (i32[side] as number) & ~SIDE_WRITABLE;
    }
    return undefined;
  }

  #failed(slot: number, dialer: number, error: unknown): HandshakeProgress {
    if (!isDialError(error) && !this.#told.has(dialer)) {
      this.#told.add(dialer);
      this.#tell({ dialer, reason: faultText(error) });
    }
    return this.#end(slot, outcomeOfDialError(error));
  }

  #end(slot: number, outcome: FlowOutcome): HandshakeProgress {
    this.#playing.delete(slot);
    return { state: 'failed', outcome };
  }
}

/** A DialError is known by its field: the dialer may come with a copy of the class of its own. */
export function isDialError(error: unknown): error is DialError {
  return typeof (error as Partial<DialError> | undefined | null)?.failure === 'string';
}

/** The first line of what was thrown, with the name of its class. */
export function faultText(error: unknown): string {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : `it threw no Error (${typeof error})`;
  return (text.split('\n', 1)[0] as string).slice(0, MAX_REASON);
}

export function outcomeOfDialError(error: unknown): FlowOutcome {
  const { failure } = (error ?? {}) as Partial<DialError>;
  switch (failure) {
    case 'refused':
    case 'timeout':
    case 'unreachable':
    case 'unresolved':
    case 'loop':
    case 'limit':
    case 'protocol':
      return `dial-${failure}`;
    case 'reset':
      return 'dial-refused';
    case 'denied':
      return 'denied';
    default:
      return 'dial-error';
  }
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
