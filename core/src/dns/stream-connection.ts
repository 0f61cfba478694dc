/**
 * One connection on which many queries are under way at a time (RFC 7766 6.2.1.1, RFC 7858 3.3): each with an id of its
 * own, answered in any order. It ends when it was idle for a while, or when the upstream ends it.
 */
import { randomInt } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { ExchangeError, failureOf } from './exchange.ts';
import { frame, MessageReader } from './stream-framing.ts';
import { answersQuery } from './upstream-message.ts';

/** Queries under way on one connection. */
export const PIPELINED = 128;
/** Milliseconds without a query after which a connection is closed. */
const IDLE = 10_000;

interface Waiting {
  readonly question: Buffer;
  readonly resolve: (response: Buffer) => void;
  readonly reject: (error: ExchangeError) => void;
}

export class StreamConnection {
  readonly #stream: Duplex;
  readonly #waiting = new Map<number, Waiting>();
  readonly #onMismatch: () => void;
  readonly #idle: NodeJS.Timeout;
  #closed = false;
  /** Answers so far: a connection that had none may never have worked. */
  answers = 0;

  /** @param onClosed called once, when no query can be sent any more */
  constructor(stream: Duplex, onMismatch: () => void, onClosed: () => void) {
    this.#stream = stream;
    this.#onMismatch = onMismatch;
    const reader = new MessageReader();
    const end = (error: ExchangeError): void => {
      if (this.#closed) return;
      this.#closed = true;
      clearTimeout(this.#idle);
      stream.destroy();
      onClosed();
      for (const { reject } of this.#waiting.values()) reject(error);
      this.#waiting.clear();
    };
    this.#idle = setTimeout(() => {
      if (this.#waiting.size > 0) this.#idle.refresh();
      else end(new ExchangeError('error', 'the connection was idle'));
    }, IDLE);
    this.#idle.unref();
    stream.on('error', (error) => end(failureOf(error)));
    stream.on('end', () => end(new ExchangeError('error', 'the upstream closed the connection')));
    stream.on('close', () => end(new ExchangeError('error', 'the connection ended')));
    stream.on('data', (chunk: Buffer) => {
      reader.push(chunk);
      for (let message = reader.next(); message !== undefined; message = reader.next()) this.#take(message);
    });
  }

  get usable(): boolean {
    return !this.#closed && this.#waiting.size < PIPELINED;
  }

  /** Sends a query whose id does not matter. @throws ExchangeError. */
  ask(query: Uint8Array, questionBytes: Buffer, signal: AbortSignal): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      if (!this.usable) {
        reject(new ExchangeError('error', 'the connection takes no more queries'));
        return;
      }
      let id = randomInt(0x1_0000);
      while (this.#waiting.has(id)) id = (id + 1) & 0xffff;
      const abort = (): void => {
        this.#waiting.delete(id);
        reject(new ExchangeError('aborted', 'the query was given up', signal.reason));
      };
      const settle =
        <T>(action: (value: T) => void) =>
        (value: T): void => {
          signal.removeEventListener('abort', abort);
          action(value);
        };
      this.#waiting.set(id, { question: questionBytes, resolve: settle(resolve), reject: settle(reject) });
      signal.addEventListener('abort', abort, { once: true });
      const outgoing = Buffer.from(query);
      outgoing.writeUInt16BE(id, 0);
      this.#idle.refresh();
      this.#stream.write(frame(outgoing));
    });
  }

  close(): void {
    this.#stream.destroy();
  }

  #take(message: Buffer): void {
    const id = message.length >= 2 ? message.readUInt16BE(0) : -1;
    const waiting = this.#waiting.get(id);
    if (waiting === undefined || !answersQuery(message, id, waiting.question)) {
      this.#onMismatch();
      return;
    }
    this.#waiting.delete(id);
    this.answers++;
    this.#idle.refresh();
    // The reader goes on using its buffer.
    waiting.resolve(Buffer.from(message));
  }
}
