/**
 * Datagrams, and runs of them, on their way out by one socket: collected, sent by one call, counted one by one. A run that
 * its way refuses goes as the datagrams it is.
 */
import { MSG_DONTWAIT } from '../sys/constants.ts';
import { EINVAL, EIO, EMSGSIZE } from '../sys/errno.ts';
import { errno } from '../sys/library.ts';
import { MessageBatch } from '../sys/message-batch.ts';
import { datagramsIn, RUN_CONTROL, writeSegment } from './datagram-run.ts';

/** Control data of a message without that of a run: an in6_pktinfo is the longest. */
const CONTROL = 40;

/** After a failed call: the same once more, the next one, or none of those that are left. */
export type AfterFailure = 'again' | 'next' | 'stop';

export class OutgoingDatagrams {
  /** Names, prefixes and control data of a message are written here, at `count`, before it is added. */
  readonly batch: MessageBatch;
  /** Bytes of payload by message, without what a tunnel puts around them. */
  readonly sizes: Int32Array;
  /** How many messages wait. */
  count = 0;
  /** Of the last `send`: datagrams that went, their bytes, runs that went whole, datagrams that did not go. */
  sent = 0;
  bytes = 0;
  runs = 0;
  dropped = 0;
  /** Bytes of the last datagram that went. */
  lastLength = 0;
  readonly #source: MessageBatch;
  readonly #starts: Int32Array;
  readonly #segments: Int32Array;
  readonly #nameLengths: Uint8Array;
  readonly #controlLengths: Uint8Array;
  #datagrams = 0;
  /** Of a run that was refused; there from the first of them on. */
  #cut: OutgoingDatagrams | undefined;

  /**
   * @param source where the payloads are.
   * @param prefix bytes in front of each payload.
   */
  constructor(source: MessageBatch, prefix = 0) {
    const messages = source.capacity;
    this.batch = new MessageBatch({ messages, payload: 0, prefix, control: CONTROL + RUN_CONTROL });
    this.sizes = new Int32Array(messages);
    this.#source = source;
    this.#starts = new Int32Array(messages);
    this.#segments = new Int32Array(messages);
    this.#nameLengths = new Uint8Array(messages);
    this.#controlLengths = new Uint8Array(messages);
  }

  get full(): boolean {
    return this.count === this.batch.capacity;
  }

  /**
   * @param start where the payload stands in the source, `length` bytes.
   * @param segment bytes of each datagram of a run; 0: one datagram.
   * @param name bytes of the name, and `control` of the control data, that were written for it.
   */
  add(start: number, length: number, segment: number, name: number, control: number): void {
    this.batch.setPayload(this.count, this.#source, start, length);
    this.#enter(start, length, segment, name, control);
  }

  /** The payload has been set already: what a tunnel made of a datagram of `length` bytes. */
  addWrapped(length: number): void {
    this.#enter(0, length, 0, 0, 0);
  }

  /**
   * Sends all that wait; afterwards none does. Does not block.
   * @param failed decides by the error number how it goes on.
   */
  send(fd: number, failed: (code: number) => AfterFailure): void {
    const { count } = this;
    const datagrams = this.#datagrams;
    this.sent = 0;
    this.bytes = 0;
    this.runs = 0;
    this.count = 0;
    this.#datagrams = 0;
    let next = 0;
    while (next < count) {
      const went = this.batch.sendFrom(fd, next, count - next, MSG_DONTWAIT);
      if (went > 0) {
        for (const end = next + went; next < end; next++) this.#went(next);
        continue;
      }
      const code = errno();
      if (this.#segments[next] !== 0 && isRefusal(code)) {
        const stopped = this.#sendCut(fd, next++, failed);
        if (stopped) break;
        continue;
      }
      const how = failed(code);
      if (how === 'stop') break;
      if (how === 'next') next++;
    }
    this.dropped = datagrams - this.sent;
  }

  #enter(start: number, length: number, segment: number, name: number, control: number): void {
    const n = this.count++;
    this.#starts[n] = start;
    this.sizes[n] = length;
    this.#segments[n] = segment;
    this.#nameLengths[n] = name;
    this.#controlLengths[n] = control;
    this.#datagrams += datagramsIn(length, segment);
    const { batch } = this;
    const more = segment === 0 ? 0 : writeSegment(batch.controls, batch.controlAt(n) + control, segment);
    batch.setLengths(n, name, control + more);
  }

  #went(n: number): void {
    const size = this.sizes[n] as number;
    const segment = this.#segments[n] as number;
    this.bytes += size;
    this.sent += datagramsIn(size, segment);
    if (segment !== 0) this.runs++;
    this.lastLength = segment === 0 ? size : size % segment || segment;
  }

  /** Sends the datagrams of run `n` one by one. @returns true when nothing more is to be sent. */
  #sendCut(fd: number, n: number, failed: (code: number) => AfterFailure): boolean {
    const cut = (this.#cut ??= new OutgoingDatagrams(this.#source));
    const [start, size, segment] = [this.#starts[n] as number, this.sizes[n] as number, this.#segments[n] as number];
    const [name, control] = [this.#nameLengths[n] as number, this.#controlLengths[n] as number];
    let stopped = false;
    const heard = (code: number): AfterFailure => {
      const how = failed(code);
      if (how === 'stop') stopped = true;
      return how;
    };
    for (let from = 0; from < size && !stopped;) {
      while (from < size && !cut.full) {
        copy(this.batch.names, this.batch.nameAt(n), cut.batch.names, cut.batch.nameAt(cut.count), name);
        copy(this.batch.controls, this.batch.controlAt(n), cut.batch.controls, cut.batch.controlAt(cut.count), control);
        const length = Math.min(segment, size - from);
        cut.add(start + from, length, 0, name, control);
        from += length;
      }
      cut.send(fd, heard);
      this.sent += cut.sent;
      this.bytes += cut.bytes;
      if (cut.sent > 0) this.lastLength = cut.lastLength;
    }
    return stopped;
  }
}

/**
 * Of a run, where its datagrams may go: they are longer than the way takes unfragmented (EMSGSIZE or EINVAL, by kernel), or
 * the way leads through IPsec or a device that computes no checksums (EIO): net/ipv4/udp.c udp_send_skb.
 */
function isRefusal(code: number): boolean {
  return code === EINVAL || code === EMSGSIZE || code === EIO;
}

function copy(from: DataView, at: number, to: DataView, place: number, length: number): void {
  if (length === 0) return;
  new Uint8Array(to.buffer, to.byteOffset + place, length).set(
    new Uint8Array(from.buffer, from.byteOffset + at, length),
  );
}
