/**
 * A batch of datagrams for recvmmsg(2) and sendmmsg(2): all structs in one block of memory, made once and reused.
 *
 *   struct mmsghdr (64 bytes): msghdr { name *@0 · namelen u32 @8 · iov *@16 · iovlen u64 @24 · control *@32 ·
 *   controllen u64 @40 · flags i32 @48 } · msg_len u32 @56
 *   struct iovec (16 bytes): base *@0 · len u64 @8
 *   struct cmsghdr: len u64 @0 · level i32 @8 · type i32 @12 · data @16, padded to 8
 *
 * Little-endian, 64-bit; every architecture that Node has Linux builds for with npm packages of koffi is.
 */
import { addressOf } from './library.ts';
import * as libc from './libc.ts';
import { SOCKADDR_LENGTH } from './sockaddr.ts';

const HEADER = 64;
const IOVEC = 16;
const NAME = 32;

export interface BatchOptions {
  readonly messages: number;
  /** Bytes of payload per message. */
  readonly payload: number;
  /** Bytes in front of each payload, sent with it; 0 for none. */
  readonly prefix?: number;
  /** Bytes of control data per message. */
  readonly control: number;
}

export class MessageBatch {
  readonly capacity: number;
  readonly #payload: number;
  readonly #control: number;
  readonly #prefix: number;
  readonly #headers: DataView;
  readonly #vectors: DataView;
  /** Names of all messages, 32 bytes apart: sockaddr_in or sockaddr_in6. */
  readonly names: DataView;
  readonly controls: DataView;
  readonly prefixes: DataView;
  readonly payloads: Uint8Array;
  readonly #payloadAddress: bigint;

  constructor(options: BatchOptions) {
    const { messages, payload, control } = options;
    const prefix = options.prefix ?? 0;
    this.capacity = messages;
    this.#payload = payload;
    this.#control = control;
    this.#prefix = prefix;
    this.#headers = new DataView(new ArrayBuffer(messages * HEADER));
    this.#vectors = new DataView(new ArrayBuffer(messages * 2 * IOVEC));
    this.names = new DataView(new ArrayBuffer(messages * NAME));
    this.controls = new DataView(new ArrayBuffer(Math.max(8, messages * control)));
    this.prefixes = new DataView(new ArrayBuffer(Math.max(8, messages * prefix)));
    this.payloads = new Uint8Array(messages * payload);
    const [names, vectors] = [addressOf(this.names), addressOf(this.#vectors)];
    const [controls, prefixes] = [addressOf(this.controls), addressOf(this.prefixes)];
    this.#payloadAddress = addressOf(this.payloads);
    for (let n = 0; n < messages; n++) {
      const header = n * HEADER;
      this.#headers.setBigUint64(header, names + BigInt(n * NAME), true);
      this.#headers.setBigUint64(header + 16, vectors + BigInt(n * 2 * IOVEC + (prefix === 0 ? IOVEC : 0)), true);
      this.#headers.setBigUint64(header + 24, prefix === 0 ? 1n : 2n, true);
      this.#headers.setBigUint64(header + 32, control === 0 ? 0n : controls + BigInt(n * control), true);
      this.#vectors.setBigUint64(n * 2 * IOVEC, prefixes + BigInt(n * prefix), true);
      this.#vectors.setBigUint64(n * 2 * IOVEC + 8, BigInt(prefix), true);
      this.#vectors.setBigUint64(n * 2 * IOVEC + IOVEC, this.#payloadAddress + BigInt(n * payload), true);
      this.#vectors.setBigUint64(n * 2 * IOVEC + IOVEC + 8, BigInt(payload), true);
    }
  }

  /** Receives as many datagrams as there are and fit; -1 with errno when there is none. Does not block. */
  receive(fd: number, flags: number): number {
    for (let n = 0; n < this.capacity; n++) {
      // The kernel writes both lengths; they must be said anew for each call.
      this.#headers.setUint32(n * HEADER + 8, SOCKADDR_LENGTH, true);
      this.#headers.setUint32(n * HEADER + 40, this.#control, true);
    }
    return libc.recvmmsg(fd, this.#headers, this.capacity, flags, null);
  }

  /** Bytes of payload that message `n` brought. */
  length(n: number): number {
    return this.#headers.getUint32(n * HEADER + 56, true);
  }

  /** msg_flags of message `n`: MSG_TRUNC when it was longer than its room. */
  flags(n: number): number {
    return this.#headers.getInt32(n * HEADER + 48, true);
  }

  nameAt(n: number): number {
    return n * NAME;
  }

  controlAt(n: number): number {
    return n * this.#control;
  }

  /** Bytes of control data that message `n` brought. */
  controlLength(n: number): number {
    return this.#headers.getUint32(n * HEADER + 40, true);
  }

  payloadAt(n: number): number {
    return n * this.#payload;
  }

  /** Makes message `n` send these bytes of `source`, a batch that lives at least as long as the call. */
  setPayload(n: number, source: MessageBatch, from: number, length: number): void {
    this.#vectors.setBigUint64(n * 2 * IOVEC + IOVEC, source.#payloadAddress + BigInt(from), true);
    this.#vectors.setBigUint64(n * 2 * IOVEC + IOVEC + 8, BigInt(length), true);
  }

  prefixAt(n: number): number {
    return n * this.#prefix;
  }

  /** How much of the name and of the control data of message `n` is sent. */
  setLengths(n: number, name: number, control: number): void {
    this.#headers.setBigUint64(n * HEADER, name === 0 ? 0n : addressOf(this.names) + BigInt(n * NAME), true);
    this.#headers.setUint32(n * HEADER + 8, name, true);
    this.#headers.setUint32(n * HEADER + 40, control, true);
  }

  /** Sends `count` messages from `first` on; how many went, or -1 with errno. */
  sendFrom(fd: number, first: number, count: number, flags: number): number {
    const view = new Uint8Array(this.#headers.buffer, first * HEADER, count * HEADER);
    return libc.sendmmsg(fd, view, count, flags);
  }
}
