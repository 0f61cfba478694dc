/**
 * A UDP peer. `udp-peer.ts --listen ADDRESS:PORT` answers each datagram with `NAME: <what came>` (--name) and prints
 * `listening ADDRESS PORT`. `udp-peer.ts --send ADDRESS:PORT --text T` sends one datagram, prints the answer as JSON
 * (text, from) and exits 0, or exits 1 when none comes within --timeout milliseconds or an ICMP error does.
 */
import { createSocket } from 'node:dgram';
import { parseArgs } from 'node:util';
import { parseEndpoint } from './endpoint.ts';

const { values } = parseArgs({
  options: {
    listen: { type: 'string' },
    send: { type: 'string' },
    text: { type: 'string', default: 'hello' },
    name: { type: 'string', default: 'server' },
    timeout: { type: 'string', default: '3000' },
  },
});
const { address, port } = parseEndpoint(values.listen ?? values.send ?? '');
const socket = createSocket(address.includes(':') ? { type: 'udp6', ipv6Only: true } : { type: 'udp4' });

function fail(why: string): never {
  process.stdout.write(`${JSON.stringify({ error: why })}\n`);
  process.exit(1);
}

if (values.listen === undefined) {
  setTimeout(() => fail('timeout'), Number(values.timeout));
  socket.on('error', (error: NodeJS.ErrnoException) => fail(error.code ?? 'error'));
  socket.on('message', (message, from) => {
    process.stdout.write(
      `${JSON.stringify({ text: message.toString(), from: { address: from.address, port: from.port } })}\n`,
    );
    process.exit(0);
  });
  // Connected, so that an ICMP error comes back as an error.
  socket.connect(port, address, () => socket.send(values.text));
} else {
  socket.on('message', (message, from) =>
    socket.send(`${values.name}: ${message.toString()}`, from.port, from.address),
  );
  socket.bind(port, address, () =>
    process.stdout.write(`listening ${socket.address().address} ${socket.address().port}\n`),
  );
}
