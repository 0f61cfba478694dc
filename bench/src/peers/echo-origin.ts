/** Sends every datagram back to where it came from, in batches: `echo-origin.ts ADDRESS PORT`; prints `listening`. */
import {
  EPOLLIN,
  MSG_DONTWAIT,
  MessageBatch,
  openSocket,
  setOption,
  SO_RCVBUFFORCE,
  SOL_SOCKET,
  sockaddrLength,
} from '@weir/core/sys';
import { EventLoop } from './event-loop.ts';

const [, , address = '', port = ''] = process.argv;
const family = address.includes(':') ? 6 : 4;
const MESSAGES = 128;
const LARGEST = 2048;
const fd = openSocket({ family, protocol: 'udp', bind: { address, port: Number(port) } });
try {
  setOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20, 'setsockopt(SO_RCVBUFFORCE)', 'Run it as root.');
} catch {
  // In a user namespace the kernel's limit holds; losses are the same for every candidate.
}
const batch = new MessageBatch({ messages: MESSAGES, payload: LARGEST, control: 0 });
const loop = new EventLoop();
loop.watch(fd, EPOLLIN);
process.stdout.write(`listening on ${address}:${port}\n`);

function echo(): void {
  const count = batch.receive(fd, MSG_DONTWAIT);
  for (let n = 0; n < count; n++) {
    batch.setPayload(n, batch, batch.payloadAt(n), batch.length(n));
    batch.setLengths(n, sockaddrLength(family), 0);
  }
  for (let sent = 0; sent < count;) {
    const more = batch.sendFrom(fd, sent, count - sent, 0);
    if (more <= 0) break;
    sent += more;
  }
  for (let n = 0; n < count; n++) batch.setPayload(n, batch, batch.payloadAt(n), LARGEST);
}

for (;;) loop.turn(-1, echo);
