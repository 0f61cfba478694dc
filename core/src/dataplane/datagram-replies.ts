/**
 * What upstreams of UDP sessions have sent, on its way to the clients: from the address and port that they wrote to. Where
 * capture is transparent that takes a raw socket, which sends datagrams one by one; a point sends runs as they are.
 */
import type { MessageBatch } from '../sys/message-batch.ts';
import { EINTR } from '../sys/errno.ts';
import { at, type Counters, type WorkerCounter } from './counters.ts';
import { datagramsIn, longestRun } from './datagram-run.ts';
import {
  ACTIVE_AT,
  BYTES_DOWN,
  F64,
  I32,
  ORIGINAL,
  ORIGINAL_PORT,
  SCOPE,
  SOURCE,
  SOURCE_PORT,
  type FlowSlab,
} from './flow-slab.ts';
import type { WorkerPoint } from './messages.ts';
import { type AfterFailure, OutgoingDatagrams } from './outgoing-datagrams.ts';
import { writePacketInfo } from './packet-info.ts';
import type { TunnelledBatch } from './tunnelled-batch.ts';

const UDP_HEADER = 8;

export class DatagramReplies {
  readonly #slab: FlowSlab;
  readonly #counters: Counters;
  readonly #out: OutgoingDatagrams;
  /** From foreign addresses: a UDP header of ours in front, the source address as control data. */
  readonly #raw: OutgoingDatagrams;

  /** @param received the batch that they come by. */
  constructor(slab: FlowSlab, counters: Counters, received: MessageBatch) {
    this.#slab = slab;
    this.#counters = counters;
    this.#out = new OutgoingDatagrams(received);
    this.#raw = new OutgoingDatagrams(received, UDP_HEADER);
  }

  /**
   * Sends the first `count` payloads of what has been unwrapped to the session's client.
   * @returns how many datagrams they are.
   */
  send(slot: number, point: WorkerPoint, unwrapped: TunnelledBatch, count: number, now: number): number {
    const { starts, sizes, segments } = unwrapped;
    const raw = point.replyFd >= 0;
    const out = raw ? this.#raw : this.#out;
    let datagrams = 0;
    for (let n = 0; n < count; n++) {
      const start = starts[n] as number;
      const segment = segments[n] as number;
      const end = start + (sizes[n] as number);
      // The header in front is that of one datagram.
      const most = segment === 0 ? end - start : raw ? segment : longestRun(segment);
      datagrams += datagramsIn(end - start, segment);
      let from = start;
      do {
        if (out.full) this.#flush(out, slot, point, now);
        const length = Math.min(most, end - from);
        this.#add(out, slot, point, from, length, length > segment ? segment : 0);
        from += length;
      } while (from < end);
    }
    this.#flush(out, slot, point, now);
    return datagrams;
  }

  #add(out: OutgoingDatagrams, slot: number, point: WorkerPoint, start: number, length: number, segment: number): void {
    const { i32 } = this.#slab;
    const i = slot * I32;
    const raw = out === this.#raw;
    const { batch, count: n } = out;
    const { family } = point;
    // A listener on all addresses says which one answers; one that a mechanism leads flows to answers as itself.
    const addressed = point.original.via === 'fixed' && i32.subarray(i + ORIGINAL, i + ORIGINAL + 4).some(Boolean);
    const name = batch.nameAt(n);
    batch.names.setUint16(name, family === 4 ? 2 : 10, true);
    // A raw socket has no ports: the header in front says them.
    batch.names.setUint16(name + 2, raw ? 0 : (i32[i + SOURCE_PORT] as number), false);
    const offset = family === 4 ? 4 : 8;
    if (family === 6) {
      batch.names.setUint32(name + 4, 0, true);
      batch.names.setInt32(name + 24, i32[i + SCOPE] as number, true);
    }
    for (let word = 0; word < (family === 4 ? 1 : 4); word++) {
      batch.names.setInt32(name + offset + 4 * word, i32[i + SOURCE + word] as number, true);
    }
    let control = 0;
    if (raw) this.#writeHeader(n, i, length);
    if (raw || addressed) {
      control = writePacketInfo(batch.controls, batch.controlAt(n), family, i32, i + ORIGINAL, i32[i + SCOPE]);
    }
    out.add(start, length, segment, family === 4 ? 16 : 28, control);
  }

  #flush(out: OutgoingDatagrams, slot: number, point: WorkerPoint, now: number): void {
    out.send(out === this.#raw ? point.replyFd : point.fd, failed);
    if (out.sent > 0) {
      const { f64 } = this.#slab;
      f64[slot * F64 + BYTES_DOWN] = (f64[slot * F64 + BYTES_DOWN] as number) + out.bytes;
      f64[slot * F64 + ACTIVE_AT] = now;
      this.#count('bytesDown', out.bytes);
      this.#count('datagramsDown', out.sent);
    }
    if (out.runs > 0) this.#count('datagramRunsDown', out.runs);
    if (out.dropped > 0) this.#count('datagramsDropped', out.dropped);
  }

  /** UDP header (RFC 768). */
  #writeHeader(n: number, i: number, length: number): void {
    const { i32 } = this.#slab;
    const { prefixes } = this.#raw.batch;
    const prefix = this.#raw.batch.prefixAt(n);
    prefixes.setUint16(prefix, i32[i + ORIGINAL_PORT] as number, false);
    prefixes.setUint16(prefix + 2, i32[i + SOURCE_PORT] as number, false);
    prefixes.setUint16(prefix + 4, UDP_HEADER + length, false);
    // No checksum: legal in IPv4, and in IPv6 the socket computes it (IPV6_CHECKSUM).
    prefixes.setUint16(prefix + 6, 0, false);
  }

  #count(counter: WorkerCounter, by: number): void {
    const { totals } = this.#counters;
    totals[at[counter]] = (totals[at[counter]] as number) + by;
  }
}

/** A full socket or device drops what is left, as a link would. */
function failed(code: number): AfterFailure {
  return code === EINTR ? 'again' : 'stop';
}
