/** A server for flow-load.ts: `flow-echo.ts ADDRESS PORT` sends back what comes by TCP and by UDP, from one thread. IPv4. */
import {
  checked,
  EPOLL_CLOEXEC,
  EPOLL_CTL_ADD,
  EPOLL_DATA_OFFSET,
  EPOLL_EVENT_SIZE,
  EPOLLIN,
  libc,
  MessageBatch,
  MSG_DONTWAIT,
  openSocket,
  setOption,
  SO_RCVBUFFORCE,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOL_SOCKET,
  writeEpollEvent,
} from '@weir/core/sys';

const [, , address = '', port = ''] = process.argv;
const BATCH = 64;
const SIZE = 2048;
const bind = { address, port: Number(port) };
const tcp = openSocket({ family: 4, protocol: 'tcp', reuseAddress: true, bind });
checked(libc.listen(tcp, 4096), 'listen()', 'Report this.');
const udp = openSocket({ family: 4, protocol: 'udp', bind });
setOption(udp, SOL_SOCKET, SO_RCVBUFFORCE, 16 * 2 ** 20, 'setsockopt(SO_RCVBUFFORCE)', 'Run this as root.');

const epfd = checked(libc.epoll_create1(EPOLL_CLOEXEC), 'epoll_create1()', 'Raise the limit of open files.');
const event = new DataView(new ArrayBuffer(16));
const events = new DataView(new ArrayBuffer(512 * EPOLL_EVENT_SIZE));
const batch = new MessageBatch({ messages: BATCH, payload: SIZE, control: 0 });
const bytes = Buffer.alloc(65_536);

function watch(fd: number): void {
  writeEpollEvent(event, EPOLLIN, fd, 0);
  checked(libc.epoll_ctl(epfd, EPOLL_CTL_ADD, fd, event), 'epoll_ctl()', 'Report this.');
}

function echoDatagrams(): void {
  const count = batch.receive(udp, MSG_DONTWAIT);
  if (count <= 0) return;
  for (let n = 0; n < count; n++) {
    batch.setPayload(n, batch, batch.payloadAt(n), batch.length(n));
    batch.setLengths(n, 16, 0);
  }
  for (let sent = 0; sent < count;) {
    const went = batch.sendFrom(udp, sent, count - sent, MSG_DONTWAIT);
    sent += Math.max(1, went);
  }
  for (let n = 0; n < count; n++) batch.setPayload(n, batch, batch.payloadAt(n), SIZE);
}

function accept(): void {
  for (let taken = 0; taken < 64; taken++) {
    const fd = libc.accept4(tcp, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    watch(fd);
  }
}

watch(tcp);
watch(udp);
process.stdout.write(`listening ${address} ${port}\n`);
for (;;) {
  const count = libc.epoll_wait(epfd, events, 512, -1);
  for (let n = 0; n < count; n++) {
    const fd = events.getUint32(n * EPOLL_EVENT_SIZE + EPOLL_DATA_OFFSET, true);
    if (fd === tcp) accept();
    else if (fd === udp) echoDatagrams();
    else {
      const got = libc.recv(fd, bytes, bytes.length, 0);
      // The end, or a reset; small answers always fit.
      if (got <= 0) libc.close(fd);
      else libc.send(fd, bytes, got, 0);
    }
  }
}
