/**
 * One TCP socket that takes queries (RFC 7766): several on one connection, answered as they are ready. Connections,
 * queries per connection, unsent answers and idle time are bounded.
 */
import { createServer, type Server, type Socket } from 'node:net';
import type { Endpoint } from '../api/flow.ts';
import { familyOf } from '../capture/address.ts';
import { checked } from '../sys/errno.ts';
import * as libc from '../sys/libc.ts';
import { openSocket, socketName } from '../sys/sockets.ts';
import { listenFailure } from './listen-failure.ts';
import { HEADER_BYTES } from './message.ts';
import { frame, MessageReader } from './stream-framing.ts';

const BACKLOG = 128;
/** Queries of one connection that are being answered at a time; more stay in the kernel's buffer. */
const PIPELINE = 32;
/** Bytes of unsent answers over which a connection is not read any further. */
const UNSENT_BYTES = 256 * 1024;

export interface TcpListenerOptions {
  readonly endpoint: Endpoint;
  readonly mark: number;
  readonly connections: number;
  /** Milliseconds without a whole query or an answer after which a connection is closed. */
  readonly idleMs: number;
  /** Answers `message`, or not; never rejects. */
  readonly respond: (message: Buffer) => Promise<Buffer | undefined> | undefined;
  readonly onConnection: () => void;
  readonly onConnectionLimit: () => void;
  readonly onIdle: () => void;
}

export class TcpListener {
  readonly endpoint: Endpoint;
  readonly #server: Server;
  readonly #options: TcpListenerOptions;
  readonly #connections = new Set<Socket>();

  private constructor(options: TcpListenerOptions, endpoint: Endpoint, server: Server) {
    this.#options = options;
    this.endpoint = endpoint;
    this.#server = server;
    server.maxConnections = options.connections;
    server.on('drop', () => options.onConnectionLimit());
    server.on('connection', (socket) => this.#serve(socket));
  }

  /** Opens the socket and takes connections. @throws WeirError when the endpoint cannot be had. */
  static async open(options: TcpListenerOptions): Promise<TcpListener> {
    const { endpoint, mark } = options;
    const listen = { protocol: 'tcp', endpoint } as const;
    let fd = -1;
    try {
      fd = openSocket({
        family: familyOf(endpoint.address),
        protocol: 'tcp',
        mark,
        reuseAddress: true,
        bind: endpoint,
      });
      // Node listens again on the same socket; here a taken port is still known by its number, and the fd still ours.
      checked(libc.listen(fd, BACKLOG), 'listen()', 'Set resolver.listen to another address.');
    } catch (error) {
      if (fd >= 0) libc.close(fd);
      throw listenFailure(listen, error);
    }
    const server = createServer({ allowHalfOpen: true });
    const listener = new TcpListener(options, socketName(fd), server);
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => reject(listenFailure(listen, error)));
      server.listen({ fd, exclusive: true, backlog: BACKLOG }, () => {
        server.removeAllListeners('error');
        // accept() failing, for want of descriptors: the kernel keeps the connection, Node tries again.
        server.on('error', () => options.onConnectionLimit());
        resolve();
      });
    });
    return listener;
  }

  async close(): Promise<void> {
    for (const socket of this.#connections) socket.destroy();
    if (!this.#server.listening) return;
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #serve(socket: Socket): void {
    this.#options.onConnection();
    this.#connections.add(socket);
    const reader = new MessageReader();
    let answering = 0;
    let ended = false;
    // Not socket.setTimeout: single bytes, sent slowly, would keep a connection for ever.
    const idle = setTimeout(() => {
      this.#options.onIdle();
      socket.destroy();
    }, this.#options.idleMs);

    const take = (): void => {
      while (answering < PIPELINE && socket.writableLength <= UNSENT_BYTES) {
        const message = reader.next();
        if (message === undefined) break;
        if (message.length < HEADER_BYTES) {
          socket.destroy();
          return;
        }
        idle.refresh();
        const response = this.#options.respond(message);
        if (response === undefined) continue;
        answering++;
        void response.then(answered);
      }
      const full = answering >= PIPELINE || socket.writableLength > UNSENT_BYTES;
      if (full) socket.pause();
      else if (socket.isPaused()) socket.resume();
      if (ended && answering === 0 && !full) socket.end();
    };
    const answered = (bytes: Buffer | undefined): void => {
      answering--;
      if (socket.destroyed) return;
      if (bytes !== undefined) socket.write(frame(bytes));
      idle.refresh();
      take();
    };
    socket.on('data', (chunk: Buffer) => {
      reader.push(chunk);
      take();
    });
    socket.on('drain', take);
    // A client may close its side right after the query and still wants the answer.
    socket.on('end', () => {
      ended = true;
      take();
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      clearTimeout(idle);
      this.#connections.delete(socket);
    });
  }
}
