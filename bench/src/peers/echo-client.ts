/**
 * Datagrams at a fixed rate, whether answers come or not (open loop): `echo-client.ts ADDRESS PORT RATE BYTES FLOWS
 * MILLISECONDS`. Prints `report` and JSON: how many were sent, how many came back, seconds of sending.
 */
import {
  EPOLLIN,
  libc,
  MSG_DONTWAIT,
  MessageBatch,
  openSocket,
  setOption,
  SO_RCVBUF,
  sockaddr,
  SOL_SOCKET,
} from '@weir/core/sys';
import { EventLoop } from './event-loop.ts';

const [, , address = '', port = '', rate = '', bytes = '', flows = '', milliseconds = ''] = process.argv;
const family = address.includes(':') ? 6 : 4;
/** Datagrams of one call, so that pacing stays fine. */
const MOST = 32;
/** How long late answers are waited for. */
const LINGER = 200;
const name = sockaddr({ address, port: Number(port) });
const sockets = Array.from({ length: Number(flows) }, () => {
  const fd = openSocket({ family, protocol: 'udp' });
  setOption(fd, SOL_SOCKET, SO_RCVBUF, 1 << 20, 'setsockopt(SO_RCVBUF)', 'Report this.');
  if (libc.connect(fd, name, name.length) < 0) throw new Error(`cannot reach ${address}`);
  return fd;
});
const loop = new EventLoop();
for (const fd of sockets) loop.watch(fd, EPOLLIN);
const out = new MessageBatch({ messages: MOST, payload: Number(bytes), control: 0 });
for (let n = 0; n < MOST; n++) out.setLengths(n, 0, 0);
const back = new MessageBatch({ messages: 128, payload: 2048, control: 0 });

let sent = 0;
let received = 0;
let turn = 0;

function collect(fd: number): void {
  for (;;) {
    const count = back.receive(fd, MSG_DONTWAIT);
    if (count > 0) received += count;
    if (count < back.capacity) return;
  }
}

// Every session exists before the clock runs: what is measured are datagrams, not sessions.
for (const fd of sockets) out.sendFrom(fd, 0, 1, 0);
const settled = performance.now() + LINGER;
while (performance.now() < settled) loop.turn(10, collect);
received = 0;

const begun = performance.now();
for (;;) {
  const elapsed = performance.now() - begun;
  if (elapsed >= Number(milliseconds)) break;
  const due = Math.floor((elapsed / 1000) * Number(rate)) - sent;
  const fd = sockets[turn++ % sockets.length] ?? -1;
  if (due > 0) sent += Math.max(0, out.sendFrom(fd, 0, Math.min(MOST, due), MSG_DONTWAIT));
  // Behind its time it does not wait; a millisecond ahead of it is fine enough a clock, and leaves the processor to others.
  loop.turn(due > MOST ? 0 : 1, collect);
}
const seconds = (performance.now() - begun) / 1000;
const until = performance.now() + LINGER;
const missing = () => received < sent;
while (performance.now() < until && missing()) loop.turn(10, collect);
process.stdout.write(`report ${JSON.stringify({ sent, received, seconds })}\n`);
process.exit(0);
