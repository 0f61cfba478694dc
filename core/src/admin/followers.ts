/** Clients of `/flows/follow`: one JSON line per ended flow, until either side goes away. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FlowRecord } from '../api/flow.ts';
import type { Logger } from '../api/logger.ts';
import type { AdminTarget } from '../engine/report.ts';
import { LIMITS } from './protocol.ts';

interface Follower {
  readonly response: ServerResponse;
  lost: number;
}

export class Followers {
  readonly #target: AdminTarget;
  readonly #log: Logger;
  readonly #followers = new Set<Follower>();
  #unsubscribe: (() => void) | undefined;

  constructor(target: AdminTarget, log: Logger) {
    this.#target = target;
    this.#log = log;
  }

  add(request: IncomingMessage, response: ServerResponse): void {
    if (this.#followers.size >= LIMITS.followers) {
      const failure = { code: 'WEIR_LIMIT', problem: 'Too many clients follow the flows.', remedy: 'End one of them.' };
      response.writeHead(503, { 'content-type': 'application/json' });
      response.end(`${JSON.stringify(failure)}\n`);
      return;
    }
    const follower: Follower = { response, lost: 0 };
    this.#followers.add(follower);
    request.socket.setTimeout(0);
    response.on('close', () => this.#remove(follower));
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    response.flushHeaders();
    // Nobody follows, nobody asks the engine: a record costs something there.
    this.#unsubscribe ??= this.#target.onFlowEnd((record) => this.#publish(record));
  }

  close(): void {
    for (const { response } of this.#followers) response.end();
    this.#stop();
  }

  #publish(record: FlowRecord): void {
    const line = `${JSON.stringify(record)}\n`;
    for (const follower of this.#followers) {
      const { response } = follower;
      if (response.writableLength > LIMITS.followBacklogBytes) {
        if (follower.lost === 0) this.#log.warn({}, 'a client that follows flows is too slow; records are left out');
        follower.lost++;
        continue;
      }
      if (follower.lost > 0) {
        response.write(`${JSON.stringify({ lost: follower.lost })}\n`);
        follower.lost = 0;
      }
      response.write(line);
    }
  }

  #remove(follower: Follower): void {
    this.#followers.delete(follower);
    if (this.#followers.size === 0) this.#stop();
  }

  #stop(): void {
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
  }
}
