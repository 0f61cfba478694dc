/** The entry of a splice worker's thread; see thread-start.ts. */
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { useOwnModules } from '../sys/own-modules.ts';
import type { WorkerData } from './messages.ts';
import { SpliceWorker } from './splice-worker.ts';

if (parentPort === null) throw new Error('this module runs in a worker thread');
useOwnModules();
const begin = workerData as MessagePort;
const data = await new Promise<WorkerData>((resolve) => begin.once('message', resolve));
begin.close();
await new SpliceWorker(data, parentPort).run();
parentPort.close();
