/** `pipe-relay.ts ADDRESS LISTEN:PORT…`: accepts on 127.0.0.1:LISTEN and pipes to ADDRESS:PORT. Prints `listening`. */
import { once } from 'node:events';
import { connect, createServer } from 'node:net';

const [, , address = '', ...pairs] = process.argv;
for (const pair of pairs) {
  const [listen, port] = pair.split(':').map(Number);
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const upstream = connect({ host: address, port: port ?? 0, allowHalfOpen: true, noDelay: true });
    client.pipe(upstream);
    upstream.pipe(client);
    client.on('error', () => upstream.destroy());
    upstream.on('error', () => client.destroy());
  });
  server.listen({ host: '127.0.0.1', port: listen, backlog: 4096 });
  await once(server, 'listening');
}
process.stdout.write('listening\n');
