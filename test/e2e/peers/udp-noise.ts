/**
 * Random datagrams: `udp-noise.ts SEED COUNT ADDRESS:PORT …`. Each target gets COUNT of them, empty to 1,400 bytes long,
 * from eight sockets in turn; half of them begin as a DNS query does. Prints how many went to each.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';

const [, , seedText = '1', countText = '100', ...targets] = process.argv;
let seed = Number(seedText) >>> 0;

/** Numerical Recipes' generator: the same datagrams for the same seed. */
function random(below: number): number {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return Math.floor((seed / 2 ** 32) * below);
}

function noise(): Buffer {
  const bytes = Buffer.from(Array.from({ length: random(8) === 0 ? 0 : random(1400) }, () => random(256)));
  if (bytes.length > 12 && random(2) === 0)
    Buffer.from([random(256), random(256), 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]).copy(bytes);
  return bytes;
}

for (const target of targets) {
  const colon = target.lastIndexOf(':');
  const [address, port] = [target.slice(0, colon).replaceAll(/[[\]]/g, ''), Number(target.slice(colon + 1))];
  const sockets = Array.from({ length: 8 }, () => createSocket(address.includes(':') ? 'udp6' : 'udp4'));
  let sent = 0;
  for (const socket of sockets) {
    socket.on('error', () => undefined);
    socket.bind(0);
    await once(socket, 'listening');
  }
  for (let n = 0; n < Number(countText); n++) {
    const bytes = noise();
    await new Promise<void>((resolve) => {
      sockets[n % sockets.length]?.send(bytes, port, address, (error) => {
        if (error === null) sent++;
        resolve();
      });
    });
  }
  for (const socket of sockets) socket.close();
  process.stdout.write(`${target} ${sent}\n`);
}
