/** What tunnels make of batches of datagrams on their way to a relay and back. Without a tunnel a datagram stays as it is. */
import type { DatagramTunnel } from '../api/dialer.ts';
import { MessageBatch } from '../sys/message-batch.ts';
import { segmentOf } from './datagram-run.ts';

/** Longer than any datagram. */
const PAYLOAD = 65_536;

export class TunnelledBatch {
  readonly #in: MessageBatch;
  /** Of what `unwrap` has found: where the payloads stand in the batch they came by. */
  readonly starts: Int32Array;
  /** How long they are without what a tunnel puts around them. */
  readonly sizes: Int32Array;
  /** Bytes of each datagram of a run; 0: one datagram. */
  readonly segments: Int32Array;
  /** There from the first datagram of a tunnel on. */
  #wrapped: MessageBatch | undefined;

  /** @param received the batch that all datagrams come by, in both directions. */
  constructor(received: MessageBatch) {
    this.#in = received;
    this.starts = new Int32Array(received.capacity);
    this.sizes = new Int32Array(received.capacity);
    this.segments = new Int32Array(received.capacity);
  }

  /** Gives message `place` of `out` what the tunnel makes of a datagram that has come; false when it cannot take it. */
  wrap(tunnel: DatagramTunnel, start: number, length: number, out: MessageBatch, place: number): boolean {
    const bytes = encapsulated(tunnel, this.#in.payloads.subarray(start, start + length));
    if (bytes === undefined || bytes.length > PAYLOAD) return false;
    this.#wrapped ??= new MessageBatch({ messages: this.#in.capacity, payload: PAYLOAD, control: 0 });
    const room = this.#wrapped.payloadAt(place);
    this.#wrapped.payloads.set(bytes, room);
    out.setPayload(place, this.#wrapped, room, bytes.length);
    return true;
  }

  /** Finds what of `count` messages from the upstream is for the client. @returns how many. */
  unwrap(tunnel: DatagramTunnel | undefined, count: number): number {
    let kept = 0;
    for (let n = 0; n < count; n++) {
      this.starts[kept] = this.#in.payloadAt(n);
      this.sizes[kept] = this.#in.length(n);
      this.segments[kept] = segmentOf(this.#in, n);
      if (tunnel === undefined || this.#decapsulate(tunnel, n, kept)) kept++;
    }
    return kept;
  }

  #decapsulate(tunnel: DatagramTunnel, n: number, place: number): boolean {
    const { payloads } = this.#in;
    let payload: Uint8Array | undefined;
    try {
      payload = tunnel.decapsulate(this.#payload(n));
    } catch {
      return false;
    }
    if (payload === undefined || payload.length > PAYLOAD) return false;
    this.sizes[place] = payload.length;
    if (payload.buffer === payloads.buffer) this.starts[place] = payload.byteOffset - payloads.byteOffset;
    else payloads.set(payload, this.#in.payloadAt(n));
    return true;
  }

  #payload(n: number): Uint8Array {
    const start = this.#in.payloadAt(n);
    return this.#in.payloads.subarray(start, start + this.#in.length(n));
  }
}

/** Undefined: the tunnel could not take it. */
export function encapsulated(tunnel: DatagramTunnel, datagram: Uint8Array): Uint8Array | undefined {
  try {
    return tunnel.encapsulate(datagram);
  } catch {
    return undefined;
  }
}
