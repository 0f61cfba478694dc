/**
 * The entry of the stream worker's thread: an ordinary Node event loop that dials by StreamDialers and relays with Node
 * streams. One thread; started when the first flow needs it.
 */
import { Socket } from 'node:net';
import { parentPort } from 'node:worker_threads';
import type { DialerContext, DialTarget, StreamDialer } from '../api/dialer.ts';
import type { FlowOutcome } from '../api/flow.ts';
import type { Logger } from '../api/logger.ts';
import { useOwnModules } from '../sys/own-modules.ts';
import { closeWithReset } from '../sys/sockets.ts';
import { faultText, isDialError, outcomeOfDialError } from './handshaking.ts';
import { relayStreams } from './stream-relay.ts';

/** A flow for this thread. The descriptor becomes its own. */
export interface StreamFlowMessage {
  readonly type: 'flow';
  readonly id: number;
  readonly fd: number;
  readonly target: DialTarget;
  readonly dialer: {
    readonly name: string;
    readonly module: string;
    readonly options: unknown;
    readonly bypassMark: number;
  };
  /** Milliseconds. */
  readonly timeouts: { readonly connect: number; readonly idle: number; readonly halfClosed: number };
}

export type ToStreamThread = StreamFlowMessage | { readonly type: 'close' };

export type FromStreamThread =
  | { readonly type: 'count'; readonly id: number; readonly bytesUp: number; readonly bytesDown: number }
  | {
      readonly type: 'adopt';
      readonly id: number;
      readonly clientFd: number;
      readonly upstreamFd: number;
      readonly early?: Uint8Array;
    }
  | {
      readonly type: 'ended';
      readonly id: number;
      readonly outcome: FlowOutcome;
      readonly reason?: string;
      /** The dialer threw what is no DialError. */
      readonly isFault?: boolean;
    }
  | { readonly type: 'closed' };

/** Counts are told this often at most. Milliseconds. */
const COUNT_INTERVAL = 100;

const port = parentPort as NonNullable<typeof parentPort>;
useOwnModules();
const post = (message: FromStreamThread): void => port.postMessage(message);
const closing = new AbortController();
const dialers = new Map<string, Promise<StreamDialer>>();
const flows = new Set<Promise<void>>();

/** Dialers in this thread log nothing: what goes wrong is told as the reason of the flow's end. */
const silent: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silent,
};

async function dialerOf({ name, module, options, bypassMark }: StreamFlowMessage['dialer']): Promise<StreamDialer> {
  const { dialer } = (await import(module)) as {
    dialer: { create(options: unknown, context: DialerContext): StreamDialer };
  };
  return dialer.create(options, { name, log: silent, bypassMark });
}

function outcomeOf(error: unknown): FlowOutcome {
  return error instanceof Error && error.name === 'TimeoutError' ? 'dial-timeout' : outcomeOfDialError(error);
}

async function carry(flow: StreamFlowMessage): Promise<void> {
  const { id, fd, target, timeouts } = flow;
  let dialed: Awaited<ReturnType<StreamDialer['dial']>>;
  try {
    const key = JSON.stringify(flow.dialer);
    let dialer = dialers.get(key);
    if (dialer === undefined) {
      dialer = dialerOf(flow.dialer);
      dialers.set(key, dialer);
    }
    const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(timeouts.connect)]);
    dialed = await (await dialer).dial(target, { signal });
  } catch (error) {
    closeWithReset(fd);
    const outcome = closing.signal.aborted ? 'drained' : outcomeOf(error);
    const isFault = outcome === 'dial-error' && !isDialError(error);
    const reason = error instanceof Error && !isFault ? error.message : faultText(error);
    post({ type: 'ended', id, outcome, reason, isFault });
    return;
  }
  if ('socket' in dialed) {
    const { socket, early } = dialed;
    post({ type: 'adopt', id, clientFd: fd, upstreamFd: socket.fd, ...(early === undefined ? {} : { early }) });
    return;
  }
  const client = new Socket({ fd, allowHalfOpen: true, readable: true, writable: true });
  client.setNoDelay(true);
  let told = 0;
  const outcome = await relayStreams(client, dialed.stream, {
    ...timeouts,
    signal: closing.signal,
    count: (bytesUp, bytesDown) => {
      const now = Date.now();
      if (now - told < COUNT_INTERVAL) return;
      told = now;
      post({ type: 'count', id, bytesUp, bytesDown });
    },
  });
  post({ type: 'count', id, bytesUp: client.bytesRead, bytesDown: client.bytesWritten });
  post({ type: 'ended', id, outcome });
}

port.on('message', (message: ToStreamThread) => {
  if (message.type === 'flow') {
    const flow = carry(message);
    flows.add(flow);
    void flow.finally(() => flows.delete(flow));
    return;
  }
  closing.abort();
  void Promise.allSettled(flows)
    .then(async () => {
      for (const dialer of dialers.values()) await (await dialer).close();
    })
    .catch(() => undefined)
    .finally(() => {
      post({ type: 'closed' });
      port.close();
    });
});
