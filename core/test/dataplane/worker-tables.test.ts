/** What control says to a worker in quick succession holds in that order, also when the worker hears it at once. */
import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
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
    ],
    1,
    0,
  );
  worker = new WorkerHandle(
    { index: 0, mark: 0, limits: LIMITS, timeouts: TIMEOUTS, serviceCapacity: 8 },
    { message: () => undefined, died: () => undefined },
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
  await ready;
  const connection = once(upstream, 'connection');
  const client = connect({ host: '127.0.0.1', port: points[0]?.port ?? 0 });
  let heard = '';
  client.on('data', (data) => (heard += data.toString()));
  await once(client, 'end');
  const [socket] = (await connection) as [Socket];
  if (!socket.closed) await once(socket, 'close');
  expect(heard).toBe('from the upstream');
});
