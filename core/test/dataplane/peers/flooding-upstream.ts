/** A thread with a UDP server that, once somebody has written to it, sends to them without end and as fast as it can. */
import { createSocket } from 'node:dgram';
import { parentPort, workerData } from 'node:worker_threads';
import { MSG_DONTWAIT } from '../../../src/sys/constants.ts';
import { MessageBatch } from '../../../src/sys/message-batch.ts';

const BATCH = 32;
const { stop } = workerData as { readonly stop: Int32Array };

const batch = new MessageBatch({ messages: BATCH, payload: 64, control: 0 });
for (let n = 0; n < BATCH; n++) batch.setLengths(n, 0, 0);

const socket = createSocket('udp4');
socket.once('message', (_, from) => {
  socket.connect(from.port, from.address, () => {
    const { fd } = (socket as unknown as { readonly _handle: { readonly fd: number } })._handle;
    parentPort?.postMessage('floods');
    while (Atomics.load(stop, 0) === 0) batch.sendFrom(fd, 0, BATCH, MSG_DONTWAIT);
    socket.close();
  });
});
socket.bind(0, '127.0.0.1', () => parentPort?.postMessage(socket.address().port));
