/** Threads of plugins: started when they say so, stopped when they are told, and not missed when they die. */
import { describe, expect, test } from 'vitest';
import { runPump } from '../../src/engine/pump.ts';

function module(code: string): URL {
  return new URL(
    `data:text/javascript,${encodeURIComponent(`import { parentPort, workerData } from 'node:worker_threads';${code}`)}`,
  );
}

const never = (error: Error): void => {
  throw error;
};

describe('a pump', () => {
  test('gets its data, and ends when it is told to; a second stop is none', async () => {
    const memory = new SharedArrayBuffer(4);
    const words = new Int32Array(memory);
    const pump = await runPump(
      module(`
        const words = new Int32Array(workerData);
        parentPort.on('message', (message) => {
          if (message === 'stop') parentPort.close();
          else Atomics.add(words, 0, message);
        });
        parentPort.postMessage('ready');`),
      memory,
      never,
    );
    pump.post(7);
    await expect.poll(() => Atomics.load(words, 0)).toBe(7);
    await pump.stop();
    await pump.stop();
  });

  test.each([
    ['cannot be run', 'throw new Error("broken")'],
    ['ends at once', 'process.exit(0)'],
    ['says something else first', 'parentPort.postMessage("hello"); parentPort.on("message", () => {})'],
  ])('that %s is refused, and nothing of it is left', async (_, code) => {
    await expect(runPump(module(code), undefined, never)).rejects.toThrow(/could not be started/);
  });

  test('that dies is told once, with the reason', async () => {
    const died: Error[] = [];
    const pump = await runPump(
      module(`
        parentPort.once('message', () => { throw new Error('out of luck'); });
        parentPort.postMessage('ready');`),
      undefined,
      (error) => died.push(error),
    );
    pump.post('go');
    await expect.poll(() => died.length).toBe(1);
    expect(died[0]?.message).toMatch(/ended by itself \(out of luck\)/);
    await pump.stop();
    expect(died).toHaveLength(1);
  });
});
