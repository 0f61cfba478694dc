/**
 * Connections that are held and watched: `held-connections.ts ADDRESS PORT COUNT`. Each sends a byte and gets it back;
 * `held COUNT` when all have. On `mark` (standard input) the clock starts; on `report` prints JSON: how many were reset
 * since, after how many milliseconds at the latest, how many still answer a byte, and ends.
 */
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { once } from 'node:events';

const [, , address = '', port = '', count = ''] = process.argv;
const sockets = new Set<Socket>();
let marked = 0;
let resets = 0;
let ends = 0;
let latest = 0;

async function open(): Promise<void> {
  const socket = connect({ host: address, port: Number(port) });
  await once(socket, 'connect');
  socket.write('x');
  await once(socket, 'data');
  sockets.add(socket);
  socket.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'ECONNRESET') resets++;
    latest = Math.max(latest, performance.now() - marked);
  });
  socket.on('end', () => ends++);
  socket.on('close', () => sockets.delete(socket));
}

const wanted = Number(count);
for (let n = 0; n < wanted; n += 50) await Promise.all(Array.from({ length: Math.min(50, wanted - n) }, open));
process.stdout.write(`held ${sockets.size}\n`);

for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'mark') {
    marked = performance.now();
    process.stdout.write('marked\n');
  } else if (line === 'report') break;
}
const answers = [...sockets].map(async (socket) => {
  socket.write('y');
  await once(socket, 'data', { signal: AbortSignal.timeout(5000) });
  return true;
});
const alive = (await Promise.allSettled(answers)).filter((answer) => answer.status === 'fulfilled').length;
process.stdout.write(`${JSON.stringify({ resets, ends, latest: Math.round(latest), alive })}\n`);
process.exit(0);
