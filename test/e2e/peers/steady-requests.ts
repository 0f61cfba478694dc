/**
 * Short connections at a steady rate: `steady-requests.ts ADDRESS PORT PER-SECOND`. Each sends a line, expects it back and
 * FIN. Prints `running` after the first, and on the end of standard input JSON: done, failures by code, seconds.
 */
import { once } from 'node:events';
import { connect } from 'node:net';

const [, , address = '', port = '', rate = ''] = process.argv;
const failures: Record<string, number> = {};
const pending = new Set<Promise<void>>();
let done = 0;
let started = 0;

async function request(number: number): Promise<void> {
  const line = `request ${number}`;
  const socket = connect({ host: address, port: Number(port) });
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(5000) });
    socket.end(line);
    let text = '';
    for await (const chunk of socket) text += String(chunk);
    if (text !== line) throw Object.assign(new Error('wrong answer'), { code: 'WRONG' });
    if (++done === 1) process.stdout.write('running\n');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    failures[code] = (failures[code] ?? 0) + 1;
  } finally {
    socket.destroy();
  }
}

const begun = performance.now();
const timer = setInterval(() => {
  const due = ((performance.now() - begun) / 1000) * Number(rate);
  while (started < due) {
    const one = request(started++);
    pending.add(one);
    void one.finally(() => pending.delete(one));
  }
}, 5);
process.stdin.resume();
await once(process.stdin, 'end');
clearInterval(timer);
const seconds = (performance.now() - begun) / 1000;
await Promise.all(pending);
process.stdout.write(`${JSON.stringify({ done, failures, seconds })}\n`);
