/**
 * A TCP server with one habit: `tcp-server.ts --listen ADDRESS:PORT … --mode MODE [--bytes N]`.
 *
 *   echo      sends back what comes; half-closes when the client does
 *   sink      reads to the end, then answers with the number of bytes and their SHA-256 and closes
 *   source    sends --bytes bytes and FIN in one burst, whatever the client does; reads to the end
 *   drain     sends --bytes bytes, never reads
 *   silent    accepts and does nothing
 *   reset     resets each connection at once
 *   reset-late  resets each connection when its first bytes arrive
 *   banner    sends one line and waits for a line, then answers it and closes
 *   name      sends what it sees (JSON: local, source) and closes
 *
 * Prints `listening ADDRESS PORT` for each socket, then `open`, `end BYTES`, `close` or `error CODE` for connections.
 */
import { createHash } from 'node:crypto';
import { createServer, type Socket } from 'node:net';
import { parseArgs } from 'node:util';
import { parseEndpoint } from './endpoint.ts';
import { pattern } from './pattern.ts';

const { values } = parseArgs({
  options: {
    listen: { type: 'string', multiple: true, default: ['0.0.0.0:0'] },
    mode: { type: 'string', default: 'echo' },
    bytes: { type: 'string', default: '1024' },
  },
});
const total = Number(values.bytes);
const payload = pattern(total);

const HABITS: Readonly<Record<string, (socket: Socket) => void>> = {
  echo: (socket) => socket.pipe(socket),
  sink(socket) {
    const hash = createHash('sha256');
    let length = 0;
    socket.on('data', (chunk) => {
      hash.update(chunk);
      length += chunk.length;
    });
    socket.on('end', () => socket.end(`${JSON.stringify({ length, sha256: hash.digest('hex') })}\n`));
  },
  source(socket) {
    socket.resume();
    socket.end(payload);
  },
  drain(socket) {
    socket.pause();
    socket.write(payload);
  },
  silent: (socket) => socket.pause(),
  reset: (socket) => socket.resetAndDestroy(),
  'reset-late': (socket) => socket.once('data', () => socket.resetAndDestroy()),
  banner(socket) {
    socket.write('220 weir-peer ready\r\n');
    socket.once('data', (line) => socket.end(`250 ${line.toString().trim()}\r\n`));
  },
  name(socket) {
    const local = { address: socket.localAddress, port: socket.localPort };
    const source = { address: socket.remoteAddress, port: socket.remotePort };
    socket.resume();
    socket.end(`${JSON.stringify({ local, source })}\n`);
  },
};

const habit = HABITS[values.mode];
if (habit === undefined) throw new RangeError(`--mode ${values.mode}: one of ${Object.keys(HABITS).join(', ')}`);

for (const text of values.listen) {
  const { address, port } = parseEndpoint(text);
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    process.stdout.write('open\n');
    socket.on('end', () => process.stdout.write(`end ${socket.bytesRead}\n`));
    socket.on('error', (error: NodeJS.ErrnoException) => process.stdout.write(`error ${error.code}\n`));
    socket.on('close', () => process.stdout.write('close\n'));
    habit(socket);
  });
  server.listen({ host: address, port, ipv6Only: address.includes(':'), backlog: 4096 }, () => {
    const bound = server.address();
    if (bound && typeof bound === 'object') process.stdout.write(`listening ${bound.address} ${bound.port}\n`);
  });
}
