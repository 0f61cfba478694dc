/**
 * New connections, one after the other: `connect-client.ts ADDRESS PORT MILLISECONDS`. For each, how long connect(2) took,
 * and how long until the response was there. It does not wait for FIN, which one relay passes on seconds later. Prints `report` and JSON, times in microseconds.
 */
import { libc, MSG_NOSIGNAL } from '@weir/core/sys';
import { clientSocket, connectTo } from './client-socket.ts';

const [, , address = '', port = '', milliseconds = '1000'] = process.argv;
const request = Buffer.from(`GET /close/64 HTTP/1.1\r\nHost: ${address}\r\n\r\n`, 'latin1');
const buffer = Buffer.alloc(4096);
const connects: number[] = [];
const answers: number[] = [];

const until = performance.now() + Number(milliseconds);
while (performance.now() < until) {
  const fd = clientSocket(address);
  const begun = process.hrtime.bigint();
  connectTo(fd, address, Number(port));
  const connected = process.hrtime.bigint();
  libc.send(fd, request, request.length, MSG_NOSIGNAL);
  const length = libc.recv(fd, buffer, buffer.length, 0);
  const answered = process.hrtime.bigint();
  if (length < 12 || buffer.toString('latin1', 9, 12) !== '200') {
    process.stderr.write(`no response, recv gave ${length}\n`);
    process.exit(1);
  }
  libc.close(fd);
  connects.push(Number(connected - begun) / 1000);
  answers.push(Number(answered - begun) / 1000);
}

function percentile(values: number[], part: number): number {
  values.sort((a, b) => a - b);
  return values[Math.min(values.length - 1, Math.floor(values.length * part))] ?? Number.NaN;
}
const report = {
  connections: connects.length,
  connectP50: percentile(connects, 0.5),
  connectP99: percentile(connects, 0.99),
  answerP50: percentile(answers, 0.5),
  answerP99: percentile(answers, 0.99),
};
process.stdout.write(`report ${JSON.stringify(report)}\n`);
process.exit(0);
