/**
 * A SOCKS5 server that carries datagrams (RFC 1928, section 7), as it should or with a fault: `socks-relay.ts ADDRESS PORT
 * MODE [N]`. It echoes each datagram as its destination would, and prints `to HOST PORT` for each destination that is new,
 * `open N` and `closed N` for its control connections.
 *
 *   right       says the address of its relay
 *   zero        says 0.0.0.0, which means its own address; so does every mode where ADDRESS is of IPv6
 *   fragments   sends fragments, half headers, unknown address types and foreign sources before each echo
 *   noise       sends random datagrams before each echo; N seeds them
 *   hangup      closes the control connection after N datagrams
 *   reset       resets it
 *   chatty      sends N bytes on the control connection once granted
 *   refuse      refuses with reply code N
 *   stall       never grants
 *   name        says a name instead of an address
 *   portless    says port 0
 */
import { createSocket } from 'node:dgram';
import { createServer, type Socket } from 'node:net';

const [, , address = '', port = '', mode = '', argument = '0'] = process.argv;
const number = Number(argument);
const six = address.includes(':');
const say = (line: string) => process.stdout.write(`${line}\n`);
const seen = new Set<string>();
let open = 0;
let seed = number;

/** Numerical Recipes' generator: the same datagrams for the same seed. */
function random(below: number): number {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return seed % below;
}

/** Where the header of a datagram ends; undefined: it has none that is whole. */
function headerEnd(datagram: Uint8Array): number | undefined {
  const size = { 1: 4, 4: 16, 3: 1 + (datagram[4] ?? 0) }[datagram[3] ?? 0];
  return size === undefined || datagram.length < 6 + size ? undefined : 6 + size;
}

/** Type, address and port as text. */
function destinationOf(header: Uint8Array): string {
  const bytes = Buffer.from(header);
  const to =
    header[3] === 3 ? bytes.toString('latin1', 5, bytes.length - 2) : bytes.toString('hex', 4, bytes.length - 2);
  return `to ${to} ${bytes.readUInt16BE(bytes.length - 2)}`;
}

/** What comes before an echo and must not reach the client. */
function before(header: Uint8Array, payload: Uint8Array): readonly Uint8Array[] {
  if (mode === 'noise') {
    return Array.from({ length: 8 }, () => Buffer.from(Array.from({ length: random(64) }, () => random(256))));
  }
  if (mode !== 'fragments') return [];
  const changed = (at: number, value: number) => header.map((byte, n) => (n === at ? value : byte));
  const last = header.length - 1;
  const heads = [changed(2, 1), changed(3, 9), changed(4, 9), changed(last, (header[last] ?? 0) ^ 1)];
  return [...heads.map((head) => Buffer.concat([head, payload])), header.subarray(0, 6), new Uint8Array(0)];
}

/** Type, address and port. */
function bound(boundPort: number): Uint8Array {
  const tail = [boundPort >> 8, boundPort & 0xff];
  if (mode === 'name')
    return Buffer.concat([Uint8Array.of(3, 13), Buffer.from('relay.example'), Uint8Array.from(tail)]);
  if (six) return Uint8Array.of(4, ...Array<number>(16).fill(0), ...tail);
  return Uint8Array.of(1, ...(mode === 'zero' ? '0.0.0.0' : address).split('.').map(Number), ...tail);
}

function relay(control: Socket): void {
  const socket = createSocket(six ? 'udp6' : 'udp4');
  let datagrams = 0;
  control.once('close', () => {
    say(`closed ${--open}`);
    socket.close();
  });
  socket.on('message', (message, from) => {
    const end = headerEnd(message);
    if (end === undefined || message[2] !== 0) return;
    const header = message.subarray(0, end);
    const destination = destinationOf(header);
    if (!seen.has(destination)) say(destination);
    seen.add(destination);
    for (const bytes of before(header, message.subarray(end))) socket.send(bytes, from.port, from.address);
    socket.send(message, from.port, from.address);
    if (++datagrams !== number) return;
    if (mode === 'hangup') control.end();
    if (mode === 'reset') control.resetAndDestroy();
  });
  socket.bind(0, address, () => {
    control.write(Buffer.concat([Uint8Array.of(5, 0, 0), bound(mode === 'portless' ? 0 : socket.address().port)]));
    if (mode === 'chatty') control.write(Buffer.alloc(number));
  });
}

const server = createServer({ allowHalfOpen: false }, (control) => {
  say(`open ${++open}`);
  control.on('error', () => undefined);
  control.once('data', () => {
    control.write(Uint8Array.of(5, 0));
    control.once('data', (request: Buffer) => {
      control.resume();
      if (mode === 'stall') return;
      if (mode === 'refuse' || request[1] !== 3) {
        control.end(Uint8Array.of(5, mode === 'refuse' ? number : 7, 0, 1, 0, 0, 0, 0, 0, 0));
      } else relay(control);
    });
  });
});
server.listen(Number(port), address, () => say(`listening ${address} ${port}`));
