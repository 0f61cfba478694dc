/**
 * A SOCKS5 server with a fault: `faulty-socks.ts ADDRESS PORT MODE [N]`. Grants every request and echoes the flow, but
 *
 *   bytes       answers one byte a write, with a pause between them
 *   early       sends the first bytes of the flow in the same segment as its last reply
 *   stall       never answers
 *   flood       answers the greeting with a mebibyte of zeros
 *   version     answers as SOCKS4 would
 *   method      chooses a method that nobody offered
 *   refuse      refuses the request with reply code N
 *   close       closes after N bytes of its answers
 *   type        replies with an address type that there is none of
 */
import { createServer, type Socket } from 'node:net';

const [, , address = '', port = '', mode = '', argument = '0'] = process.argv;
const limit = Number(argument);

const GRANTED = Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);

async function write(socket: Socket, bytes: Uint8Array, sent: { count: number }): Promise<void> {
  if (mode === 'close') {
    const part = bytes.subarray(0, limit - sent.count);
    sent.count += part.length;
    socket.write(part);
    if (sent.count >= limit) socket.end();
    return;
  }
  if (mode !== 'bytes') {
    socket.write(bytes);
    return;
  }
  for (const byte of bytes) {
    socket.write(Uint8Array.of(byte));
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function serve(socket: Socket): Promise<void> {
  const sent = { count: 0 };
  socket.setNoDelay(true);
  let state = 0;
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    if (mode === 'stall') continue;
    if (state === 0) {
      state = 1;
      if (mode === 'flood') socket.write(Buffer.alloc(2 ** 20));
      else if (mode === 'version') socket.write(Buffer.from([0, 90]));
      else if (mode === 'method') socket.write(Buffer.from([5, 1]));
      else if (mode === 'close' && limit === 0) socket.end();
      else await write(socket, Buffer.from([5, 0]), sent);
    } else if (state === 1) {
      state = 2;
      if (mode === 'refuse') socket.write(Buffer.from([5, limit, 0, 1, 0, 0, 0, 0, 0, 0]));
      else if (mode === 'type') socket.write(Buffer.from([5, 0, 0, 9, 0, 0, 0, 0, 0, 0]));
      else if (mode === 'early') socket.write(Buffer.concat([GRANTED, Buffer.from('early ')]));
      else await write(socket, GRANTED, sent);
    } else socket.write(chunk);
  }
  socket.end();
}

const server = createServer({ allowHalfOpen: true }, (socket) => {
  socket.on('error', () => undefined);
  serve(socket).catch(() => socket.destroy());
});
server.listen(Number(port), address, () => process.stdout.write(`listening ${address} ${port}\n`));
