/**
 * An ordinary HTTP server to put behind Weir: `http-server.ts --listen 0.0.0.0:80 [--listen [::]:80] [--name N]`.
 *
 *   GET /            what the server sees of the request: its own name, addresses and the Host header, as JSON
 *   GET /bytes?n=N   N bytes (at most 16 GiB), content-length set
 *   POST /sink       reads the body; answers with its length and SHA-256
 *   POST /echo       sends the body back as it comes
 *   GET /slow?ms=N   answers after N milliseconds (at most 60,000)
 *
 * Prints `listening ADDRESS PORT` once for each socket, and one JSON line for each request.
 */
import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { parseArgs } from 'node:util';
import { pipeline } from 'node:stream/promises';
import { httpModule } from '../../sys/node-modules.ts';
import { parseEndpoint } from './endpoint.ts';

const { values } = parseArgs({
  options: {
    listen: { type: 'string', multiple: true, default: ['0.0.0.0:0'] },
    name: { type: 'string', default: 'server' },
  },
});

const block = Buffer.alloc(256 * 1024);
for (let i = 0; i < block.length; i++) block[i] = (i * 31) & 0xff;

function* bytes(total: number): Generator<Buffer> {
  for (let left = total; left > 0; left -= block.length) yield left >= block.length ? block : block.subarray(0, left);
}

function seen(request: IncomingMessage): string {
  const { socket } = request;
  return JSON.stringify({
    server: values.name,
    local: { address: socket.localAddress, port: socket.localPort },
    source: { address: socket.remoteAddress, port: socket.remotePort },
    host: request.headers.host,
    method: request.method,
    url: request.url,
  });
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://peer.invalid');
  const count = (key: string, most: number) => Math.min(Math.max(0, Number(url.searchParams.get(key)) || 0), most);
  switch (url.pathname) {
    case '/bytes': {
      const total = count('n', 16 * 2 ** 30);
      response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': total });
      await pipeline(bytes(total), response);
      return;
    }
    case '/sink': {
      const hash = createHash('sha256');
      let length = 0;
      for await (const chunk of request as AsyncIterable<Buffer>) {
        hash.update(chunk);
        length += chunk.length;
      }
      response.end(`${JSON.stringify({ length, sha256: hash.digest('hex') })}\n`);
      return;
    }
    case '/echo':
      await pipeline(request, response);
      return;
    case '/slow':
      await new Promise((resolve) => setTimeout(resolve, count('ms', 60_000)));
      response.end(`${seen(request)}\n`);
      return;
    default:
      response.setHeader('content-type', 'application/json');
      response.end(`${seen(request)}\n`);
  }
}

for (const text of values.listen) {
  const { address, port } = parseEndpoint(text);
  const server = httpModule().createServer((request, response) => {
    process.stdout.write(`${seen(request)}\n`);
    answer(request, response).catch(() => response.destroy());
  });
  server.keepAliveTimeout = 60_000;
  server.listen({ host: address, port, ipv6Only: address.includes(':') }, () => {
    const bound = server.address();
    if (bound && typeof bound === 'object') process.stdout.write(`listening ${bound.address} ${bound.port}\n`);
  });
}
