/** What still arrives in a drain of a mechanism that cannot tell new flows from living ones. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { expect, test } from 'vitest';
import { createNatTable, NAT_HEAD, NAT_ENTRY, NAT_ORIGINAL, NAT_ORIGINAL_PORT } from '../../src/api/nat-table.ts';
import { addressToBytes } from '../../src/capture/address.ts';
import { buildLookupTable } from '../../src/capture/index.ts';
import { DataPlane } from '../../src/dataplane/data-plane.ts';
import { NameDirectory } from '../../src/dataplane/name-directory.ts';
import { NameTexts } from '../../src/dataplane/name-texts.ts';
import { SILENT } from '../../src/testing/index.ts';
import { compile, service } from '../capture/sets.ts';

const LOOPBACK = addressToBytes('127.0.0.1');
const TIMEOUTS = { connect: 1000, handshake: 1000, idle: 60_000, halfClosed: 60_000, udpIdle: 60_000 };
const PORTS = 1024;

/** Every flow meant to go to `port` of the loopback address. */
function tableTo(port: number): SharedArrayBuffer {
  const block = { family: 4, firstAddress: LOOPBACK, addresses: 1, firstPort: PORTS, ports: 65_536 - PORTS } as const;
  const table = createNatTable(block);
  const words = new Int32Array(table);
  const bytes = new Uint8Array(table);
  for (let entry = NAT_HEAD; entry < words.length; entry += NAT_ENTRY) {
    bytes.set(LOOPBACK, 4 * entry);
    bytes.set(LOOPBACK, 4 * (entry + NAT_ORIGINAL));
    words[entry + NAT_ORIGINAL_PORT] = port;
  }
  return table;
}

/** What a client of `port` is told: a word, or the code of its error. */
async function told(port: number): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  try {
    const [data] = (await once(socket, 'data')) as [Buffer];
    return data.toString();
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code);
  } finally {
    socket.destroy();
  }
}

test('it goes where it meant to go, also when a worker was replaced meanwhile', async () => {
  const real = createServer((socket) => socket.end('the real host')).listen(0, '127.0.0.1');
  await once(real, 'listening');
  const { port } = real.address() as AddressInfo;
  const rebound = Promise.withResolvers<unknown>();
  const nothing = () => undefined;
  const plane = new DataPlane(
    {
      workers: 1,
      mark: 0,
      flowLimit: 64,
      sessionLimit: 16,
      pendingDials: 16,
      services: 1,
      timeouts: TIMEOUTS,
      log: SILENT,
    },
    {
      resolve: () => Promise.resolve({ addresses: [], expiresAt: 0 }),
      findName: () => Promise.resolve(false),
      canary: nothing,
      ended: nothing,
      rebound: rebound.resolve,
      fatal: rebound.reject,
      stream: nothing,
      serviceName: nothing,
      nameText: nothing,
      dialerName: nothing,
      interceptorName: () => 'none',
    },
  );
  const set = compile({ services: [service({ prefixes: ['127.0.0.1/32'], ports: [port] })] });
  const [point] = plane.open([
    {
      id: 'tcp4',
      network: { family: 4, protocol: 'tcp' },
      bind: { address: '127.0.0.1', port: 0 },
      transparent: false,
      original: { via: 'nat-table', table: tableTo(port) },
    },
  ]);
  await plane.start();
  await plane.install({
    type: 'table',
    generation: 1,
    lookup: buildLookupTable(set, { rows: [] }),
    names: NameDirectory.allocate(16),
    nameTexts: NameTexts.allocate(16),
    serviceNames: [],
    dialers: [],
    plans: [[16, [{ kind: 'reset', dialer: 0 }]]],
    unmatched: [{ kind: 'reset', dialer: 0 }],
    graceMs: 0,
    timeouts: TIMEOUTS,
  });
  plane.listen();
  expect(await told(point?.port ?? 0)).toBe('ECONNRESET');
  plane.drain(true);
  await expect.poll(() => told(point?.port ?? 0)).toBe('the real host');
  plane.crashWorker(0);
  await rebound.promise;
  expect(await told(point?.port ?? 0)).toBe('the real host');
  await plane.stop();
  plane.closePoints();
  real.close();
});
