/**
 * An HTTP server that is never the bottleneck: one thread, raw epoll, one recv and one send per request.
 * `http-origin.ts ADDRESS PORT`; prints `listening`. Answers a SOCKS5 handshake first, where there is one.
 *
 *   GET /<bytes>         that many bytes, the connection stays
 *   GET /close/<bytes>   that many bytes, then FIN
 *
 * Only whole requests in one segment, as wrk sends them; anything else is closed, and the load generator sees an error.
 */
import { EPOLLIN, libc, MSG_NOSIGNAL } from '@weir/core/sys';
import { acceptSome, EventLoop, listenOn } from './event-loop.ts';
import { socksAnswer } from './socks-answer.ts';

const [, , address = '', port = ''] = process.argv;
/** A whole response fits into it. */
const SEND_BUFFER = 4 << 20;

interface Answer {
  readonly bytes: Buffer;
  readonly close: boolean;
}

function response(bytes: number, close: boolean): Buffer {
  const head = `HTTP/1.1 200 OK\r\nContent-Length: ${bytes}\r\n${close ? 'Connection: close\r\n' : ''}\r\n`;
  return Buffer.concat([Buffer.from(head, 'latin1'), Buffer.alloc(bytes, 'x')]);
}

const answers = new Map<string, Answer>();

function answer(path: string): Answer | undefined {
  const known = answers.get(path);
  if (known !== undefined) return known;
  const match = /^\/(close\/)?(\d{1,7})$/.exec(path);
  if (match === null) return undefined;
  const close = match[1] !== undefined;
  const made = { bytes: response(Number(match[2]), close), close };
  answers.set(path, made);
  return made;
}

const request = Buffer.alloc(4096);

/** What is to be said to the bytes that came; undefined for what is neither a request nor SOCKS. */
function answerTo(length: number): Answer | undefined {
  if (length <= 0) return undefined;
  const whole = length > 4 && request.readUInt32BE(length - 4) === 0x0d0a0d0a;
  const end = whole ? request.indexOf(0x20, 4) : -1;
  if (whole && end > 0 && end < length) return answer(request.toString('latin1', 4, end));
  const socks = socksAnswer(request, length);
  return socks && { bytes: socks, close: false };
}

function serve(fd: number): void {
  const found = answerTo(libc.recv(fd, request, request.length, 0));
  if (found === undefined) {
    libc.close(fd);
    return;
  }
  const sent = libc.send(fd, found.bytes, found.bytes.length, MSG_NOSIGNAL);
  if (found.close || sent !== found.bytes.length) libc.close(fd);
}

const listener = listenOn(address, Number(port), SEND_BUFFER);
const loop = new EventLoop();
loop.watch(listener, EPOLLIN);
process.stdout.write(`listening on ${address}:${port}\n`);
for (;;) {
  loop.turn(-1, (fd) => {
    if (fd === listener) acceptSome(listener, (accepted) => loop.watch(accepted, EPOLLIN));
    else serve(fd);
  });
}
