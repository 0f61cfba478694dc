/** Single TCP connections by system calls, in the thread's own namespace. */
import { type Endpoint, familyOf } from '@weir/core';
import {
  EAGAIN,
  EINPROGRESS,
  errno,
  errnoName,
  libc,
  openSocket,
  readSockaddr,
  SO_ERROR,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  sockaddr,
  SOCKADDR_LENGTH,
  socketName,
  SOL_SOCKET,
} from '@weir/core/sys';

export interface Accepted {
  readonly fd: number;
  /** Where the client meant to go. */
  readonly original: Endpoint;
  readonly source: Endpoint;
}

function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** Begins a connection. @returns the descriptor, or the name of the error that connect() met at once. */
export function connect(target: Endpoint, mark = 0): number | string {
  const fd = openSocket({ family: familyOf(target.address), protocol: 'tcp', mark });
  const name = sockaddr(target);
  if (libc.connect(fd, name, name.length) === 0) return fd;
  const number = errno();
  if (number === EINPROGRESS) return fd;
  libc.close(fd);
  return errnoName(number);
}

/** How a connection stands after a moment: `connected`, the name of its error, or `pending`. */
export function outcome(fd: number, waitMs = 200): string {
  const peer = Buffer.alloc(SOCKADDR_LENGTH);
  for (let waited = 0; ; waited += 5) {
    const error = Int32Array.of(0);
    libc.getsockopt(fd, SOL_SOCKET, SO_ERROR, error, Int32Array.of(4));
    if (error[0]) return errnoName(error[0]);
    if (libc.getpeername(fd, peer, Int32Array.of(SOCKADDR_LENGTH)) === 0) return 'connected';
    if (waited >= waitMs) return 'pending';
    sleep(5);
  }
}

/** What `connect` and then `outcome` say; the connection is closed. */
export function attempt(target: Endpoint, mark = 0): string {
  const fd = connect(target, mark);
  if (typeof fd === 'string') return fd;
  const result = outcome(fd);
  libc.close(fd);
  return result;
}

/** The next flow of a listener, or `undefined` when none comes within `waitMs`. */
export function accept(listener: number, waitMs = 500): Accepted | undefined {
  const peer = Buffer.alloc(SOCKADDR_LENGTH);
  for (let waited = 0; ; waited += 5) {
    const fd = libc.accept4(listener, peer, Int32Array.of(SOCKADDR_LENGTH), SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) return { fd, original: socketName(fd), source: readSockaddr(peer) };
    if (errno() !== EAGAIN) throw new Error(`accept4: ${errnoName(errno())}`);
    if (waited >= waitMs) return undefined;
    sleep(5);
  }
}

/** Connects and says where the flow arrived: its original destination, or how the connection ended instead. */
export function arrival(listener: number, target: Endpoint, mark = 0): Endpoint | string {
  const client = connect(target, mark);
  if (typeof client === 'string') return client;
  const flow = accept(listener, 100);
  const result = flow?.original ?? outcome(client);
  libc.close(client);
  if (flow) libc.close(flow.fd);
  return result;
}

/** Bytes that one end sends and the other receives, to see that a connection lives. */
export function passes(from: number, to: number): boolean {
  const bytes = Buffer.from('weir');
  const got = Buffer.alloc(16);
  if (libc.send(from, bytes, bytes.length, 0x4000) !== bytes.length) return false;
  for (let waited = 0; waited < 500; waited += 5) {
    const n = libc.recv(to, got, got.length, 0x40);
    if (n > 0) return got.subarray(0, n).equals(bytes);
    if (n === 0) return false;
    sleep(5);
  }
  return false;
}
