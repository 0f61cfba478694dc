/** A worker by itself: tables and plans in the order in which control said them, and flows that wait for others or flood. */
import { createSocket } from 'node:dgram';
import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { BoundPoint } from '../../src/api/point.ts';
import { buildLookupTable } from '../../src/capture/index.ts';
import { closePoints, openPoints } from '../../src/dataplane/listeners.ts';
import type { TableMessage } from '../../src/dataplane/messages.ts';
import { NameDirectory } from '../../src/dataplane/name-directory.ts';
import { NameTexts } from '../../src/dataplane/name-texts.ts';
import { pointsOf, WorkerHandle } from '../../src/dataplane/worker-handle.ts';

const SERVICE = 3;
const TIMEOUTS = { connect: 5000, handshake: 1000, idle: 60_000, halfClosed: 60_000, udpIdle: 60_000 };
const LIMITS = { flows: 16, udpSessions: 16, pendingDials: 16, idlePipes: 1 };
const SET = { generation: 1, rows: [], scopes: {}, owners: [], canaries: [] };

function table(plans: TableMessage['plans']): TableMessage {
  return {
    type: 'table',
    generation: 1,
    lookup: buildLookupTable(SET as never, { rows: [] }),
    names: NameDirectory.allocate(1),
    nameTexts: NameTexts.allocate(1),
    serviceNames: [[SERVICE, 'web']],
    dialers: [],
    plans,
    unmatched: [{ kind: 'reset', dialer: 0 }],
    graceMs: 0,
    timeouts: TIMEOUTS,
  };
}

let upstream: Server;
let points: readonly BoundPoint[] = [];
let worker: WorkerHandle;
let installed: PromiseWithResolvers<void>;

beforeEach(async () => {
  upstream = createServer((socket) => socket.end('from the upstream')).listen(0, '127.0.0.1');
  await once(upstream, 'listening');
  points = openPoints(
    [
      {
        id: 'web',
        network: { family: 4, protocol: 'tcp' },
        bind: { address: '127.0.0.1', port: 0 },
        transparent: false,
        original: { via: 'fixed', service: SERVICE, target: { host: '127.0.0.1', port: 1 } },
      },
      {
        id: 'names',
        network: { family: 4, protocol: 'udp' },
        bind: { address: '127.0.0.1', port: 0 },
        transparent: false,
        original: { via: 'fixed', service: SERVICE, target: { host: '127.0.0.1', port: 1 } },
      },
    ],
    1,
    0,
  );
  installed = Promise.withResolvers();
  worker = new WorkerHandle(
    { index: 0, mark: 0, limits: LIMITS, timeouts: TIMEOUTS, serviceCapacity: 8 },
    { message: (_, { type }) => type === 'table-installed' && installed.resolve(), died: () => undefined },
  );
});
afterEach(async () => {
  await worker.stop();
  closePoints(points);
  upstream.close();
});

test('a plan that follows a table is not undone by it', async () => {
  const ready = worker.start(pointsOf(points, new Map(), 0));
  // Before the thread runs, so that it reads both in one turn.
  worker.post(table([[SERVICE, [{ kind: 'reset', dialer: 0 }]]]));
  const { port } = upstream.address() as AddressInfo;
  worker.post({ type: 'plan', service: SERVICE, steps: [{ kind: 'route', dialer: 0, host: '127.0.0.1', port }] });
  await Promise.all([ready, installed.promise]);
  const connection = once(upstream, 'connection');
  const client = connect({ host: '127.0.0.1', port: points[0]?.port ?? 0 });
  let heard = '';
  client.on('data', (data) => (heard += data.toString()));
  await once(client, 'end');
  const [socket] = (await connection) as [Socket];
  if (!socket.closed) await once(socket, 'close');
  expect(heard).toBe('from the upstream');
});

test('datagrams that waited for an upstream in vain are counted', async () => {
  await worker.start(pointsOf(points, new Map(), 0));
  const route = { kind: 'route', dialer: 0, host: 'nobody-answers.internal' } as const;
  worker.post({ ...table([[SERVICE, [route]]]), timeouts: { ...TIMEOUTS, connect: 300 } });
  await installed.promise;
  const client = createSocket('udp4');
  client.connect(points[1]?.port ?? 0, '127.0.0.1');
  await once(client, 'connect');
  for (const text of ['one', 'two', 'three']) client.send(text);
  const { counters } = worker;
  await expect.poll(() => counters.readTotals(), { timeout: 10_000 }).toMatchObject({ ended: 1, dialUnresolved: 1 });
  expect(counters.readTotals()).toMatchObject({ datagramsUp: 0, datagramsDropped: 3 });
  client.close();
});

test('an upstream that never falls silent leaves the worker to others', async () => {
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const flood = new Worker(new URL('./peers/flooding-upstream.ts', import.meta.url), { workerData: { stop } });
  const [port] = (await once(flood, 'message')) as [number];
  // The same port, so that one service has both.
  const quiet = createServer((socket) => socket.end('from the other')).listen(port, '127.0.0.1');
  await once(quiet, 'listening');
  await worker.start(pointsOf(points, new Map(), 0));
  worker.post(table([[SERVICE, [{ kind: 'route', dialer: 0, host: '127.0.0.1', port }]]]));
  await installed.promise;
  const asker = createSocket('udp4');
  try {
    asker.send('begin', points[1]?.port ?? 0, '127.0.0.1');
    expect(await once(flood, 'message')).toEqual(['floods']);
    for (let round = 0; round < 5; round++) {
      const client = connect({ host: '127.0.0.1', port: points[0]?.port ?? 0 });
      const [data] = (await once(client, 'data', { signal: AbortSignal.timeout(5000) })) as [Buffer];
      expect(data.toString()).toBe('from the other');
      client.destroy();
    }
    expect(worker.counters.readTotals()['datagramsDown']).toBeGreaterThan(1000);
  } finally {
    Atomics.store(stop, 0, 1);
    asker.close();
    quiet.close();
    await once(flood, 'exit');
  }
});
