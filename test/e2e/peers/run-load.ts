/**
 * Runs of datagrams to one that sends them back, the next when the last has come back: `run-load.ts ADDRESS PORT RUNS COUNT
 * BYTES TAIL [HOW]`. A run is COUNT datagrams of BYTES bytes, the last of TAIL, sent by one call, and one without payload.
 * HOW: `singly` sends each by a call of its own, `greeting` first one without payload alone. Prints how many came back right,
 * in their order and with their boundaries; wrong; or not.
 */
import {
  EPOLL_CLOEXEC,
  EPOLL_CTL_ADD,
  EPOLL_EVENT_SIZE,
  EPOLLIN,
  libc,
  sockaddr,
  writeEpollEvent,
} from '@weir/core/sys';
import { RunSocket } from './run-socket.ts';

const [, , address = '', port = '', runs = '', count = '', bytes = '', tail = '', how = ''] = process.argv;
const PATIENCE = 2000;
const socket = new RunSocket(address);
const name = sockaddr({ address, port: Number(port) });
if (libc.connect(socket.fd, name, name.length) < 0) throw new Error(`cannot reach ${address}`);
const epfd = libc.epoll_create1(EPOLL_CLOEXEC);
const event = new DataView(new ArrayBuffer(EPOLL_EVENT_SIZE));
writeEpollEvent(event, EPOLLIN, 0, 0);
libc.epoll_ctl(epfd, EPOLL_CTL_ADD, socket.fd, event);

const report = { right: 0, wrong: 0, lost: 0 };
if (how === 'greeting') {
  socket.send([Buffer.alloc(0)]);
  compare([Buffer.alloc(0)]);
}
for (let run = 0; run < Number(runs); run++) {
  const datagrams = Array.from({ length: Number(count) }, (_, n) => {
    const length = Number(n === Number(count) - 1 ? tail : bytes);
    return Buffer.from(Array.from({ length }, (__, at) => (run * 31 + n * 7 + at * 13) & 0xff));
  });
  const groups = how !== 'singly' ? [datagrams] : datagrams.map((datagram) => [datagram]);
  for (const group of groups) {
    if (!socket.send(group)) throw new Error(`cannot send ${group.length} datagrams of ${bytes} bytes by one call`);
  }
  socket.send([Buffer.alloc(0)]);
  compare([...datagrams, Buffer.alloc(0)]);
}
process.stdout.write(`${JSON.stringify(report)}\n`);

function compare(expected: readonly Buffer[]): void {
  const until = performance.now() + PATIENCE;
  let at = 0;
  while (at < expected.length) {
    const wait = until - performance.now();
    if (wait <= 0) break;
    if (libc.epoll_wait(epfd, event, 1, Math.ceil(wait)) <= 0) continue;
    const came = socket.receive();
    for (let n = 0; n < came; n++) {
      if (expected[at++]?.equals(socket.datagram(n)) === true) report.right++;
      else report.wrong++;
    }
  }
  report.lost += Math.max(0, expected.length - at);
}
