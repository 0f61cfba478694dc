/** The module that a pump's thread runs. */
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { PumpLoop, type PumpData } from './pump.ts';

new PumpLoop(workerData as PumpData, parentPort as MessagePort).run();
