/**
 * Holds connections that do nothing: `idle-client.ts ADDRESS PORT`. A number on a line of standard input: opens connections
 * until there are so many, each with one request answered, and prints `holding <n>`. Ends with standard input.
 */
import { errno, libc, MSG_NOSIGNAL } from '@weir/core/sys';
import { createInterface } from 'node:readline';
import { clientSocket, connectTo } from './client-socket.ts';

const [, , address = '', port = ''] = process.argv;
const request = Buffer.from(`GET /64 HTTP/1.1\r\nHost: ${address}\r\n\r\n`, 'latin1');
const buffer = Buffer.alloc(4096);
let holding = 0;

process.stdout.write('ready\n');
for await (const line of createInterface({ input: process.stdin })) {
  while (holding < Number(line)) {
    const fd = clientSocket(address);
    connectTo(fd, address, Number(port));
    libc.send(fd, request, request.length, MSG_NOSIGNAL);
    const length = libc.recv(fd, buffer, buffer.length, 0);
    if (length <= 0) {
      const why = length === 0 ? 'it was closed' : `errno ${errno()}`;
      process.stderr.write(`connection ${holding} had no answer: ${why}\n`);
      process.exit(1);
    }
    holding++;
  }
  process.stdout.write(`holding ${holding}\n`);
}
process.exit(0);
