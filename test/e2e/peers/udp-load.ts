/**
 * UDP clients: `udp-load.ts ADDRESS PORT CLIENTS ROUNDS BYTES`. Each client is a socket of its own that sends a datagram,
 * waits for the same bytes from the address and port it wrote to, and does so ROUNDS times. Prints JSON: right, wrong, lost.
 */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';

const [, , address = '', port = '', clients = '', rounds = '', bytes = ''] = process.argv;
const counts = { right: 0, wrong: 0, lost: 0 };

async function client(number: number): Promise<void> {
  const socket: Socket = createSocket({ type: address.includes(':') ? 'udp6' : 'udp4', recvBufferSize: 2 ** 20 });
  socket.bind(0);
  await once(socket, 'listening');
  for (let round = 0; round < Number(rounds); round++) {
    const text = Buffer.alloc(Number(bytes), `${number}.${round} `);
    socket.send(text, Number(port), address);
    try {
      const [message, from] = (await once(socket, 'message', { signal: AbortSignal.timeout(3000) })) as [
        Buffer,
        { address: string; port: number },
      ];
      const right = message.equals(text) && from.address === address && from.port === Number(port);
      counts[right ? 'right' : 'wrong']++;
    } catch {
      counts.lost++;
    }
  }
  socket.close();
}

const total = Number(clients);
for (let n = 0; n < total; n += 200) {
  await Promise.all(Array.from({ length: Math.min(200, total - n) }, (_, k) => client(n + k)));
}
process.stdout.write(`${JSON.stringify(counts)}\n`);
