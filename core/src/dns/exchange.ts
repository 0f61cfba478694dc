/**
 * One query to one upstream, and its answer. Each query has a socket of its own, so a port that the kernel chose at
 * random, and a random id; a UDP socket is connected, so that the kernel lets only the upstream's datagrams in. What
 * does not match id and question is counted and waited past: a forger gets no second chance by being first.
 */
import { randomInt } from 'node:crypto';
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { Socket as TcpSocket } from 'node:net';
import type { Endpoint, Protocol } from '../api/flow.ts';
import { familyOf } from '../capture/address.ts';
import * as libc from '../sys/libc.ts';
import { openSocket } from '../sys/sockets.ts';
import { frame, MessageReader } from './stream-framing.ts';
import { answersQuery } from './upstream-message.ts';

/**
 * A datagram is sent about this often within the time for an answer. At random moments: a burst that overran the
 * server's queue must not come back as the same burst.
 */
const RESENDS = 3;

/** Why an upstream gave no answer. */
export type ExchangeFailure = 'timeout' | 'refused' | 'error' | 'aborted';

export class ExchangeError extends Error {
  readonly failure: ExchangeFailure;

  constructor(failure: ExchangeFailure, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'ExchangeError';
    this.failure = failure;
  }
}

export interface ExchangeOptions {
  readonly upstream: Endpoint;
  readonly transport: Protocol;
  /** fwmark of the socket; 0 for none. */
  readonly mark: number;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** Called for each response that answers something else. */
  readonly onMismatch: () => void;
}

/** Waits for what others may wait for as well. @throws ExchangeError `aborted` when this one gives up. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(new ExchangeError('aborted', 'the query was given up', signal.reason));
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

/** What a socket's events mean for the exchange. */
interface Conversation {
  readonly query: Buffer;
  readonly isAnswer: (response: Buffer) => boolean;
  readonly succeed: (response: Buffer) => void;
  readonly fail: (error: unknown) => void;
}

/** What went wrong with a socket, as an upstream's failure. */
export function failureOf(error: unknown): ExchangeError {
  const code = (error as { code?: unknown }).code;
  const text = error instanceof Error ? error.message : String(error);
  return new ExchangeError(code === 'ECONNREFUSED' ? 'refused' : 'error', text, error);
}

function talkUdp(options: ExchangeOptions, talk: Conversation): () => void {
  const { address, port } = options.upstream;
  const family = familyOf(address);
  const fd = openSocket({ family, protocol: 'udp', mark: options.mark });
  const socket: UdpSocket = createSocket({ type: family === 4 ? 'udp4' : 'udp6' });
  socket.on('error', talk.fail);
  socket.on('message', (message) => {
    if (talk.isAnswer(message)) talk.succeed(message);
    else options.onMismatch();
  });
  try {
    socket.bind({ fd, exclusive: true });
  } catch (error) {
    libc.close(fd);
    socket.close();
    throw error;
  }
  let resend: NodeJS.Timeout | undefined;
  let open = true;
  const send = (): void => {
    if (!open) return;
    socket.send(talk.query, (error) => error && talk.fail(error));
    resend = setTimeout(send, (options.timeoutMs / RESENDS) * (0.5 + Math.random()));
  };
  // Node calls back with the error (no route, not permitted), which its types do not say.
  socket.connect(port, address, (error?: unknown) => (error ? talk.fail(error) : send()));
  return () => {
    open = false;
    clearTimeout(resend);
    socket.close();
  };
}

function talkTcp(options: ExchangeOptions, talk: Conversation): () => void {
  const { address, port } = options.upstream;
  const fd = openSocket({ family: familyOf(address), protocol: 'tcp', mark: options.mark });
  const socket = new TcpSocket({ fd });
  const reader = new MessageReader();
  socket.on('error', talk.fail);
  socket.on('end', () => talk.fail(new Error('the upstream closed the connection without an answer')));
  socket.on('data', (chunk: Buffer) => {
    reader.push(chunk);
    for (let message = reader.next(); message !== undefined; message = reader.next()) {
      if (talk.isAnswer(message)) {
        talk.succeed(message);
        return;
      }
      options.onMismatch();
    }
  });
  socket.connect({ host: address, port }, () => socket.write(frame(talk.query)));
  return () => socket.destroy();
}

/**
 * Sends `query` (whose id does not matter) and waits for its answer.
 * @param questionBytes name, type and class of the query.
 * @returns the response as it came, under the id it was asked with.
 * @throws ExchangeError; the socket is closed in every case.
 */
export function exchange(query: Uint8Array, questionBytes: Buffer, options: ExchangeOptions): Promise<Buffer> {
  const { signal } = options;
  const aborted = (): ExchangeError => new ExchangeError('aborted', 'the query was given up', signal.reason);
  if (signal.aborted) return Promise.reject(aborted());
  return new Promise((resolve, reject) => {
    const id = randomInt(0x1_0000);
    const outgoing = Buffer.from(query);
    outgoing.writeUInt16BE(id, 0);
    let close: (() => void) | undefined;
    let settled = false;
    const settle = (action: () => void): void => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
      close?.();
      action();
    };
    const fail = (error: ExchangeError): void => settle(() => reject(error));
    const abort = (): void => fail(aborted());
    const timer = setTimeout(
      () => fail(new ExchangeError('timeout', `no answer within ${options.timeoutMs} ms`)),
      options.timeoutMs,
    );
    signal.addEventListener('abort', abort);
    const talk: Conversation = {
      query: outgoing,
      isAnswer: (response) => answersQuery(response, id, questionBytes),
      succeed: (response) => settle(() => resolve(response)),
      fail: (error) => fail(failureOf(error)),
    };
    try {
      close = options.transport === 'udp' ? talkUdp(options, talk) : talkTcp(options, talk);
      // A synchronous failure settled before there was anything to close.
      if (settled) close();
    } catch (error) {
      talk.fail(error);
    }
  });
}
