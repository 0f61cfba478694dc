/**
 * Sends back what it received one by one, as runs: `run-echo.ts ADDRESS PORT [MOST]`. Prints `listening`. Datagrams over MOST
 * bytes (default 1,400) and those without a like go back one by one.
 */
import { EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_EVENT_SIZE, EPOLLIN, libc, writeEpollEvent } from '@weir/core/sys';
import { RunSocket } from './run-socket.ts';

const [, , address = '', port = '', most = '1400'] = process.argv;
/** Linux before 6.9 takes no more by one call; nor is a run longer than a datagram may be. */
const DATAGRAMS = 64;
const BYTES = 65_000;
const socket = new RunSocket(address, { address, port: Number(port) });
const nameLength = address.includes(':') ? 28 : 16;
const epfd = libc.epoll_create1(EPOLL_CLOEXEC);
const event = new DataView(new ArrayBuffer(EPOLL_EVENT_SIZE));
writeEpollEvent(event, EPOLLIN, 0, 0);
libc.epoll_ctl(epfd, EPOLL_CTL_ADD, socket.fd, event);
process.stdout.write(`listening ${address} ${port}\n`);

for (;;) {
  libc.epoll_wait(epfd, event, 1, -1);
  for (let count = socket.receive(); count > 0; count = socket.receive()) sendBack(count);
}

function sendBack(count: number): void {
  let run: Buffer[] = [];
  let to: Buffer | undefined;
  const flush = (): void => {
    if (run.length > 0) socket.send(run, to);
    run = [];
  };
  for (let n = 0; n < count; n++) {
    const datagram = socket.datagram(n);
    const name = socket.received.nameAt(n);
    const from = Buffer.from(socket.received.names.buffer, name, nameLength);
    const [first, last] = [run[0]?.length ?? 0, run.at(-1)?.length ?? 0];
    const fits = datagram.length > 0 && datagram.length <= last && last === first && first <= Number(most);
    const room = run.length < DATAGRAMS && (run.length + 1) * first <= BYTES;
    if (!fits || !room || to?.equals(from) !== true) flush();
    to = Buffer.from(from);
    run.push(datagram);
  }
  flush();
}
