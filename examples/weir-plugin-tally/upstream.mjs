// An upstream that wants a PROXY header, version 2, and answers HTTP with what it said. Arguments: address and port.
import { createServer } from 'node:net';

const [, , host, port] = process.argv;
const ipv4 = (bytes) => [...bytes].join('.');
const ipv6 = (bytes) => bytes.toString('hex').replace(/(.{4})(?=.)/g, '$1:');

function parse(bytes) {
  if (bytes.length < 16) return undefined;
  if (bytes.toString('hex', 0, 12) !== '0d0a0d0a000d0a515549540a') return { error: `no PROXY header: ${bytes.toString('hex', 0, 16)}` };
  const end = 16 + bytes.readUInt16BE(14);
  if (bytes.length < end) return undefined;
  const [width, text] = bytes[13] >> 4 === 1 ? [4, ipv4] : [16, ipv6];
  const ports = 16 + 2 * width;
  const seen = {
    version: bytes[12] >> 4,
    command: bytes[12] & 15,
    source: `${text(bytes.subarray(16, 16 + width))}:${bytes.readUInt16BE(ports)}`,
    destination: `${text(bytes.subarray(16 + width, ports))}:${bytes.readUInt16BE(ports + 2)}`,
  };
  for (let at = ports + 4; at < end; at += 3 + bytes.readUInt16BE(at + 1)) {
    if (bytes[at] === 2) seen.authority = bytes.toString('utf8', at + 3, at + 3 + bytes.readUInt16BE(at + 1));
  }
  return { seen, end };
}

createServer((socket) => {
  let got = Buffer.alloc(0);
  socket.on('error', () => undefined);
  socket.on('data', (bytes) => {
    got = Buffer.concat([got, bytes]);
    const head = parse(got);
    if (!head) return;
    const request = head.seen && got.subarray(head.end).toString();
    if (request !== undefined && !request.includes('\r\n\r\n')) return;
    const body = JSON.stringify(head.seen ? { ...head.seen, request: request.split('\r\n')[0] } : head) + '\n';
    process.stdout.write(body);
    socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`);
  });
}).listen(Number(port), host, () => process.stdout.write(`listening on ${host}:${port}\n`));
