/**
 * Moves bytes between two Node streams: for upstreams that are no plain socket. FIN goes on as FIN, a failure of one side
 * destroys the other. Node's own flow control bounds what is buffered.
 */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { FlowOutcome } from '../api/flow.ts';

export interface StreamRelayOptions {
  /** Milliseconds without a byte either way. */
  readonly idle: number;
  /** Milliseconds without a byte after one side has ended. */
  readonly halfClosed: number;
  readonly signal: AbortSignal;
  /** Called with totals whenever bytes moved. */
  readonly count: (bytesUp: number, bytesDown: number) => void;
}

/** Both streams must allow half-open. Resolves when both have ended; never rejects. */
export function relayStreams(client: Duplex, upstream: Duplex, options: StreamRelayOptions): Promise<FlowOutcome> {
  return new Promise((resolve) => {
    let up = 0;
    let down = 0;
    let over = false;
    let halfClosed = false;
    let timer: NodeJS.Timeout | undefined;
    const finish = (outcome: FlowOutcome): void => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      options.signal.removeEventListener('abort', onAbort);
      if (outcome !== 'closed') {
        resetStream(client);
        resetStream(upstream);
      }
      options.count(up, down);
      resolve(outcome);
    };
    const onAbort = (): void => finish('drained');
    const touch = (): void => {
      clearTimeout(timer);
      const outcome = halfClosed ? 'half-closed-timeout' : 'idle-timeout';
      timer = setTimeout(() => finish(outcome), halfClosed ? options.halfClosed : options.idle);
    };
    const lane = (source: Duplex, sink: Duplex, add: (bytes: number) => void): void => {
      source.on('data', (chunk: Uint8Array) => {
        add(chunk.length);
        touch();
        options.count(up, down);
      });
      source.once('end', () => {
        halfClosed = true;
        touch();
      });
      source.pipe(sink);
    };
    let open = 2;
    for (const [side, outcome] of [
      [client, 'client-reset'],
      [upstream, 'upstream-reset'],
    ] as const) {
      side.once('error', () => finish(outcome));
      side.once('close', () => {
        if (!side.readableEnded || !side.writableFinished) finish(outcome);
        else if (--open === 0) finish('closed');
      });
    }
    lane(client, upstream, (bytes) => (up += bytes));
    lane(upstream, client, (bytes) => (down += bytes));
    touch();
    if (options.signal.aborted) onAbort();
    else options.signal.addEventListener('abort', onAbort);
  });
}

/** RST where the stream is a socket; an error otherwise. */
export function resetStream(stream: Duplex): void {
  if (stream instanceof Socket && stream.connecting === false && !stream.destroyed) stream.resetAndDestroy();
  else stream.destroy();
}
