/**
 * Small requests, one after the other: `ping-pong.ts ADDRESS PORT COUNT PER_CONNECTION`. Each is 64 bytes that come back
 * from an echo server; after PER_CONNECTION of them the connection is ended in order and the next one made.
 * Prints `ready`, begins when a line comes on standard input, prints `done COUNT`.
 */
import { once } from 'node:events';
import { connect } from 'node:net';

const [, , address = '', port = '', count = '', perConnection = ''] = process.argv;
const SIZE = 64;
const request = Buffer.alloc(SIZE, 'x');

process.stdout.write('ready\n');
await once(process.stdin, 'data');
let done = 0;
while (done < Number(count)) {
  const socket = connect({ host: address, port: Number(port), noDelay: true });
  await once(socket, 'connect');
  let received = 0;
  let mine = 0;
  await new Promise<void>((resolve, reject) => {
    socket.on('error', reject);
    socket.on('data', (bytes: Buffer) => {
      received += bytes.length;
      if (received < SIZE * (mine + 1)) return;
      mine++;
      done++;
      if (mine < Number(perConnection)) socket.write(request);
      else socket.end();
    });
    socket.on('end', resolve);
    socket.write(request);
  });
}
process.stdout.write(`done ${done}\n`);
process.exit(0);
