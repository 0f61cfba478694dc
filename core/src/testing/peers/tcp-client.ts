/**
 * TCP clients with one habit, many at once: `tcp-client.ts --connect ADDRESS:PORT --mode MODE [--count N] [--parallel N]
 * [--bytes N] [--timeout MS] [--bind ADDRESS] [--mark N]`. ADDRESS may be a name: the host's resolver is asked for each
 * connection. --mark sets SO_MARK; ADDRESS is no name then.
 *
 *   burst      sends --bytes and FIN in one burst, before the connection is up; reads to the end
 *   exchange   sends --bytes, and FIN when it has got as many back
 *   trickle    sends --bytes one byte a write, then FIN; reads to the end
 *   read       sends FIN at once; reads to the end
 *   listen     sends nothing; reads to the end
 *   late       reads to the end, then sends --bytes and FIN
 *   mute       connects, never reads, never sends, keeps the connection for --timeout
 *   reset      sends --bytes, then resets
 *   hold       sends one byte, waits for one back, then keeps the connection until standard input ends; `held N` when all stand
 *
 * Prints one JSON line: how many ended in which way (`eof`, or an error code), bytes read in total, the SHA-256 of what the
 * first connection read, and the wall-clock time in milliseconds.
 */
import { createHash } from 'node:crypto';
import { connect, Socket } from 'node:net';
import { parseArgs } from 'node:util';
import { parseEndpoint } from './endpoint.ts';
import { pattern } from './pattern.ts';

const { values } = parseArgs({
  options: {
    connect: { type: 'string', default: '127.0.0.1:1' },
    mode: { type: 'string', default: 'burst' },
    count: { type: 'string', default: '1' },
    parallel: { type: 'string', default: '1' },
    bytes: { type: 'string', default: '100' },
    timeout: { type: 'string', default: '10000' },
    bind: { type: 'string' },
    mark: { type: 'string' },
  },
});
const target = parseEndpoint(values.connect);
const count = Number(values.count);
const parallel = Number(values.parallel);
const size = Number(values.bytes);
const timeout = Number(values.timeout);
/** Loaded where a mark is asked for: what it brings along takes longer than most clients live. */
const openSocket = values.mark === undefined ? undefined : (await import('../../sys/sockets.ts')).openSocket;
const payload = pattern(size);

const outcomes: Record<string, number> = {};
const hash = createHash('sha256');
let read = 0;
let held = 0;
let releaseHeld = () => {};
const released = new Promise<void>((resolve) => (releaseHeld = resolve));

const HABITS: Readonly<Record<string, (socket: Socket) => void>> = {
  burst: (socket) => void socket.end(payload),
  exchange(socket) {
    socket.write(payload);
    socket.on('data', () => socket.bytesRead >= size && socket.end());
  },
  trickle(socket) {
    socket.setNoDelay(true);
    for (const byte of payload) socket.write(Uint8Array.of(byte));
    socket.end();
  },
  read: (socket) => void socket.end(),
  listen: () => {},
  late: (socket) => void socket.once('end', () => socket.end(payload)),
  mute: (socket) => void socket.pause(),
  reset: (socket) => void socket.write(payload, () => socket.resetAndDestroy()),
  hold(socket) {
    socket.write(payload.subarray(0, 1));
    socket.once('data', () => {
      if (++held === count) process.stdout.write(`held ${held}\n`);
      void released.then(() => socket.end());
    });
  },
};

function open(): Socket {
  const { address: host, port } = target;
  if (openSocket === undefined) {
    return connect({ host, port, allowHalfOpen: true, ...(values.bind ? { localAddress: values.bind } : {}) });
  }
  const fd = openSocket({ family: host.includes(':') ? 6 : 4, protocol: 'tcp', mark: Number(values.mark) });
  return new Socket({ fd, allowHalfOpen: true }).connect({ host, port });
}

function once(index: number): Promise<void> {
  const habit = HABITS[values.mode];
  if (habit === undefined) throw new RangeError(`--mode ${values.mode}: one of ${Object.keys(HABITS).join(', ')}`);
  return new Promise((resolve) => {
    const socket = open();
    let ended = false;
    const end = (outcome: string) => {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
      read += socket.bytesRead;
      resolve();
    };
    const timer = setTimeout(() => {
      end(values.mode === 'mute' && !socket.connecting ? 'kept' : 'timeout');
      socket.destroy();
    }, timeout);
    if (values.mode !== 'mute') {
      socket.on('data', (chunk) => {
        if (index === 0) hash.update(chunk);
      });
    }
    socket.on('end', () => {
      if (values.mode === 'late') {
        socket.once('finish', () => end('eof'));
        return;
      }
      end('eof');
      socket.end();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? 'error'));
    socket.on('close', () => end('closed'));
    habit(socket);
  });
}

if (values.mode === 'hold') process.stdin.resume().on('end', releaseHeld);
const started = performance.now();
let next = 0;
const lane = async () => {
  while (next < count) {
    await once(next++);
  }
};
await Promise.all(Array.from({ length: values.mode === 'hold' ? count : Math.min(parallel, count) }, lane));
const ms = Math.round(performance.now() - started);
process.stdout.write(`${JSON.stringify({ outcomes, read, sha256: hash.digest('hex'), ms })}\n`);
if (values.mode === 'hold') process.exit(0);
