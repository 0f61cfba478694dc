/** The entry of a splice worker's thread; see thread-start.ts. */
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { WeirError } from '../api/errors.ts';
import { runOnProcessor } from '../sys/affinity.ts';
import { useOwnModules } from '../sys/own-modules.ts';
import type { FromWorker, WorkerData } from './messages.ts';
import { SpliceWorker } from './splice-worker.ts';

if (parentPort === null) throw new Error('this module runs in a worker thread');
useOwnModules();
const begin = workerData as MessagePort;
const data = await new Promise<WorkerData>((resolve) => begin.once('message', resolve));
begin.close();
if (data.processor !== undefined) {
  try {
    runOnProcessor(data.processor);
  } catch (error) {
    if (!(error instanceof WeirError)) throw error;
    parentPort.postMessage({ type: 'not-placed', reason: error.message } satisfies FromWorker);
  }
}
await new SpliceWorker(data, parentPort).run();
parentPort.close();
