/**
 * Threads of splice workers, started in two steps: Node's part of a thread and the modules in it take a tenth of a second, and
 * need nothing of what the thread is for. A command that knows that it will need one has it started while it reads the rest.
 */
import { MessageChannel, Worker, type MessagePort } from 'node:worker_threads';
import type { WorkerData } from './messages.ts';

const ENTRY = new URL(`./worker-thread.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url);

interface Waiting {
  readonly thread: Worker;
  /** Where it gets its {@link WorkerData} from. Its `parentPort` is left alone, so that no message is taken too early. */
  readonly begin: MessagePort;
}

let waiting: Waiting | undefined;

function create(index: number): Waiting {
  const { port1, port2 } = new MessageChannel();
  const thread = new Worker(ENTRY, { name: `weir-splice-${index}`, workerData: port2, transferList: [port2] });
  port1.unref();
  return { thread, begin: port1 };
}

/** Starts the thread of the first worker. It does not keep the process alive before {@link startThread} takes it. */
export function prepareThread(): void {
  if (waiting !== undefined) return;
  const { thread, begin } = create(0);
  thread.unref();
  waiting = { thread, begin };
  const forget = (): void => {
    if (waiting?.thread === thread) waiting = undefined;
  };
  // One that fails here fails again where somebody waits for it.
  thread.once('error', forget).once('exit', forget);
}

/** The thread of the worker with this index, at work with `data`. */
export function startThread(index: number, data: WorkerData): Worker {
  const prepared = index === 0 ? waiting : undefined;
  if (prepared !== undefined) waiting = undefined;
  const { thread, begin } = prepared ?? create(index);
  thread.removeAllListeners().ref();
  begin.postMessage(data);
  begin.close();
  return thread;
}
