/** Flows in the hands of the stream worker when the splice worker dies that they came by: each still ends with one record. */
import { connect, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import type { FlowRecord } from '../../src/api/flow.ts';
import { buildLookupTable } from '../../src/capture/index.ts';
import type { StreamedFlow } from '../../src/dataplane/data-plane-host.ts';
import { DataPlane } from '../../src/dataplane/data-plane.ts';
import { NameDirectory } from '../../src/dataplane/name-directory.ts';
import { NameTexts } from '../../src/dataplane/name-texts.ts';
import { closeWithReset } from '../../src/sys/sockets.ts';
import { SILENT } from '../../src/testing/index.ts';
import { compile } from '../capture/sets.ts';
import { isOpen, openSomething } from './descriptors.ts';

const SERVICE = 16;
const TIMEOUTS = { connect: 1000, handshake: 1000, idle: 60_000, halfClosed: 60_000, udpIdle: 60_000 };

class Scene {
  readonly ended: FlowRecord[] = [];
  readonly plane: DataPlane;
  #rebound = Promise.withResolvers<unknown>();
  #arrived: (flow: StreamedFlow) => void = () => undefined;
  #port = 0;

  constructor() {
    const nothing = () => undefined;
    const limits = { workers: 1, mark: 0, flowLimit: 64, sessionLimit: 16, pendingDials: 16, services: 1 };
    this.plane = new DataPlane(
      { ...limits, timeouts: TIMEOUTS, log: SILENT },
      {
        resolve: () => Promise.resolve({ addresses: [], expiresAt: 0 }),
        findName: () => Promise.resolve(false),
        canary: nothing,
        ended: (record) => this.ended.push(record),
        rebound: () => this.#rebound.resolve(undefined),
        fatal: (error) => this.#rebound.reject(error),
        stream: (flow) => this.#arrived(flow),
        serviceName: () => 'web',
        nameText: nothing,
        dialerName: () => 'streams',
        interceptorName: () => 'none',
      },
    );
  }

  async start(): Promise<void> {
    const [point] = this.plane.open([
      {
        id: 'tcp4',
        network: { family: 4, protocol: 'tcp' },
        bind: { address: '127.0.0.1', port: 0 },
        transparent: false,
        original: { via: 'fixed', service: SERVICE, target: { host: '127.0.0.1', port: 1 } },
      },
    ]);
    this.#port = point?.port ?? 0;
    await this.plane.start();
    await this.plane.install({
      type: 'table',
      generation: 1,
      lookup: buildLookupTable(compile({ services: [] }), { rows: [] }),
      names: NameDirectory.allocate(16),
      nameTexts: NameTexts.allocate(16),
      serviceNames: [[SERVICE, 'web']],
      dialers: [],
      plans: [[SERVICE, [{ kind: 'stream', dialer: 0 }]]],
      unmatched: [{ kind: 'reset', dialer: 0 }],
      graceMs: 0,
      timeouts: TIMEOUTS,
    });
    this.plane.listen();
  }

  /** A connection, and the flow that it became. */
  async flow(): Promise<{ readonly client: Socket; readonly flow: StreamedFlow }> {
    const arrived = Promise.withResolvers<StreamedFlow>();
    this.#arrived = arrived.resolve;
    const client = connect(this.#port, '127.0.0.1').on('error', () => undefined);
    return { client, flow: await arrived.promise };
  }

  /** Kills the worker; `meanwhile` happens before anybody knows. */
  async crash(meanwhile: () => void): Promise<void> {
    this.#rebound = Promise.withResolvers<unknown>();
    this.plane.crashWorker(0);
    meanwhile();
    await this.#rebound.promise;
  }

  recordsOf({ record }: StreamedFlow): readonly FlowRecord[] {
    return this.ended.filter(({ id }) => id === record.id);
  }
}

test('a stream that outlives its splice worker is seen until it ends, and ends with one record and its bytes', async () => {
  const scene = new Scene();
  await scene.start();
  const [living, givenBack, adoptedInVain, adoptedLate] = [
    await scene.flow(),
    await scene.flow(),
    await scene.flow(),
    await scene.flow(),
  ];
  const resets = [adoptedInVain, adoptedLate].map(
    ({ client }) => new Promise((resolve) => client.once('error', resolve)),
  );
  living.flow.count(10, 20);
  givenBack.flow.count(3, 4);
  const upstreams = [openSomething(), openSomething()] as const;
  await scene.crash(() => {
    closeWithReset(givenBack.flow.fd);
    givenBack.flow.finish('upstream-reset');
    adoptedInVain.flow.adopt(adoptedInVain.flow.fd, upstreams[0], undefined);
  });
  expect(scene.recordsOf(givenBack.flow)).toMatchObject([
    { outcome: 'upstream-reset', bytesUp: 3, bytesDown: 4, relay: 'stream', service: 'web' },
  ]);
  expect(scene.recordsOf(adoptedInVain.flow)).toMatchObject([{ outcome: 'worker-died' }]);
  expect(isOpen(upstreams[0])).toBe(false);

  const ids = [living, adoptedLate].map(({ flow }) => flow.record.id);
  expect(scene.plane.activeFlows).toBe(2);
  expect(scene.plane.flows(10).map(({ id }) => id)).toEqual(ids);
  expect(scene.plane.serviceTotals().of(SERVICE)).toMatchObject({ active: 2, bytesUp: 13, bytesDown: 24 });
  const seen: string[] = [];
  expect(scene.plane.flowsBegun(new Set(ids), (id) => seen.push(id))).toEqual([]);
  expect(seen).toEqual(ids);

  living.flow.count(30, 40);
  closeWithReset(living.flow.fd);
  living.flow.finish('closed');
  adoptedLate.flow.adopt(adoptedLate.flow.fd, upstreams[1], undefined);
  expect(isOpen(upstreams[1])).toBe(false);
  expect(await Promise.all(resets)).toMatchObject([{ code: 'ECONNRESET' }, { code: 'ECONNRESET' }]);
  expect(scene.recordsOf(living.flow)).toMatchObject([{ outcome: 'closed', bytesUp: 30, bytesDown: 40 }]);
  expect(scene.recordsOf(adoptedLate.flow)).toMatchObject([{ outcome: 'worker-died' }]);
  expect(scene.plane.activeFlows).toBe(0);
  expect(scene.plane.serviceTotals().of(SERVICE)).toEqual({ active: 0, total: 4, bytesUp: 33, bytesDown: 44 });
  expect(scene.plane.counters()).toMatchObject({ accepted: 4, ended: 4 });

  // The successor's flows are its own affair, also when it dies with what the dead one's slots were.
  const next = await scene.flow();
  closeWithReset(next.flow.fd);
  next.flow.finish('closed');
  await expect.poll(() => scene.plane.activeFlows).toBe(0);
  await scene.crash(() => undefined);
  expect(scene.recordsOf(next.flow)).toMatchObject([{ outcome: 'closed' }]);
  expect(scene.ended).toHaveLength(5);
  await scene.plane.stop();
});
