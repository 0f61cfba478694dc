/**
 * An HTTP server that is never the bottleneck: one thread, raw epoll, one recv and one send per request.
 * `http-origin.ts ADDRESS PORT`; prints `listening`.
 *
 *   GET /<bytes>         that many bytes, the connection stays
 *   GET /close/<bytes>   that many bytes, then FIN
 *
 * Only whole requests in one segment, as wrk sends them; anything else is closed, and the load generator sees an error.
 */
import {
  EPOLL_CLOEXEC,
  EPOLL_CTL_ADD,
  EPOLL_DATA_OFFSET,
  EPOLL_EVENT_SIZE,
  EPOLLIN,
  libc,
  MSG_NOSIGNAL,
  openSocket,
  SO_SNDBUF,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOL_SOCKET,
  setOption,
  writeEpollEvent,
} from '@weir/core/sys';

const [, , address = '', port = ''] = process.argv;
const BATCH = 256;

function response(bytes: number, close: boolean): Buffer {
  const head = `HTTP/1.1 200 OK\r\nContent-Length: ${bytes}\r\n${close ? 'Connection: close\r\n' : ''}\r\n`;
  return Buffer.concat([Buffer.from(head, 'latin1'), Buffer.alloc(bytes, 'x')]);
}

const responses = new Map<string, { readonly bytes: Buffer; readonly close: boolean }>();

function answer(path: string): { readonly bytes: Buffer; readonly close: boolean } | undefined {
  const known = responses.get(path);
  if (known !== undefined) return known;
  const match = /^\/(close\/)?(\d{1,7})$/.exec(path);
  if (match === null) return undefined;
  const close = match[1] !== undefined;
  const made = { bytes: response(Number(match[2]), close), close };
  responses.set(path, made);
  return made;
}

const listener = openSocket({
  family: address.includes(':') ? 6 : 4,
  protocol: 'tcp',
  reuseAddress: true,
  bind: { address, port: Number(port) },
});
// Inherited by every connection: a whole response fits into it.
setOption(listener, SOL_SOCKET, SO_SNDBUF, 4 << 20, 'setsockopt(SO_SNDBUF)', 'Report this.');
if (libc.listen(listener, 4096) < 0) throw new Error(`cannot listen on ${address}:${port}`);
const epfd = libc.epoll_create1(EPOLL_CLOEXEC);
const event = new DataView(new ArrayBuffer(16));
const events = new DataView(new ArrayBuffer(BATCH * EPOLL_EVENT_SIZE));
const request = Buffer.alloc(4096);
const watch = (fd: number) => {
  writeEpollEvent(event, EPOLLIN, fd, 0);
  libc.epoll_ctl(epfd, EPOLL_CTL_ADD, fd, event);
};
watch(listener);
process.stdout.write(`listening on ${address}:${port}\n`);

function serve(fd: number): void {
  const got = libc.recv(fd, request, request.length, 0);
  const end = got > 4 ? request.indexOf(0x20, 4) : -1;
  const whole = got > 4 && request.readUInt32BE(got - 4) === 0x0d0a0d0a;
  const found = whole && end > 0 && end < got ? answer(request.toString('latin1', 4, end)) : undefined;
  if (found === undefined) {
    libc.close(fd);
    return;
  }
  const sent = libc.send(fd, found.bytes, found.bytes.length, MSG_NOSIGNAL);
  if (found.close || sent !== found.bytes.length) libc.close(fd);
}

for (;;) {
  const count = libc.epoll_wait(epfd, events, BATCH, -1);
  for (let n = 0; n < count; n++) {
    const fd = events.getUint32(n * EPOLL_EVENT_SIZE + EPOLL_DATA_OFFSET, true);
    if (fd !== listener) {
      serve(fd);
      continue;
    }
    for (let taken = 0; taken < 64; taken++) {
      const accepted = libc.accept4(listener, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (accepted < 0) break;
      watch(accepted);
    }
  }
}
