/** Sends each datagram back: `udp-echo.ts ADDRESS PORT`. Prints `listening`, and on SIGTERM how many sockets it saw. */
import { createSocket } from 'node:dgram';

const [, , address = '', port = ''] = process.argv;
const seen = new Set<string>();
const socket = createSocket({ type: address.includes(':') ? 'udp6' : 'udp4', recvBufferSize: 4 * 2 ** 20 });
socket.on('message', (message, from) => {
  seen.add(`${from.address} ${from.port}`);
  socket.send(message, from.port, from.address);
});
socket.bind(Number(port), address, () => process.stdout.write(`listening ${address} ${port}\n`));
process.on('SIGTERM', () => {
  process.stdout.write(`${JSON.stringify({ sockets: seen.size })}\n`);
  process.exit(0);
});
