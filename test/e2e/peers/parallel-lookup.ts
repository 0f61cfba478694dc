/**
 * Asks for A and AAAA at the same time from one UDP socket, as C libraries do, a number of times. Arguments: server,
 * port, name, rounds. Prints the addresses of the last round and how many rounds got both.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';

const [, , server = '', port = '53', name = '', rounds = '1'] = process.argv;

function query(id: number, type: number): Buffer {
  const labels = name.split('.').flatMap((label) => [label.length, ...Buffer.from(label)]);
  return Buffer.from([id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, type, 0, 1]);
}

let both = 0;
let last: readonly string[] = [];
for (let round = 0; round < Number(rounds); round++) {
  const socket = createSocket('udp4');
  socket.connect(Number(port), server);
  await once(socket, 'connect');
  const found = new Map<number, string>();
  const done = new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, 3000);
    socket.on('message', (message) => {
      const id = message.readUInt16BE(0);
      if (message.readUInt16BE(6) > 0) found.set(id, message.subarray(id === 1 ? -4 : -16).toString('hex'));
      if (found.size < 2) return;
      clearTimeout(timer);
      resolve();
    });
  });
  socket.send(query(1, 1));
  socket.send(query(2, 28));
  await done;
  socket.close();
  if (found.size === 2) both++;
  last = [found.get(1) ?? '', found.get(2) ?? ''];
}
console.log(JSON.stringify({ both, last }));
