/**
 * Clients, many thousands from one thread: `flow-load.ts --protocol tcp|udp --flows N --parallel N --targets
 * ADDRESS:PORT,… [--sources ADDRESS,…] [--dns NAME --answer ADDRESS]`. IPv4. Each flow sends 64 bytes of its own and wants
 * the same back. In TCP every second one then resets, a tenth falls silent and waits until somebody ends it, the others
 * send FIN and read to the end. A UDP client is a source and port that no other has; it asks again every two seconds, and
 * with --dns for the address of NAME. Prints one line of JSON.
 */
import {
  checked,
  closeWithReset,
  EAGAIN,
  EINPROGRESS,
  EPOLL_CLOEXEC,
  EPOLL_CTL_ADD,
  EPOLL_DATA_OFFSET,
  EPOLL_EVENT_SIZE,
  EPOLLERR,
  EPOLLET,
  EPOLLIN,
  EPOLLOUT,
  errno,
  errnoName,
  libc,
  openSocket,
  setOption,
  sockaddr,
  SOL_IP,
  writeEpollEvent,
} from '@weir/core/sys';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    protocol: { type: 'string', default: 'tcp' },
    flows: { type: 'string', default: '1000' },
    parallel: { type: 'string', default: '256' },
    targets: { type: 'string', default: '' },
    sources: { type: 'string', default: '' },
    dns: { type: 'string', default: '' },
    answer: { type: 'string', default: '' },
  },
});
const protocol = values.protocol === 'udp' ? 'udp' : 'tcp';
const total = Number(values.flows);
const parallel = Number(values.parallel);
const sources = values.sources.split(',').filter((address) => address !== '');
const targets = values.targets.split(',').map((text) => {
  const [address = '', port = ''] = text.split(':');
  return sockaddr({ address, port: Number(port) });
});

/** linux/in.h: the port is chosen by connect(), so that each destination has all of them. */
const IP_BIND_ADDRESS_NO_PORT = 24;
const SHUT_WR = 1;
const SIZE = 64;
const FIRST_PORT = 1024;
/** Milliseconds. */
const PATIENCE = 30_000;
const ASK_AGAIN = 2000;
const ASKS = 20;
const TICK = 250;

interface Flow {
  readonly fd: number;
  readonly id: number;
  state: 'connecting' | 'waiting' | 'silent' | 'ending';
  since: number;
  got: number;
  asked: number;
}

const counts = { right: 0, wrong: 0, reset: 0, finished: 0, abandoned: 0, timeout: 0, again: 0 };
const errors: Record<string, number> = {};
const living = new Map<number, Flow>();
const sent = Buffer.alloc(SIZE);
const received = Buffer.alloc(1024);
/** RFC 1035, section 4.1: one question for an A record, with a place for the id. */
const query = Buffer.concat([
  Buffer.from([0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
  ...values.dns.split('.').map((label) => Buffer.concat([Uint8Array.of(label.length), Buffer.from(label)])),
  Buffer.from([0, 0, 1, 0, 1]),
]);
const answer = Buffer.from(values.answer.split('.').map(Number));
const epfd = checked(libc.epoll_create1(EPOLL_CLOEXEC), 'epoll_create1()', 'Raise the limit of open files.');
const event = new DataView(new ArrayBuffer(16));
const events = new DataView(new ArrayBuffer(512 * EPOLL_EVENT_SIZE));
let next = 0;
let busy = 0;
let most = 0;

/** What a flow sends. */
function payloadOf(id: number): Buffer {
  if (values.dns !== '') {
    query.writeUInt16BE(id & 0xffff, 0);
    return query;
  }
  for (let at = 0; at < SIZE; at += 4) sent.writeUInt32LE(Math.imul(id + 1, 0x9e3779b1 + at) >>> 0, at);
  return sent;
}

/** Whether `length` bytes in `received` are what the flow wants. */
function isRight(id: number, length: number): boolean {
  if (values.dns === '') return received.subarray(0, length).equals(payloadOf(id));
  return received.readUInt16BE(0) === (id & 0xffff) && received.subarray(length - 4, length).equals(answer);
}

function end(flow: Flow, how: keyof typeof counts | undefined, reset = false): void {
  if (how !== undefined) counts[how]++;
  if (flow.state !== 'silent') busy--;
  living.delete(flow.fd);
  if (reset) closeWithReset(flow.fd);
  else libc.close(flow.fd);
}

function failed(flow: Flow, code: number): void {
  const name = errnoName(code);
  errors[name] = (errors[name] ?? 0) + 1;
  end(flow, undefined, true);
}

function ask(flow: Flow, now: number): void {
  flow.since = now;
  flow.asked++;
  const bytes = payloadOf(flow.id);
  libc.send(flow.fd, bytes, bytes.length, 0);
}

function binds(fd: number, address: string, port: number): boolean {
  const name = sockaddr({ address, port });
  return libc.bind(fd, name, name.length) === 0;
}

function open(now: number): void {
  const id = next++;
  const fd = openSocket({ family: 4, protocol });
  if (sources.length > 0) {
    const address = sources[id % sources.length] as string;
    if (protocol === 'tcp') setOption(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1, 'setsockopt()', 'Report this.');
    const port = protocol === 'tcp' ? 0 : FIRST_PORT + (Math.floor(id / sources.length) % (65_536 - FIRST_PORT));
    // Another socket of this host may have that port, as an upstream of Weir's: then any.
    if (port === 0 || !binds(fd, address, port))
      checked(binds(fd, address, 0) ? 0 : -1, `bind() to ${address}`, 'Report this.');
  }
  const flow: Flow = { fd, id, state: protocol === 'tcp' ? 'connecting' : 'waiting', since: now, got: 0, asked: 0 };
  living.set(fd, flow);
  busy++;
  most = Math.max(most, living.size);
  const target = targets[id % targets.length] as Buffer;
  if (libc.connect(fd, target, target.length) < 0) {
    const code = errno();
    if (code !== EINPROGRESS) {
      failed(flow, code);
      return;
    }
  }
  writeEpollEvent(event, protocol === 'tcp' ? EPOLLIN | EPOLLOUT | EPOLLET : EPOLLIN, fd, id);
  checked(libc.epoll_ctl(epfd, EPOLL_CTL_ADD, fd, event), 'epoll_ctl()', 'Report this.');
  if (protocol === 'udp') ask(flow, now);
}

function answered(flow: Flow, now: number): void {
  counts[isRight(flow.id, flow.got) ? 'right' : 'wrong']++;
  if (protocol === 'udp') end(flow, undefined);
  else if (flow.id % 2 === 0) end(flow, 'reset', true);
  else if (flow.id % 10 === 9) {
    flow.state = 'silent';
    busy--;
  } else {
    flow.state = 'ending';
    libc.shutdown(flow.fd, SHUT_WR);
  }
  flow.since = now;
}

function readable(flow: Flow, now: number): void {
  for (;;) {
    const room = flow.state === 'waiting' ? received.subarray(flow.got) : received;
    const count = libc.recv(flow.fd, room, room.length, 0);
    if (count < 0) {
      const code = errno();
      if (code === EAGAIN) return;
      // Weir resets what has been silent for too long.
      if (flow.state === 'silent') end(flow, 'abandoned');
      else failed(flow, code);
      return;
    }
    if (count === 0 && protocol === 'tcp') {
      if (flow.state === 'ending') end(flow, 'finished');
      else if (flow.state === 'silent') end(flow, 'abandoned');
      else end(flow, 'wrong', true);
      return;
    }
    if (flow.state !== 'waiting') continue;
    // Bytes of one flow alone are in the buffer: a small answer comes whole, as a rule, and otherwise counts as wrong.
    flow.got += count;
    if (protocol === 'tcp' && flow.got < SIZE) return;
    answered(flow, now);
    if (!living.has(flow.fd)) return;
  }
}

function happened(flow: Flow, flags: number, now: number): void {
  if (flow.state === 'connecting' && (flags & (EPOLLOUT | EPOLLERR)) !== 0) {
    flow.state = 'waiting';
    if ((flags & EPOLLERR) === 0) ask(flow, now);
  }
  if ((flags & (EPOLLIN | EPOLLERR)) !== 0) readable(flow, now);
}

function sweep(now: number): void {
  for (const flow of living.values()) {
    const quiet = now - flow.since;
    if (protocol === 'udp' && quiet > ASK_AGAIN && flow.asked < ASKS) {
      counts.again++;
      ask(flow, now);
    } else if (quiet > (protocol === 'udp' ? ASK_AGAIN : PATIENCE)) end(flow, 'timeout', true);
  }
}

const started = performance.now();
let swept = 0;
while (next < total || living.size > 0) {
  const now = Date.now();
  while (next < total && busy < parallel) open(now);
  const count = libc.epoll_wait(epfd, events, 512, TICK);
  for (let n = 0; n < count; n++) {
    const at = n * EPOLL_EVENT_SIZE;
    const flow = living.get(events.getUint32(at + EPOLL_DATA_OFFSET, true));
    if (flow?.id === events.getUint32(at + EPOLL_DATA_OFFSET + 4, true))
      happened(flow, events.getUint32(at, true), now);
  }
  if (now - swept >= TICK) {
    swept = now;
    sweep(now);
  }
}
process.stdout.write(`${JSON.stringify({ ...counts, errors, most, ms: Math.round(performance.now() - started) })}\n`);
