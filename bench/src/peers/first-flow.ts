/**
 * Asks for an HTTP response until one comes: `first-flow.ts ADDRESS PORT`. Prints `ready`, begins when a line comes on
 * standard input, and prints the monotonic time of the first answer in nanoseconds.
 */
import { once } from 'node:events';
import { connect } from 'node:net';

const [, , address = '', port = ''] = process.argv;
/** A connect that takes longer met no listener; on these hosts it takes a tenth of a millisecond. */
const CONNECT_MS = 20;
const ANSWER_MS = 2000;
const PAUSE_MS = 2;

async function attempt(): Promise<boolean> {
  const socket = connect({ host: address, port: Number(port) });
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(CONNECT_MS) });
    socket.write(`GET /close/64 HTTP/1.1\r\nHost: ${address}\r\n\r\n`);
    const [bytes] = (await once(socket, 'data', { signal: AbortSignal.timeout(ANSWER_MS) })) as [Buffer];
    return bytes.toString('latin1').startsWith('HTTP/1.1 200');
  } catch {
    return false; // nobody there yet
  } finally {
    socket.on('error', () => {}); // a late RST
    socket.destroy();
  }
}

process.stdout.write('ready\n');
await once(process.stdin, 'data');
while (!(await attempt())) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
process.stdout.write(`answered ${process.hrtime.bigint()}\n`);
process.exit(0);
