/**
 * UDP clients: `udp-client.ts --target ADDRESS:PORT … [--count N] [--rounds N] [--bytes N] [--timeout MS] [--bind ADDRESS]
 * [--mark N] [--connected] [--mode echo|seen|hold]`. Each of N clients is one socket that writes to every target in turn
 * and waits for the answer before it goes on. An answer is right when it comes from the address and port that was written to.
 *
 *   echo    the answer must be the bytes that were sent
 *   seen    the answer may be anything; all are reported
 *   hold    as seen, one round; prints the report, and another round's for each line on standard input, from the same sockets
 *
 * --connected: each client has one target, the one at its number, and uses connect(). Prints one JSON line: right, wrong,
 * lost, errors by code, answers.
 */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { parseEndpoint } from './endpoint.ts';

const { values } = parseArgs({
  options: {
    target: { type: 'string', multiple: true, default: [] },
    count: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '1' },
    bytes: { type: 'string', default: '64' },
    timeout: { type: 'string', default: '3000' },
    bind: { type: 'string' },
    mark: { type: 'string' },
    connected: { type: 'boolean', default: false },
    mode: { type: 'string', default: 'echo' },
  },
});
const targets = values.target.map(parseEndpoint);
const size = Number(values.bytes);
const six = targets[0]?.address.includes(':') ?? false;

interface Report {
  right: number;
  wrong: number;
  lost: number;
  errors: Record<string, number>;
  /** One per answer in the order of clients, rounds and targets; where it came from, and its text. */
  answers: string[][];
}

type Target = (typeof targets)[number];

async function open(number: number): Promise<Socket> {
  const socket = createSocket({ type: six ? 'udp6' : 'udp4', recvBufferSize: 2 ** 20 });
  const listening = once(socket, 'listening');
  if (values.mark === undefined) socket.bind({ port: 0, ...(values.bind ? { address: values.bind } : {}) });
  else {
    // Here alone: what it brings along takes longer than most clients live.
    const { openSocket } = await import('../../sys/sockets.ts');
    socket.bind({ fd: openSocket({ family: six ? 6 : 4, protocol: 'udp', mark: Number(values.mark) }) });
  }
  await listening;
  if (values.connected) {
    const target = targets[number % targets.length] as Target;
    const connected = once(socket, 'connect');
    socket.connect(target.port, target.address);
    await connected;
  }
  return socket;
}

async function ask(socket: Socket, target: Target, payload: Buffer, report: Report, answers: string[]): Promise<void> {
  const signal = AbortSignal.timeout(Number(values.timeout));
  try {
    const answer = once(socket, 'message', { signal });
    if (values.connected) socket.send(payload);
    else socket.send(payload, target.port, target.address);
    const [message, from] = (await answer) as [Buffer, { readonly address: string; readonly port: number }];
    const right = from.address === target.address && from.port === target.port;
    const same = values.mode !== 'echo' || message.equals(payload);
    report[right && same ? 'right' : 'wrong']++;
    answers.push(values.mode === 'echo' ? `${from.address} ${from.port}` : message.toString());
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    if (signal.aborted) report.lost++;
    else report.errors[code] = (report.errors[code] ?? 0) + 1;
    answers.push(signal.aborted ? 'lost' : code);
  }
}

async function round(socket: Socket, number: number, rounds: number, report: Report): Promise<void> {
  const answers: string[] = [];
  report.answers[number] = answers;
  const mine = values.connected ? [targets[number % targets.length] as Target] : targets;
  for (let n = 0; n < rounds; n++) {
    for (const [place, target] of mine.entries()) {
      await ask(socket, target, Buffer.alloc(size, `${number}.${n}.${place} `), report, answers);
    }
  }
}

/** Clients at once; a few hundred sockets do not overrun anybody's receive buffer. */
const PARALLEL = 100;

async function all(sockets: readonly Socket[], rounds: number): Promise<void> {
  const report: Report = { right: 0, wrong: 0, lost: 0, errors: {}, answers: [] };
  for (let first = 0; first < sockets.length; first += PARALLEL) {
    const some = sockets.slice(first, first + PARALLEL);
    await Promise.all(some.map((socket, n) => round(socket, first + n, rounds, report)));
  }
  process.stdout.write(`${JSON.stringify(report)}\n`);
}

const sockets = await Promise.all(Array.from({ length: Number(values.count) }, (_, number) => open(number)));
// What an ICMP message says is reported by the call that waits for an answer.
for (const socket of sockets) socket.on('error', () => {});
if (values.mode === 'hold') {
  await all(sockets, 1);
  for await (const _ of createInterface({ input: process.stdin })) await all(sockets, 1);
} else await all(sockets, Number(values.rounds));
for (const socket of sockets) socket.close();
