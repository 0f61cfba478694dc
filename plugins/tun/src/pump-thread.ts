/** The module that a pump's thread runs. */
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { PumpLoop, type PumpData } from './pump.ts';

const port = parentPort as MessagePort;
const loop = new PumpLoop(workerData as PumpData, port);
port.postMessage('ready');
loop.run();
