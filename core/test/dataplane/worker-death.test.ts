/** What a splice worker that dies hands on: its flows as records of its own, and nothing that its successor could mix up. */
import { expect, test } from 'vitest';
import { ACTIVE_AT, F64, GENERATION, I32, RELAYING, STATE, type SlotSnapshot } from '../../src/dataplane/flow-slab.ts';
import { WorkerHandle } from '../../src/dataplane/worker-handle.ts';

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
  slab.f64[2 * F64 + ACTIVE_AT] = Date.now();
  slab.i32[1 * I32 + GENERATION] = 5;
  slab.head[0] = 3;
  worker.post({ type: 'crash' });
  const { epoch, flows } = await died.promise;
  expect(epoch).toBe(0);
  expect(flows).toMatchObject([{ slot: 2, generation: 7, outcome: 'worker-died' }]);

  await worker.start([]);
  expect(worker.epoch).toBe(1);
  expect([...worker.slab.living()]).toEqual([]);
  expect([0, 1, 2].map((slot) => worker.slab.generation(slot))).toEqual([0, 5, 7]);
  await worker.stop();
});
