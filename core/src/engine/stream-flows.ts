/** Flows whose dialer needs Node streams: control's side of the stream worker, which is started for the first of them. */
import { Worker } from 'node:worker_threads';
import type { Logger } from '../api/logger.ts';
import { DialerFaults } from '../dataplane/dialer-faults.ts';
import type { StreamedFlow } from '../dataplane/data-plane-host.ts';
import type { WorkerTimeouts } from '../dataplane/messages.ts';
import type { FromStreamThread, ToStreamThread } from '../dataplane/stream-thread.ts';
import { closeWithReset } from '../sys/sockets.ts';
import type { DialPlans } from './dial-plans.ts';

const THREAD = new URL(`../dataplane/stream-thread.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url);

export class StreamFlows {
  readonly #plans: DialPlans;
  readonly #timeouts: () => WorkerTimeouts;
  readonly #log: Logger;
  readonly #faults: DialerFaults;
  readonly #flows = new Map<number, StreamedFlow>();
  #thread: Worker | undefined;
  #next = 1;
  #closed: (() => void) | undefined;

  constructor(plans: DialPlans, timeouts: () => WorkerTimeouts, log: Logger) {
    this.#plans = plans;
    this.#timeouts = timeouts;
    this.#log = log;
    this.#faults = new DialerFaults(log);
  }

  take(flow: StreamedFlow): void {
    const dialer = this.#plans.streamDialer(flow.dialer);
    if (dialer === undefined || this.#closed !== undefined) {
      closeWithReset(flow.fd);
      flow.finish('dial-error');
      return;
    }
    const { record } = flow;
    const id = this.#next++;
    this.#flows.set(id, flow);
    flow.count(0, 0);
    this.#post({
      type: 'flow',
      id,
      fd: flow.fd,
      target: {
        host: flow.target?.host ?? record.name ?? record.original.address,
        port: flow.target?.port ?? record.original.port,
        protocol: record.protocol,
        original: record.original,
        source: record.source,
        service: record.service ?? '',
        flow: record.id,
      },
      dialer: { ...dialer, module: dialer.module.href },
      timeouts: this.#timeouts(),
    });
  }

  /** Ends all flows with RST, the dialers, and the thread. */
  async close(): Promise<void> {
    const thread = this.#thread;
    if (thread === undefined) return;
    const gone = new Promise<void>((resolve) => thread.once('exit', () => resolve()));
    this.#closed = () => undefined;
    this.#post({ type: 'close' });
    await gone;
  }

  #post(message: ToStreamThread): void {
    this.#thread ??= this.#start();
    this.#thread.postMessage(message);
  }

  #start(): Worker {
    const thread = new Worker(THREAD, { name: 'weir-stream' });
    thread.on('message', (message: FromStreamThread) => this.#message(message));
    thread.on('error', (error: unknown) => {
      const reason = error instanceof Error ? error.message : String(error);
      this.#log.error({ flows: this.#flows.size, reason }, 'the stream worker died; its flows are cut');
    });
    thread.on('exit', () => {
      // Sockets that a thread had adopted are closed with its event loop.
      for (const flow of this.#flows.values()) flow.finish('worker-died');
      this.#flows.clear();
      this.#thread = undefined;
    });
    return thread;
  }

  #message(message: FromStreamThread): void {
    if (message.type === 'closed') return;
    const flow = this.#flows.get(message.id);
    if (flow === undefined) return;
    if (message.type === 'count') {
      flow.count(message.bytesUp, message.bytesDown);
      return;
    }
    this.#flows.delete(message.id);
    if (message.type === 'adopt') flow.adopt(message.clientFd, message.upstreamFd, message.early);
    else {
      const { reason, isFault } = message;
      if (reason !== undefined) this.#log.debug({ flow: flow.record.id, reason }, 'dial failed');
      if (reason !== undefined && isFault === true) this.#faults.report(this.#plans.nameOf(flow.dialer), reason);
      flow.finish(message.outcome);
    }
  }
}
