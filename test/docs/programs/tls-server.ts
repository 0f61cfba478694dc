/** Says to every client which name it asked for, repeats what it says first, and ends. argv: key file, certificate file, address, port. */
import { readFileSync } from 'node:fs';
import { createServer, type TLSSocket } from 'node:tls';

const [, , key = '', cert = '', address = '', port = ''] = process.argv;
const server = createServer({ key: readFileSync(key), cert: readFileSync(cert) }, (socket) => {
  socket.on('error', () => socket.destroy());
  // Not in the types: the name by SNI.
  const { servername } = socket as TLSSocket & { readonly servername?: string };
  socket.write(`for ${servername}: `);
  socket.once('data', (data) => socket.end(data));
});
server.listen(Number(port), address, () => process.stdout.write('listening\n'));
