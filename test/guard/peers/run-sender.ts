/**
 * Runs of datagrams (udp(7) UDP_SEGMENT) to one that need not answer: `run-sender.ts ADDRESS PORT RUNS DATAGRAMS`, each of
 * 1,000 bytes. Waits between them, so that each is received by itself, and then until the last has been taken.
 */
import { libc, sockaddr } from '@weir/core/sys';
import { setTimeout as sleep } from 'node:timers/promises';
import { RunSocket } from '../../e2e/peers/run-socket.ts';

const [, , address = '', port = '', runs = '', datagrams = ''] = process.argv;
const PAUSE = 5;
const socket = new RunSocket(address);
const name = sockaddr({ address, port: Number(port) });
if (libc.connect(socket.fd, name, name.length) < 0) throw new Error(`cannot reach ${address}`);
const run = Array.from({ length: Number(datagrams) }, (_, n) => Buffer.alloc(1000, n));
for (let n = 0; n < Number(runs); n++) {
  if (!socket.send(run)) throw new Error(`cannot send ${datagrams} datagrams by one call`);
  await sleep(PAUSE);
}
await sleep(200);
