/**
 * The far end of bulk: `bulk-origin.ts ADDRESS PORT`; prints `listening`. One thread. Answers a SOCKS5 handshake first,
 * where there is one; then one octet says what a connection is for:
 *
 *   d   bytes without end, until the client says anything more; then FIN
 *   u   takes bytes, and says some times a second how many there were so far, as a line of decimal text
 *
 * Neither relies on half-close, which not every candidate passes on.
 */
import { EPOLLIN, EPOLLOUT, errno, EAGAIN, libc, MSG_NOSIGNAL } from '@weir/core/sys';
import { sendEndless } from './endless-file.ts';
import { acceptSome, EventLoop, listenOn } from './event-loop.ts';
import { socksAnswer } from './socks-answer.ts';

const [, , address = '', port = ''] = process.argv;
const DOWN = 0x64;
const UP = 0x75;
const buffer = Buffer.alloc(256 << 10);
const loop = new EventLoop();
/** Between two lines. Milliseconds. */
const PERIOD = 20;
/** Bytes that were taken, by descriptor; -1: sends. */
const taken = new Map<number, number>();
/** When the next line is due, by descriptor. */
const due = new Map<number, number>();

function end(fd: number): void {
  taken.delete(fd);
  due.delete(fd);
  libc.close(fd);
}

function begin(fd: number, length: number): void {
  const socks = socksAnswer(buffer, length);
  if (socks !== undefined) {
    libc.send(fd, socks, socks.length, MSG_NOSIGNAL);
  } else if (buffer[0] === DOWN) {
    taken.set(fd, -1);
    loop.change(fd, EPOLLIN | EPOLLOUT);
  } else if (buffer[0] === UP) {
    taken.set(fd, length - 1);
  } else end(fd);
}

function take(fd: number, total: number): void {
  taken.set(fd, total);
  const now = performance.now();
  if (now < (due.get(fd) ?? 0)) return;
  due.set(fd, now + PERIOD);
  const line = Buffer.from(`${total}\n`, 'latin1');
  libc.send(fd, line, line.length, MSG_NOSIGNAL);
}

function receive(fd: number): void {
  const state = taken.get(fd);
  const length = libc.recv(fd, buffer, buffer.length, 0);
  if (length < 0 && errno() === EAGAIN) return;
  if (length <= 0 || state === -1) {
    end(fd);
  } else if (state === undefined) begin(fd, length);
  else take(fd, state + length);
}

const listener = listenOn(address, Number(port), 0);
loop.watch(listener, EPOLLIN);
process.stdout.write(`listening on ${address}:${port}\n`);
for (;;) {
  loop.turn(-1, (fd, events) => {
    if (fd === listener) return acceptSome(listener, (accepted) => loop.watch(accepted, EPOLLIN));
    if ((events & ~EPOLLOUT) !== 0) receive(fd);
    if ((events & EPOLLOUT) !== 0 && taken.get(fd) === -1 && sendEndless(fd) < 0 && errno() !== EAGAIN) end(fd);
  });
}
