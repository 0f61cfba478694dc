/**
 * The near end of bulk: `bulk-client.ts ADDRESS PORT down|up STREAMS MILLISECONDS`. Prints `report` and JSON: the bytes that
 * were received, here or at the far end, how long that took, and the CPU seconds of this end; connecting is not in it.
 */
import { EAGAIN, EPOLLIN, EPOLLOUT, errno, libc, MSG_NOSIGNAL, SHUT_WR } from '@weir/core/sys';
import { clientSocket, connectTo, makeNonBlocking } from './client-socket.ts';
import { sendEndless } from './endless-file.ts';
import { EventLoop } from './event-loop.ts';

const [, , address = '', port = '', direction = '', streams = '1', milliseconds = '1000'] = process.argv;
const down = direction === 'down';
const buffer = Buffer.alloc(256 << 10);
const loop = new EventLoop();
/** Bytes that each stream has received; up: the far end. */
const received = new Map<number, number>();

for (let n = 0; n < Number(streams); n++) {
  const fd = clientSocket(address);
  connectTo(fd, address, Number(port));
  makeNonBlocking(fd);
  received.set(fd, 0);
}
const order = Buffer.from(down ? 'd' : 'u', 'latin1');
for (const fd of received.keys()) {
  loop.watch(fd, down ? EPOLLIN : EPOLLIN | EPOLLOUT);
  libc.send(fd, order, 1, MSG_NOSIGNAL);
}

const cpu = process.cpuUsage();
const begun = performance.now();
const until = begun + Number(milliseconds);
/** What is still under way in the end does not count; then streams end as they should, or are given up. Milliseconds. */
const LEAVE = 500;
const open = new Set(received.keys());

function fail(what: string): never {
  process.stderr.write(`${what}\n`);
  process.exit(1);
}

function receive(fd: number): void {
  const length = libc.recv(fd, buffer, buffer.length, 0);
  if (length < 0 && errno() === EAGAIN) return;
  if (length < 0) fail(`a stream broke with errno ${errno()}`);
  if (length === 0) {
    loop.forget(fd);
    open.delete(fd);
  } else if (down) received.set(fd, (received.get(fd) ?? 0) + length);
  else {
    // The last whole line is the newest; numbers only grow, so a part of one is never larger.
    const lines = buffer.toString('latin1', 0, length).split('\n').map(Number);
    received.set(fd, Math.max(received.get(fd) ?? 0, ...lines));
  }
}

function turn(deadline: number): void {
  loop.turn(Math.max(1, Math.ceil(deadline - performance.now())), (fd, events) => {
    if ((events & ~EPOLLOUT) !== 0) receive(fd);
    else if (sendEndless(fd) < 0 && errno() !== EAGAIN) fail(`a stream broke with errno ${errno()}`);
  });
}

while (performance.now() < until) {
  if (open.size < received.size) fail(`${received.size - open.size} streams ended early`);
  turn(until);
}
const seconds = (performance.now() - begun) / 1000;
const used = process.cpuUsage(cpu);
const bytes = [...received.values()].reduce((sum, each) => sum + each, 0);
for (const fd of received.keys()) {
  if (down) libc.send(fd, order, 1, MSG_NOSIGNAL);
  else {
    libc.shutdown(fd, SHUT_WR);
    loop.change(fd, EPOLLIN);
  }
}
while (open.size > 0 && performance.now() < until + LEAVE) turn(until + LEAVE);
process.stdout.write(`report ${JSON.stringify({ bytes, seconds, cpu: (used.user + used.system) / 1e6 })}\n`);
process.exit(0);
