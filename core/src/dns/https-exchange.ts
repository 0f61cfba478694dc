/** DNS over HTTPS (RFC 8484): POST, HTTP/2 where the server speaks it, else HTTP/1.1; connections are kept. */
import type { Agent } from 'node:http';
import type { ClientHttp2Session } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import { http2Module, httpModule } from '../sys/node-modules.ts';
import { ExchangeError, failureOf, unlessAborted } from './exchange.ts';
import { MAX_MESSAGE_BYTES } from './message.ts';
import { answersQuery } from './upstream-message.ts';

const MEDIA_TYPE = 'application/dns-message';
/** Milliseconds without a query after which a connection is closed. */
const IDLE = 10_000;
const HTTP1_CONNECTIONS = 8;

export interface HttpsServer {
  /** For the Host field: `dns.example`, with the port when it is not 443. */
  readonly authority: string;
  readonly path: string;
  /** A new connection with one of these protocols. */
  readonly connect: (alpn: readonly string[], signal: AbortSignal) => Promise<TLSSocket>;
}

/** What came back, before it is known whether it is an answer. */
interface Reply {
  readonly status: number;
  readonly type: string;
  readonly body: Buffer;
}

const tooLarge = (): ExchangeError => new ExchangeError('error', 'the answer is larger than a DNS message');

export class HttpsClient {
  readonly #server: HttpsServer;
  #session: Promise<ClientHttp2Session | undefined> | undefined;
  readonly #agent: Agent;
  /** Requests of HTTP/1.1 that wait for one of the connections. */
  readonly #waiting: (() => void)[] = [];
  #busy = 0;
  #closed = false;

  constructor(server: HttpsServer) {
    this.#server = server;
    this.#agent = new (httpModule().Agent)({ keepAlive: true, timeout: IDLE });
    // Node's own would open a socket without the mark.
    this.#agent.createConnection = (_options, callback) => {
      const open = async (): Promise<void> => {
        try {
          callback?.(null, await server.connect(['http/1.1'], AbortSignal.timeout(IDLE)));
        } catch (error) {
          callback?.(error as Error, undefined as never);
        }
      };
      void open();
      return undefined;
    };
  }

  /** Sends a query whose id does not matter. @throws ExchangeError. */
  async ask(query: Uint8Array, questionBytes: Buffer, signal: AbortSignal): Promise<Buffer> {
    const outgoing = Buffer.from(query);
    // One id for all, so that caches on the way can serve (RFC 8484 4.1); TLS protects from forgery.
    outgoing.writeUInt16BE(0, 0);
    const session = await this.#open(signal);
    const { status, type, body } =
      session === undefined ? await this.#inTurn(outgoing, signal) : await this.#askHttp2(session, outgoing, signal);
    if (status !== 200) throw new ExchangeError('error', `the upstream answered with HTTP status ${status}`);
    if (type.split(';')[0]?.trim().toLowerCase() !== MEDIA_TYPE) {
      throw new ExchangeError('error', `the upstream answered with ${type || 'no media type'}`);
    }
    if (!answersQuery(body, 0, questionBytes)) throw new ExchangeError('error', 'the upstream answered something else');
    return body;
  }

  close(): void {
    this.#closed = true;
    this.#agent.destroy();
    void this.#session?.then((session) => session?.destroy()).catch(() => undefined);
  }

  /** The session of HTTP/2; undefined where the server speaks HTTP/1.1 only. Who gives up does not end it for others. */
  async #open(signal: AbortSignal): Promise<ClientHttp2Session | undefined> {
    this.#session ??= this.#connect(AbortSignal.timeout(IDLE));
    try {
      const session = await unlessAborted(this.#session, signal);
      if (session === undefined || !(session.closed || session.destroyed)) return session;
    } catch (error) {
      if (!signal.aborted) this.#session = undefined;
      throw error;
    }
    this.#session = undefined;
    return this.#open(signal);
  }

  async #connect(signal: AbortSignal): Promise<ClientHttp2Session | undefined> {
    const socket = await this.#server.connect(['h2', 'http/1.1'], signal);
    if (this.#closed || socket.alpnProtocol !== 'h2') {
      socket.destroy();
      return undefined;
    }
    const session = http2Module().connect(`https://${this.#server.authority}`, { createConnection: () => socket });
    session.setTimeout(IDLE, () => session.close());
    session.on('error', () => session.destroy());
    session.unref();
    return session;
  }

  #askHttp2(session: ClientHttp2Session, query: Buffer, signal: AbortSignal): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const stream = session.request(
        {
          ':method': 'POST',
          ':path': this.#server.path,
          'content-type': MEDIA_TYPE,
          accept: MEDIA_TYPE,
          'content-length': query.length,
        },
        { signal },
      );
      let status = 0;
      let type = '';
      let length = 0;
      const chunks: Buffer[] = [];
      stream.on('response', (headers) => {
        status = headers[':status'] ?? 0;
        type = headers['content-type'] ?? '';
      });
      stream.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        length += chunk.length;
        if (length > MAX_MESSAGE_BYTES) stream.destroy(tooLarge());
      });
      stream.on('error', (error) => reject(given(error, signal)));
      stream.on('close', () => reject(new ExchangeError('error', 'the upstream ended the request')));
      stream.on('end', () => resolve({ status, type, body: Buffer.concat(chunks) }));
      stream.end(query);
    });
  }

  /** An agent with connections that are made asynchronously does not bound their number. */
  async #inTurn(query: Buffer, signal: AbortSignal): Promise<Reply> {
    while (this.#busy >= HTTP1_CONNECTIONS) {
      let next: () => void = () => {};
      const turn = new Promise<void>((resolve) => (next = resolve));
      this.#waiting.push(next);
      try {
        await unlessAborted(turn, signal);
      } catch (error) {
        const place = this.#waiting.indexOf(next);
        if (place >= 0) this.#waiting.splice(place, 1);
        // The turn had come already: it is the next one's.
        else this.#waiting.shift()?.();
        throw error;
      }
    }
    this.#busy++;
    try {
      return await this.#askHttp1(query, signal);
    } finally {
      this.#busy--;
      this.#waiting.shift()?.();
    }
  }

  #askHttp1(query: Buffer, signal: AbortSignal): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const { authority, path } = this.#server;
      const headers = {
        host: authority,
        'content-type': MEDIA_TYPE,
        accept: MEDIA_TYPE,
        'content-length': query.length,
      };
      const request = httpModule().request(
        { agent: this.#agent, method: 'POST', path, headers, signal },
        (response) => {
          const chunks: Buffer[] = [];
          let length = 0;
          response.on('data', (chunk: Buffer) => {
            chunks.push(chunk);
            length += chunk.length;
            if (length > MAX_MESSAGE_BYTES) request.destroy(tooLarge());
          });
          response.on('error', (error) => reject(given(error, signal)));
          response.on('end', () =>
            resolve({
              status: response.statusCode ?? 0,
              type: response.headers['content-type'] ?? '',
              body: Buffer.concat(chunks),
            }),
          );
        },
      );
      request.on('error', (error) => reject(given(error, signal)));
      request.end(query);
    });
  }
}

function given(error: unknown, signal: AbortSignal): ExchangeError {
  if (error instanceof ExchangeError) return error;
  if (signal.aborted) return new ExchangeError('aborted', 'the query was given up', signal.reason);
  return failureOf(error);
}
