/** Clients of a stream: one JSON line for each thing that happens, until either side goes away. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from '../api/logger.ts';
import { LIMITS } from './protocol.ts';

interface Follower {
  readonly response: ServerResponse;
  lost: number;
}

export class Followers {
  readonly #subscribe: (listener: (line: string) => void) => () => void;
  readonly #what: string;
  readonly #log: Logger;
  readonly #followers = new Set<Follower>();
  #unsubscribe: (() => void) | undefined;

  /**
   * @param what what is followed, in the plural: `flows`
   * @param subscribe gives lines of JSON without newlines; asked when the first follower comes, undone after the last
   */
  constructor(what: string, subscribe: (listener: (line: string) => void) => () => void, log: Logger) {
    this.#what = what;
    this.#subscribe = subscribe;
    this.#log = log;
  }

  /** @param first lines that this follower gets before all others */
  add(request: IncomingMessage, response: ServerResponse, first: readonly string[] = []): void {
    if (this.#followers.size >= LIMITS.followers) {
      const problem = `Too many clients follow the ${this.#what}.`;
      const failure = { code: 'WEIR_LIMIT', problem, remedy: 'End one of them.' };
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
    for (const line of first) response.write(`${line}\n`);
    this.#unsubscribe ??= this.#subscribe((line) => this.#publish(line));
  }

  close(): void {
    for (const { response } of this.#followers) response.end();
    this.#stop();
  }

  #publish(line: string): void {
    for (const follower of this.#followers) {
      const { response } = follower;
      if (response.writableLength > LIMITS.followBacklogBytes) {
        // Counted first: where the log is followed, this line comes here too.
        if (follower.lost++ === 0) {
          this.#log.warn({}, `a client that follows the ${this.#what} is too slow; some are left out`);
        }
        continue;
      }
      if (follower.lost > 0) {
        response.write(`${JSON.stringify({ lost: follower.lost })}\n`);
        follower.lost = 0;
      }
      response.write(`${line}\n`);
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
