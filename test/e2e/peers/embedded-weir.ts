/**
 * Weir inside another program: `embedded-weir.ts OWNER-DOCUMENT.json`. Takes commands on standard input, one a line, and
 * answers each with one line of JSON: `crash N`, `status`, `flows`, `stop`.
 */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { configuration, Weir } from '@weir/core';

const [, , path = ''] = process.argv;
const weir = await Weir.start(await configuration(JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>));
const answer = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`);
answer({ ready: true });
for await (const line of createInterface({ input: process.stdin })) {
  const [command, argument] = line.split(' ');
  if (command === 'crash') {
    weir.crashWorker(Number(argument));
    answer({ crashed: Number(argument) });
  } else if (command === 'status') answer(weir.status());
  else if (command === 'flows') answer(weir.recentFlows(10_000));
  else if (command === 'stop') break;
}
await weir.stop({ now: true });
answer({ stopped: true });
