/** What a splice worker that dies hands on: its flows as records of its own, and nothing that its successor could mix up. */
import { expect, test } from 'vitest';
import {
  ACTIVE_AT,
  BYTES_DOWN,
  BYTES_UP,
  F64,
  GENERATION,
  I32,
  RELAYING,
  SERVICE,
  STATE,
  type SlotSnapshot,
} from '../../src/dataplane/flow-slab.ts';
import type { FromWorker } from '../../src/dataplane/messages.ts';
import { ServiceTotals } from '../../src/dataplane/service-totals.ts';
import { WorkerHandle } from '../../src/dataplane/worker-handle.ts';
import { NR_CPUS_RANGE_END } from '../../src/sys/constants.ts';
import * as libc from '../../src/sys/libc.ts';
import { isOpen, openSomething } from './descriptors.ts';

const SETTINGS = {
  index: 0,
  mark: 0,
  limits: { flows: 16, udpSessions: 16, pendingDials: 16, idlePipes: 1 },
  timeouts: { connect: 1000, handshake: 1000, idle: 60_000, halfClosed: 60_000, udpIdle: 60_000 },
  serviceCapacity: 8,
};

test('flows of a dead worker keep their epoch, and their slots their generations', async () => {
  const died = Promise.withResolvers<{ readonly epoch: number; readonly flows: readonly SlotSnapshot[] }>();
  const worker = new WorkerHandle(SETTINGS, {
    message: () => undefined,
    died: ({ epoch }, _error, flows) => died.resolve({ epoch, flows }),
  });
  await worker.start([]);
  const { slab } = worker;
  slab.i32[2 * I32 + GENERATION] = 7;
  slab.i32[2 * I32 + STATE] = RELAYING;
  slab.i32[2 * I32 + SERVICE] = 3;
  slab.f64[2 * F64 + BYTES_UP] = 100;
  slab.f64[2 * F64 + BYTES_DOWN] = 200;
  slab.f64[2 * F64 + ACTIVE_AT] = Date.now();
  slab.i32[1 * I32 + GENERATION] = 5;
  slab.head[0] = 3;
  worker.post({ type: 'crash' });
  const { epoch, flows } = await died.promise;
  expect(epoch).toBe(0);
  expect(flows).toMatchObject([{ slot: 2, generation: 7, outcome: 'worker-died' }]);
  const totals = new ServiceTotals([worker.counters]);
  expect(totals.of(3)).toMatchObject({ active: 0, bytesUp: 100, bytesDown: 200 });
  expect(worker.counters.readTotals().ended).toBe(1);

  await worker.start([]);
  expect(worker.epoch).toBe(1);
  expect([...worker.slab.living()]).toEqual([]);
  expect([0, 1, 2].map((slot) => worker.slab.generation(slot))).toEqual([0, 5, 7]);
  await worker.stop();
});

test('descriptors that it was sent are closed once: by it when it read of them, by control when it did not', async () => {
  let died = Promise.withResolvers<unknown>();
  const worker = new WorkerHandle(SETTINGS, { message: () => undefined, died: () => died.resolve(undefined) });
  const attach = (fd: number): void => worker.post({ type: 'attach', slot: 3, generation: 1, clientFd: fd });
  await worker.start([]);
  const read = openSomething();
  attach(read);
  await expect.poll(() => isOpen(read)).toBe(false);
  // Most likely the same number again, which is no affair of the worker's.
  const others = [openSomething(), openSomething()];
  const [unread, client, upstream, late] = [
    openSomething(),
    openSomething(),
    openSomething(),
    openSomething(),
  ] as const;
  worker.post({ type: 'crash' });
  attach(unread);
  worker.post({ type: 'adopt', slot: 3, generation: 1, clientFd: client, upstreamFd: upstream });
  await died.promise;
  expect([unread, client, upstream].map(isOpen)).toEqual([false, false, false]);
  expect([...others, late].map(isOpen)).toEqual([true, true, true]);
  // Nobody is there to take it.
  attach(late);
  expect(isOpen(late)).toBe(false);

  died = Promise.withResolvers();
  await worker.start([]);
  const next = openSomething();
  worker.post({ type: 'crash' });
  attach(next);
  await died.promise;
  expect(isOpen(next)).toBe(false);
  expect(others.map(isOpen)).toEqual([true, true]);
  for (const fd of others) libc.close(fd);
  await worker.stop();
});

test('a worker whose processor is not there runs on any and says so, and its successor tries again', async () => {
  const said: FromWorker[] = [];
  let died = Promise.withResolvers<unknown>();
  const worker = new WorkerHandle(
    { ...SETTINGS, processor: NR_CPUS_RANGE_END - 1 },
    { message: (_, message) => said.push(message), died: () => died.resolve(undefined) },
  );
  for (const life of [1, 2]) {
    died = Promise.withResolvers();
    await worker.start([]);
    expect(said).toHaveLength(life);
    expect(said.at(-1)).toMatchObject({ type: 'not-placed', reason: expect.stringMatching(/EINVAL.*`lscpu -e`/) });
    expect(worker.processor).toBeUndefined();
    worker.post({ type: 'crash' });
    await died.promise;
  }
  await worker.stop();
});
