/**
 * A UDP server: `udp-server.ts --listen ADDRESS:PORT … [--name N] [--mode echo|seen|silent]`. Prints `listening ADDRESS
 * PORT` for each. Answers every datagram: `echo` with the same bytes, `seen` with JSON of what it saw (server, source, local port,
 * bytes), `silent` none. On SIGTERM prints how many different sources it saw as `{"sources":N}`.
 */
import { createSocket } from 'node:dgram';
import { parseArgs } from 'node:util';
import { parseEndpoint } from './endpoint.ts';

const { values } = parseArgs({
  options: {
    listen: { type: 'string', multiple: true, default: [] },
    name: { type: 'string', default: 'server' },
    mode: { type: 'string', default: 'seen' },
  },
});

const sources = new Set<string>();

for (const { address, port } of values.listen.map(parseEndpoint)) {
  const common = { recvBufferSize: 2 ** 20 };
  const socket = createSocket(
    address.includes(':') ? { ...common, type: 'udp6', ipv6Only: true } : { ...common, type: 'udp4' },
  );
  socket.on('message', (message, from) => {
    sources.add(`${from.address} ${from.port}`);
    if (values.mode === 'silent') return;
    const source = { address: from.address, port: from.port };
    const seen = { server: values.name, source, local: port, bytes: message.length };
    socket.send(values.mode === 'echo' ? message : JSON.stringify(seen), from.port, from.address);
  });
  // A source that has gone answers with ICMP; the others are still there.
  socket.on('error', (error) => process.stderr.write(`${error.message}\n`));
  socket.bind(port, address, () => process.stdout.write(`listening ${address} ${port}\n`));
}
process.on('SIGTERM', () => {
  process.stdout.write(`${JSON.stringify({ sources: sources.size })}\n`);
  process.exit(0);
});
