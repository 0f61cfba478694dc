/**
 * How many system calls the splice worker makes: per flow, per small request, per MiB, per run of datagrams. Counts and never seconds, because
 * counts are the same on every machine. A change that needs more of them raises a number here and says why.
 */
import {
  requires,
  startPeer,
  TestNetwork,
  WeirProcess,
  type ConfigurationDocument,
  type TestHost,
} from '@weir/core/testing';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { countCalls, perUnit, workerCalls, type CallCounts } from './call-counts.ts';

const MEBIBYTES = 256;
/** Room for what a busy machine splits in two, and for the tick that wakes an idle worker. */
const SLACK = 0.1;

/** What a connection of one request and one response may cost, opened and ended by the client, nothing else going on. */
const PER_FLOW: CallCounts = {
  // New connection; upstream connected; request; response; FIN of the client; FIN of the upstream.
  epoll_wait: 6,
  // The connection, and the look that finds no other.
  accept4: 2,
  // The original destination.
  getsockname: 1,
  // One for each side, when it is opened; closing takes a descriptor out.
  epoll_ctl: 2,
  socket: 1,
  // The bypass mark and TCP_NODELAY of the upstream; the client's side inherits both from its listener.
  setsockopt: 2,
  connect: 1,
  // Data and end of each side: a short read says that there is no more, so no call asks for it.
  recvfrom: 4,
  sendto: 2,
  // FIN passed on, each way.
  shutdown: 2,
  close: 2,
};

/** What a request of 64 bytes and its response may cost on a connection that stays: copied, no pipe, no splice. */
const PER_REQUEST: CallCounts = { epoll_wait: 2, recvfrom: 2, sendto: 2 };

/** What a MiB may cost on its way: a pipe holds 256 KiB, filled and emptied by one call each when the flow is quick. */
const PER_MIB: CallCounts = { splice: 14, epoll_wait: 4, recvfrom: 1, sendto: 1 };

/** Datagrams of a run: all that every kernel takes by one call. By themselves they would be two full batches. */
const RUN = 64;
const RUNS = 400;

/** What a run may cost on its way up, alone in its batch: 0.05 for each of its datagrams. */
const PER_RUN: CallCounts = { epoll_wait: 1, recvmmsg: 1, sendmmsg: 1 };

/** What V8 asks for now and then, collecting garbage and talking to other threads: of all of it, per unit. */
const ENGINE: ReadonlySet<string> = new Set([
  'futex',
  'mmap',
  'munmap',
  'madvise',
  'mprotect',
  'getpid',
  'sched_yield',
]);
const ENGINE_CALLS = 1;

interface Scene extends AsyncDisposable {
  readonly client: TestHost;
  readonly weir: WeirProcess;
}

async function scene(): Promise<Scene> {
  const net = await TestNetwork.create();
  const client = await net.host('client');
  const server = await net.host('server');
  await net.link(client, server, { ipv4: ['10.1.0.2/24', '10.1.0.1/24'] });
  await startPeer(server, 'tcp-server', ['--listen', '10.1.0.1:9000', '--mode', 'echo']);
  await startPeer(server, 'udp-server', ['--listen', '10.1.0.1:7000', '--mode', 'silent']);
  const iperf = server.spawn(['iperf3', '-s', '-B', '10.1.0.1', '--forceflush']);
  await iperf.waitFor(/listening/);
  const service = (name: string, port: number, to: string) => ({
    name,
    addresses: ['203.0.113.0/24'],
    ports: [port],
    dialer: { type: 'direct', to },
  });
  const silent = { ...service('silent', 7000, '10.1.0.1:7000'), protocols: ['udp'] };
  const config: ConfigurationDocument = {
    interceptor: 'nft',
    log: { level: 'warn', format: 'json', flows: 'off' },
    services: [service('echo', 80, '10.1.0.1:9000'), service('bulk', 5201, '10.1.0.1:5201'), silent],
  };
  const weir = await WeirProcess.start(client, { config });
  return {
    client,
    weir,
    async [Symbol.asyncDispose]() {
      await weir[Symbol.asyncDispose]();
      await net[Symbol.asyncDispose]();
    },
  };
}

async function pingPong(client: TestHost, count: number, perConnection: number): Promise<void> {
  const script = fileURLToPath(new URL('./peers/ping-pong.ts', import.meta.url));
  const peer = client.spawn([process.execPath, script, '203.0.113.7', '80', String(count), String(perConnection)]);
  await peer.waitFor(/ready/);
  peer.stdin.write('go\n');
  await peer.waitFor(/done/, 60_000);
}

/** Sends runs to a service that never answers, a few milliseconds apart. */
async function sendRuns(client: TestHost, count: number): Promise<void> {
  const script = fileURLToPath(new URL('./peers/run-sender.ts', import.meta.url));
  const args = ['203.0.113.7', '7000', count, RUN].map(String);
  await client.check([process.execPath, '--conditions=source', script, ...args], { timeoutMs: 60_000 });
}

/** The calls that are over their maximum; a call that no table names has the maximum 0. */
function above(counts: CallCounts, maxima: CallCounts): CallCounts {
  const entries = Object.entries(counts);
  const engine = entries.reduce((sum, [name, count]) => (ENGINE.has(name) ? sum + count : sum), 0);
  return Object.fromEntries([
    ...entries.filter(([name, count]) => !ENGINE.has(name) && count > (maxima[name] ?? 0) * (1 + SLACK) + SLACK / 2),
    ...(engine > ENGINE_CALLS ? [['engine', engine] as const] : []),
  ]);
}

describe('counting', () => {
  test('knows threads apart, and an interrupted call from its rest', () => {
    const text = [
      '71 epoll_wait(14,  <unfinished ...>',
      '70 futex(0x7f, FUTEX_WAKE, 1) = 0',
      '71 <... epoll_wait resumed>[], 512, 250) = 0',
      '71 accept4(20, {sa_family=AF_INET}, [16], SOCK_CLOEXEC) = 31',
      '71 splice(3, NULL, 4, NULL, 262144, SPLICE_F_MOVE) = 4096',
      '71 +++ exited with 0 +++',
      '',
    ].join('\n');
    expect([...countCalls(text)]).toEqual([
      [71, { epoll_wait: 1, accept4: 1, splice: 1 }],
      [70, { futex: 1 }],
    ]);
    expect(perUnit({ splice: 7 }, 3)).toEqual({ splice: 2.33 });
    expect(above({ splice: 20, poll: 1, futex: 0.8, sendto: 1 }, PER_MIB)).toEqual({ splice: 20, poll: 1 });
    expect(above({ splice: 9, mmap: 0.4, futex: 0.8 }, PER_MIB)).toEqual({ engine: 1.2000000000000002 });
  });
});

describe.skipIf(requires('namespaces', 'nft', 'strace', 'iperf3'))('system calls of the splice worker', () => {
  test('per flow', { timeout: 120_000 }, async () => {
    await using stage = await scene();
    const calls = await workerCalls(stage.client, stage.weir.process.pid, () => pingPong(stage.client, 200, 1));
    const counts = perUnit(calls, 200);
    expect(counts['accept4']).toBeGreaterThanOrEqual(1);
    expect(above(counts, PER_FLOW)).toEqual({});
  });

  test('per small request on a living connection', { timeout: 120_000 }, async () => {
    await using stage = await scene();
    const calls = await workerCalls(stage.client, stage.weir.process.pid, () => pingPong(stage.client, 1000, 1000));
    const counts = perUnit(calls, 1000);
    expect(counts['recvfrom']).toBeGreaterThanOrEqual(2);
    expect(above(counts, PER_REQUEST)).toEqual({});
  });

  test.each([
    ['up', []],
    ['down', ['-R']],
  ])('per MiB %s', { timeout: 120_000 }, async (_, direction) => {
    await using stage = await scene();
    const { client, weir } = stage;
    // Sendfile, so that the sender is quicker than a worker that is watched.
    const bulk = ['iperf3', '-Z', '-c', '203.0.113.7', '-n', `${MEBIBYTES}M`, ...direction];
    const calls = await workerCalls(client, weir.process.pid, async () => {
      await client.check(bulk, { timeoutMs: 60_000 });
    });
    const counts = perUnit(calls, MEBIBYTES);
    expect(counts['splice']).toBeGreaterThan(2);
    expect(above(counts, PER_MIB)).toEqual({});
  });

  test('per run of datagrams', { timeout: 120_000 }, async () => {
    await using stage = await scene();
    const { client, weir } = stage;
    const runsUp = async () => (await weir.admin.status()).counters['datagramRunsUp'] ?? 0;
    // The first come as datagrams; they make Weir ask for runs.
    await sendRuns(client, 4);
    const before = await runsUp();
    const calls = await workerCalls(client, weir.process.pid, () => sendRuns(client, RUNS), 'recvmmsg');
    const runs = (await runsUp()) - before;
    // But for its first datagram, which opens the session, each goes as it came.
    expect(runs).toBe(RUNS);
    expect(above(perUnit(calls, runs), PER_RUN)).toEqual({});
  });
});
