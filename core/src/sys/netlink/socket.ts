/**
 * One netlink socket: requests go out, acknowledgements and dumps come back, synchronously. The kernel answers a request
 * before sendto() returns, so nothing here waits for anybody. netlink(7).
 */
import { NotPermittedError, WeirError } from '../../api/errors.ts';
import { AF_NETLINK, MSG_DONTWAIT, MSG_TRUNC, SOCK_CLOEXEC, SOCK_RAW } from '../constants.ts';
import { checked, EACCES, EAGAIN, EINTR, EPERM, errnoName } from '../errno.ts';
import { errno } from '../library.ts';
import * as libc from '../libc.ts';
import {
  NETLINK_ROUTE,
  NETLINK_ADD_MEMBERSHIP,
  NETLINK_CAP_ACK,
  NETLINK_EXT_ACK,
  NETLINK_GET_STRICT_CHK,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  NLMSG_NOOP,
  SOL_NETLINK,
} from './constants.ts';
import { decodeError, decodeMessages, encodeMessage, type NetlinkMessage } from './message.ts';

/** struct sockaddr_nl (linux/netlink.h): family u16 · pad u16 · port u32 · groups u32. */
const ADDRESS_LENGTH = 12;
/** The kernel never makes a netlink datagram larger than this (NLMSG_GOODSIZE is at most 8 KiB, dumps use 32 KiB). */
const RECEIVE_BUFFER = 64 * 1024;
/** Requests in one sendto(). All their acknowledgements must fit into the default receive buffer of 208 KiB. */
const BATCH = 100;
const DUMP_ATTEMPTS = 5;

/** Thrown when the kernel refuses a netlink request. `errno` is the kernel's number, `detail` its own words, if any. */
export class NetlinkError extends WeirError {
  readonly errno: number;
  readonly detail: string | undefined;

  constructor(what: string, number: number, detail: string | undefined) {
    super('WEIR_NETLINK', {
      problem: `The kernel refused to ${what}: ${errnoName(number)}${detail ? ` (${detail})` : ''}.`,
      remedy: 'Compare `ip rule`, `ip route show table all` and the configuration.',
    });
    this.errno = number;
    this.detail = detail;
  }
}

/** One request of a batch. `describe` ends the sentence "The kernel refused to …". */
export interface NetlinkRequest {
  readonly type: number;
  readonly flags: number;
  readonly payload: Uint8Array;
  readonly describe: string;
}

function failure(what: string, number: number, detail: string | undefined): WeirError {
  if (number !== EPERM && number !== EACCES) return new NetlinkError(what, number, detail);
  return new NotPermittedError({
    problem: `The kernel refused to ${what}: ${errnoName(number)}${detail ? ` (${detail})` : ''}.`,
    remedy: 'Run Weir as root or give it CAP_NET_ADMIN.',
  });
}

/**
 * Opens a netlink socket in the calling thread's network namespace, close-on-exec.
 * @param groups numbers of multicast groups to join; joined after bind(), or nothing would arrive.
 * @returns the descriptor; the caller owns it.
 */
export function openNetlink(protocol: number, groups: readonly number[] = []): number {
  const fd = checked(
    libc.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol),
    'socket(AF_NETLINK)',
    'Raise the limit of open files (ulimit -n).',
  );
  try {
    const address = Buffer.alloc(ADDRESS_LENGTH);
    address.writeUInt16LE(AF_NETLINK, 0);
    checked(libc.bind(fd, address, ADDRESS_LENGTH), 'bind() of a netlink socket', 'Report this.');
    // Comfort only: without these the errors have no words and dumps are filtered by us.
    const one = Int32Array.of(1);
    for (const option of [NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK]) {
      libc.setsockopt(fd, SOL_NETLINK, option, one, 4);
    }
    for (const group of groups) {
      checked(
        libc.setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, Int32Array.of(group), 4),
        `joining netlink group ${group}`,
        'Report this.',
      );
    }
    return fd;
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

export class NetlinkSocket implements Disposable {
  readonly #fd: number;
  readonly #buffer = Buffer.allocUnsafe(RECEIVE_BUFFER);
  // Acknowledgements that were read with an earlier one of the same datagram wait here.
  readonly #acknowledged = new Map<number, { readonly errno: number; readonly text?: string }>();
  #sequence = 0;
  #closed = false;

  /** @param protocol NETLINK_ROUTE or NETLINK_NETFILTER. The namespace is the calling thread's, for good. */
  constructor(protocol: number) {
    this.#fd = openNetlink(protocol);
  }

  /**
   * Sends requests and waits for each one's acknowledgement, in order and many per system call.
   * @returns for each request, `undefined` or the error it met. The kernel does not stop at a refusal.
   */
  settle(requests: readonly NetlinkRequest[]): ReadonlyArray<WeirError | undefined> {
    const outcome: Array<WeirError | undefined> = [];
    for (let at = 0; at < requests.length; at += BATCH) {
      const batch = requests.slice(at, at + BATCH).map((request) => ({ ...request, sequence: this.#next() }));
      const bytes = batch.map(({ type, flags, sequence, payload }) =>
        encodeMessage(type, flags | NLM_F_REQUEST | NLM_F_ACK, sequence, payload),
      );
      this.#send(Buffer.concat(bytes), (batch[0] as NetlinkRequest).describe);
      for (const { sequence, describe } of batch) outcome.push(this.#acknowledgement(sequence, describe));
    }
    return outcome;
  }

  /**
   * Sends requests as one transaction, between messages that begin and end it and are not acknowledged.
   * @returns as `settle`. Whether one refusal undoes all is the family's affair; in nf_tables it does.
   */
  transact(
    begin: NetlinkRequest,
    requests: readonly NetlinkRequest[],
    end: NetlinkRequest,
  ): ReadonlyArray<WeirError | undefined> {
    if (requests.length > BATCH) throw new RangeError(`A transaction has at most ${BATCH} requests.`);
    const plain = ({ type, flags, payload }: NetlinkRequest) =>
      encodeMessage(type, flags | NLM_F_REQUEST, this.#next(), payload);
    const inside = requests.map((request) => ({ ...request, sequence: this.#next() }));
    const bytes = inside.map(({ type, flags, sequence, payload }) =>
      encodeMessage(type, flags | NLM_F_REQUEST | NLM_F_ACK, sequence, payload),
    );
    this.#send(Buffer.concat([plain(begin), ...bytes, plain(end)]), begin.describe);
    return inside.map(({ sequence, describe }) => this.#acknowledgement(sequence, describe));
  }

  /** One request. @throws NetlinkError, NotPermittedError. */
  request(request: NetlinkRequest): void {
    const [error] = this.settle([request]);
    if (error) throw error;
  }

  /** One request that the kernel answers with one message before the acknowledgement. @throws as `request`. */
  query(request: NetlinkRequest): NetlinkMessage | undefined {
    const sequence = this.#next();
    const flags = request.flags | NLM_F_REQUEST | NLM_F_ACK;
    this.#send(encodeMessage(request.type, flags, sequence, request.payload), request.describe);
    let answer: NetlinkMessage | undefined;
    for (;;) {
      for (const message of this.#receive(request.describe)) {
        if (message.sequence !== sequence) continue;
        if (message.type === NLMSG_ERROR) {
          const { errno: number, text } = decodeError(message);
          if (number !== 0) throw failure(request.describe, number, text);
          return answer;
        }
        answer = { ...message, payload: Buffer.from(message.payload) };
      }
    }
  }

  /**
   * A dump: all objects of a kind. Begins anew when the kernel says that the list changed meanwhile.
   * @throws NetlinkError, NotPermittedError.
   */
  dump(type: number, payload: Uint8Array, describe: string): readonly NetlinkMessage[] {
    for (let attempt = 1; ; attempt++) {
      const { messages, interrupted } = this.#dumpOnce(type, payload, describe);
      // A list that never stands still is better than none: whoever compares it will look again.
      if (!interrupted || attempt === DUMP_ATTEMPTS) return messages;
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    libc.close(this.#fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #next(): number {
    this.#sequence = (this.#sequence % 0x7fffffff) + 1;
    return this.#sequence;
  }

  #send(bytes: Buffer, describe: string): void {
    if (this.#closed) throw new TypeError('This netlink socket is closed.');
    const kernel = Buffer.alloc(ADDRESS_LENGTH);
    kernel.writeUInt16LE(AF_NETLINK, 0);
    if (libc.sendto(this.#fd, bytes, bytes.length, 0, kernel, ADDRESS_LENGTH) >= 0) return;
    throw failure(describe, errno(), undefined);
  }

  #dumpOnce(
    type: number,
    payload: Uint8Array,
    describe: string,
  ): { readonly messages: readonly NetlinkMessage[]; readonly interrupted: boolean } {
    const sequence = this.#next();
    this.#send(encodeMessage(type, NLM_F_REQUEST | NLM_F_DUMP, sequence, payload), describe);
    const messages: NetlinkMessage[] = [];
    let interrupted = false;
    for (;;) {
      for (const message of this.#receive(describe)) {
        if (message.sequence !== sequence) continue;
        if ((message.flags & NLM_F_DUMP_INTR) !== 0) interrupted = true;
        if (message.type === NLMSG_DONE || message.type === NLMSG_ERROR) {
          const { errno: number, text } = decodeError(message);
          if (number !== 0) throw failure(describe, number, text);
          return { messages, interrupted };
        }
        // The receive buffer is used again for the next datagram.
        if (message.type !== NLMSG_NOOP) messages.push({ ...message, payload: Buffer.from(message.payload) });
      }
    }
  }

  #acknowledgement(sequence: number, describe: string): WeirError | undefined {
    for (;;) {
      const known = this.#acknowledged.get(sequence);
      if (known) {
        this.#acknowledged.delete(sequence);
        return known.errno === 0 ? undefined : failure(describe, known.errno, known.text);
      }
      for (const message of this.#receive(describe)) {
        if (message.type === NLMSG_ERROR) this.#acknowledged.set(message.sequence, decodeError(message));
      }
    }
  }

  #receive(describe: string): Generator<NetlinkMessage> {
    for (;;) {
      const n = libc.recv(this.#fd, this.#buffer, this.#buffer.length, MSG_TRUNC | MSG_DONTWAIT);
      if (n < 0) {
        const number = errno();
        if (number === EINTR) continue;
        // EAGAIN would mean that the kernel owes an answer; it never does, and waiting could be for ever.
        throw failure(describe, number, number === EAGAIN ? 'the kernel gave no answer' : undefined);
      }
      if (n > this.#buffer.length) throw failure(describe, 0, `an answer of ${n} bytes`);
      return decodeMessages(this.#buffer.subarray(0, n));
    }
  }
}

/** A socket for rtnetlink(7) that lives for one use. */
export function withRouteSocket<T>(use: (socket: NetlinkSocket) => T): T {
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  return use(socket);
}

/** Sends all; throws the first refusal that is not among the tolerated. */
export function settleAll(
  socket: NetlinkSocket,
  requests: readonly NetlinkRequest[],
  tolerated: readonly number[] = [],
): void {
  const refused = socket
    .settle(requests)
    .find((error) => error && !(error instanceof NetlinkError && tolerated.includes(error.errno)));
  if (refused) throw refused;
}
