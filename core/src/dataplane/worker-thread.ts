/** The entry of a splice worker's thread. */
import { parentPort, workerData } from 'node:worker_threads';
import { useOwnModules } from '../sys/own-modules.ts';
import type { WorkerData } from './messages.ts';
import { SpliceWorker } from './splice-worker.ts';

if (parentPort === null) throw new Error('this module runs in a worker thread');
useOwnModules();
await new SpliceWorker(workerData as WorkerData, parentPort).run();
parentPort.close();
