/**
 * Moves bytes between the two sockets of a flow. Adaptive: `recv` and `send` through one buffer shared by all flows while
 * transfers are small, a pipe and `splice` after several full reads in a row, and back when they get small again. Bytes
 * that a slow reader does not take wait in a pipe, which is kernel memory with a bound, never in the heap.
 *
 * Edge-triggered: a side is readable until a read says otherwise. A read shorter than asked for says so too, and saves
 * the extra call, but not when the peer's FIN was seen: FIN that came with the data raises no second event.
 */
import { MSG_MORE, MSG_NOSIGNAL, SHUT_WR, SPLICE_F_MOVE, SPLICE_F_NONBLOCK } from '../sys/constants.ts';
import { EAGAIN, EINTR } from '../sys/errno.ts';
import { errno } from '../sys/library.ts';
import * as libc from '../sys/libc.ts';
import { at, type Counters } from './counters.ts';
import {
  ACTIVE_AT,
  BYTES_DOWN,
  BYTES_UP,
  CLIENT_FD,
  F64,
  I32,
  PIPE_BYTES,
  PIPE_READ,
  PIPE_WRITE,
  RELAY,
  RELAY_SPLICE,
  SIDE,
  SIDE_EOF,
  SIDE_ERROR,
  SIDE_RDHUP,
  SIDE_READABLE,
  SIDE_SHUT,
  SIDE_WRITABLE,
  SPLICING,
  STREAK,
  type FlowSlab,
} from './flow-slab.ts';
import { PIPE_SIZE, type PipePool } from './pipe-pool.ts';

/** One read while copying. */
const COPY_SIZE = 64 * 1024;
/** Full reads in a row after which a direction is spliced. */
const FULL_READS = 2;
/** Reads below SMALL in a row after which it is copied again. */
const SMALL_READS = 8;
const SMALL = 16 * 1024;
/** Bytes one direction may move before other flows get their turn. */
const TURN = 512 * 1024;

/** What a lane asks for when it begins to splice, and again when its sink was full: bounds what a blocked flow holds. */
const FIRST_SPLICE = 256 * 1024;

const SPLICE_FLAGS = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;

/** What a turn of a direction ended with. */
export const IDLE = 0;
/** Its share is used up and there is more to do. */
export const MORE = 1;
/** FIN has been passed on; nothing will ever move again. */
export const FINISHED = 2;
/** Reading from its source failed: the source side was reset. */
export const SOURCE_FAILED = 3;
/** Writing to its sink failed. */
export const SINK_FAILED = 4;

const UP = 0;
const DOWN = 1;

export class SpliceRelay {
  readonly #slab: FlowSlab;
  readonly #pipes: PipePool;
  readonly #counters: Counters;
  readonly #buffer = new Uint8Array(COPY_SIZE);
  /** By lane: bytes that neither the sink nor a pipe took, because pipes are short. Empty on a healthy host. */
  readonly #overflow = new Map<number, Uint8Array>();

  constructor(slab: FlowSlab, pipes: PipePool, counters: Counters) {
    this.#slab = slab;
    this.#pipes = pipes;
    this.#counters = counters;
  }

  /** Client to upstream. */
  up(slot: number, now: number): number {
    return this.#turn(slot, UP, now);
  }

  /** Upstream to client. */
  down(slot: number, now: number): number {
    return this.#turn(slot, DOWN, now);
  }

  /** Bytes that go to the client before anything the upstream sends from now on. */
  prefillDown(slot: number, bytes: Uint8Array): void {
    if (bytes.length > 0) this.#overflow.set(slot * I32 + DOWN, bytes);
  }

  /** Gives the pipes of an ending flow back. */
  release(slot: number): void {
    for (const direction of [UP, DOWN]) {
      this.#giveBack(slot * I32 + direction);
      if (this.#overflow.size > 0) this.#overflow.delete(slot * I32 + direction);
    }
  }

  #turn(slot: number, direction: number, now: number): number {
    const i32 = this.#slab.i32;
    const flow = slot * I32;
    const source = flow + SIDE + direction;
    const sink = flow + SIDE + (1 - direction);
    const sourceFd = i32[flow + CLIENT_FD + direction] as number;
    const sinkFd = i32[flow + CLIENT_FD + 1 - direction] as number;
    const lane = flow + direction;
    let moved = 0;
    let result = IDLE;

    for (;;) {
      if (moved >= TURN) {
        result = MORE;
        break;
      }
      if (this.#overflow.size > 0 && i32[lane + PIPE_BYTES] === 0) {
        const rest = this.#overflow.get(lane);
        if (rest !== undefined) {
          if (((i32[sink] as number) & SIDE_WRITABLE) === 0) break;
          const sent = libc.send(sinkFd, rest, rest.length, MSG_NOSIGNAL);
          if (sent < 0 && errno() !== EAGAIN && errno() !== EINTR) {
            result = SINK_FAILED;
            break;
          }
          moved += Math.max(sent, 0);
          if (sent === rest.length) this.#overflow.delete(lane);
          else {
            if (sent > 0) this.#overflow.set(lane, rest.slice(sent));
            i32[sink] = (i32[sink] as number) & ~SIDE_WRITABLE;
          }
          continue;
        }
      }
      if (i32[lane + SPLICING] === 0) {
        if (((i32[source] as number) & (SIDE_READABLE | SIDE_EOF)) !== SIDE_READABLE) break;
        if (((i32[sink] as number) & SIDE_WRITABLE) === 0) break;
        const got = libc.recv(sourceFd, this.#buffer, COPY_SIZE, 0);
        if (got === 0) {
          i32[source] = (i32[source] as number) | SIDE_EOF;
          break;
        }
        if (got < 0) {
          const code = errno();
          if (code === EINTR) continue;
          if (code !== EAGAIN) {
            result = SOURCE_FAILED;
            break;
          }
          i32[source] = (i32[source] as number) & ~SIDE_READABLE;
          break;
        }
        if (got === COPY_SIZE) i32[lane + STREAK] = (i32[lane + STREAK] as number) + 1;
        else {
          i32[lane + STREAK] = 0;
          if (((i32[source] as number) & (SIDE_RDHUP | SIDE_ERROR)) === 0) {
            i32[source] = (i32[source] as number) & ~SIDE_READABLE;
          }
        }
        // FIN is in sight, so it can travel with these bytes: two segments less, and the reader wakes once.
        const ending = ((i32[source] as number) & (SIDE_RDHUP | SIDE_ERROR)) === SIDE_RDHUP;
        let sent = libc.send(sinkFd, this.#buffer, got, ending ? MSG_NOSIGNAL | MSG_MORE : MSG_NOSIGNAL);
        if (sent < 0) {
          const code = errno();
          if (code !== EAGAIN && code !== EINTR) {
            result = SINK_FAILED;
            break;
          }
          sent = 0;
        }
        moved += sent;
        if (sent < got) {
          i32[sink] = (i32[sink] as number) & ~SIDE_WRITABLE;
          this.#park(lane, direction, sent, got);
        } else if ((i32[lane + STREAK] as number) >= FULL_READS) {
          i32[lane + SPLICING] = FIRST_SPLICE;
          i32[lane + STREAK] = 0;
          i32[flow + RELAY] = RELAY_SPLICE;
        }
        continue;
      }

      const waiting = i32[lane + PIPE_BYTES] as number;
      if (waiting > 0) {
        if (((i32[sink] as number) & SIDE_WRITABLE) === 0) break;
        const put = libc.splice(i32[lane + PIPE_READ] as number, null, sinkFd, null, waiting, SPLICE_FLAGS);
        if (put <= 0) {
          const code = put === 0 ? EAGAIN : errno();
          if (code === EINTR) continue;
          if (code !== EAGAIN) {
            result = SINK_FAILED;
            break;
          }
          i32[sink] = (i32[sink] as number) & ~SIDE_WRITABLE;
          i32[lane + SPLICING] = FIRST_SPLICE;
          break;
        }
        i32[lane + PIPE_BYTES] = waiting - put;
        moved += put;
        // All of it went at once: the next one may be larger.
        if (put === waiting && 2 * put > (i32[lane + SPLICING] as number)) {
          i32[lane + SPLICING] = Math.min(2 * (i32[lane + SPLICING] as number), PIPE_SIZE);
        }
        continue;
      }
      if ((i32[lane + STREAK] as number) >= SMALL_READS) {
        i32[lane + SPLICING] = 0;
        i32[lane + STREAK] = 0;
        this.#giveBack(lane);
        continue;
      }
      if (((i32[source] as number) & (SIDE_READABLE | SIDE_EOF)) !== SIDE_READABLE) break;
      if (((i32[sink] as number) & SIDE_WRITABLE) === 0) break;
      if (i32[lane + PIPE_WRITE] === 0 && !this.#takePipe(lane)) {
        i32[lane + SPLICING] = 0;
        i32[lane + STREAK] = 0;
        continue;
      }
      const got = libc.splice(
        sourceFd,
        null,
        i32[lane + PIPE_WRITE] as number,
        null,
        i32[lane + SPLICING] as number,
        SPLICE_FLAGS,
      );
      if (got > 0) {
        i32[lane + PIPE_BYTES] = got;
        i32[lane + STREAK] = got < SMALL ? (i32[lane + STREAK] as number) + 1 : 0;
        continue;
      }
      if (got === 0) {
        i32[source] = (i32[source] as number) | SIDE_EOF;
        break;
      }
      const code = errno();
      if (code === EINTR) continue;
      if (code !== EAGAIN) {
        result = SOURCE_FAILED;
        break;
      }
      // The pipe is empty here, so it is the socket that has nothing.
      i32[source] = (i32[source] as number) & ~SIDE_READABLE;
      break;
    }

    if (i32[lane + PIPE_WRITE] !== 0 && i32[lane + PIPE_BYTES] === 0) this.#giveBack(lane);
    if (moved > 0) {
      const bytes = slot * F64 + (direction === UP ? BYTES_UP : BYTES_DOWN);
      this.#slab.f64[bytes] = (this.#slab.f64[bytes] as number) + moved;
      this.#slab.f64[slot * F64 + ACTIVE_AT] = now;
      const total = direction === UP ? at.bytesUp : at.bytesDown;
      this.#counters.totals[total] = (this.#counters.totals[total] as number) + moved;
    }
    if (result !== IDLE) return result;
    if (((i32[source] as number) & SIDE_EOF) === 0 || i32[lane + PIPE_BYTES] !== 0) return IDLE;
    if (this.#overflow.size > 0 && this.#overflow.has(lane)) return IDLE;
    if (((i32[sink] as number) & SIDE_SHUT) === 0) {
      i32[sink] = (i32[sink] as number) | SIDE_SHUT;
      this.#giveBack(lane);
      // When the other direction has finished too, both are closed at once, and close() sends the FIN.
      const last = ((i32[sink] as number) & SIDE_EOF) !== 0 && ((i32[source] as number) & SIDE_SHUT) !== 0;
      if (!last && libc.shutdown(sinkFd, SHUT_WR) < 0) return SINK_FAILED;
    }
    return FINISHED;
  }

  /** Keeps what the sink did not take: in a pipe, and in the heap only what a short pipe has no room for. */
  #park(lane: number, direction: number, from: number, to: number): void {
    const i32 = this.#slab.i32;
    let parked = from;
    if (this.#takePipe(lane)) {
      const written = libc.write(i32[lane + PIPE_WRITE] as number, this.#buffer.subarray(from, to), to - from);
      if (written > 0) {
        i32[lane + PIPE_BYTES] = written;
        parked += written;
      }
      i32[lane + SPLICING] = FIRST_SPLICE;
      // Bulk that its reader holds up stays in the kernel; anything else goes back to copying once the pipe is empty.
      if (to === COPY_SIZE) i32[lane - direction + RELAY] = RELAY_SPLICE;
      i32[lane + STREAK] = to === COPY_SIZE ? 0 : SMALL_READS;
    }
    if (parked < to) this.#overflow.set(lane, this.#buffer.slice(parked, to));
  }

  #takePipe(lane: number): boolean {
    const i32 = this.#slab.i32;
    if (!this.#pipes.take()) {
      this.#counters.totals[at.pipeLimit] = (this.#counters.totals[at.pipeLimit] as number) + 1;
      return false;
    }
    i32[lane + PIPE_READ] = this.#pipes.readEnd;
    i32[lane + PIPE_WRITE] = this.#pipes.writeEnd;
    i32[lane + PIPE_BYTES] = 0;
    return true;
  }

  #giveBack(lane: number): void {
    const i32 = this.#slab.i32;
    const write = i32[lane + PIPE_WRITE] as number;
    if (write === 0) return;
    this.#pipes.give(i32[lane + PIPE_READ] as number, write, i32[lane + PIPE_BYTES] === 0);
    i32[lane + PIPE_READ] = 0;
    i32[lane + PIPE_WRITE] = 0;
    i32[lane + PIPE_BYTES] = 0;
  }
}
