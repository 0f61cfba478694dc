/**
 * The admin socket of a running instance. Whoever may connect may drain and reload, so the socket is the owner's alone
 * (mode 0600) and there is no other protection.
 */
import { chmod, lstat, unlink } from 'node:fs/promises';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { isMainThread } from 'node:worker_threads';
import { AlreadyRunningError, ConfigurationError, HostChangeError, UsageError, WeirError } from '../api/errors.ts';
import type { Logger } from '../api/logger.ts';
import type { AdminTarget } from '../engine/report.ts';
import { LogHistory } from '../observe/log-history.ts';
import { isAdjustable, LOG_LEVELS, type LogLevel } from '../observe/logger.ts';
import { metricsText } from '../observe/metrics.ts';
import { httpModule } from '../sys/node-modules.ts';
import { Followers } from './followers.ts';
import { type AdminFailure, DEFAULT_FLOWS, LIMITS, MAX_FLOWS, MAX_SOCKET_PATH } from './protocol.ts';

export interface AdminServer {
  readonly path: string;
  /** Ends all connections and removes the socket. Idempotent. */
  close(): Promise<void>;
}

function send(response: ServerResponse, status: number, body: unknown): void {
  const text = `${JSON.stringify(body)}\n`;
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

function failureOf(error: unknown): AdminFailure {
  if (error instanceof WeirError) {
    const { code, problem, remedy } = error;
    return { code, problem, remedy, ...(error instanceof ConfigurationError ? { faults: error.faults } : {}) };
  }
  const problem = `Unexpected: ${error instanceof Error ? error.message : String(error)}.`;
  return { code: 'WEIR_UNKNOWN', problem, remedy: 'Look at the log of the running instance.' };
}

function usage(problem: string, remedy: string): UsageError {
  return new UsageError({ problem, remedy });
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > LIMITS.bodyBytes) throw usage('The body is too large.', 'Send at most 16 KiB.');
    chunks.push(chunk);
  }
  if (size === 0) return {};
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown;
  } catch {
    throw usage('The body is no JSON.', 'Send a JSON object.');
  }
}

function limitOf(url: URL): number {
  const text = url.searchParams.get('limit');
  if (text === null) return DEFAULT_FLOWS;
  const limit = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (limit < 1 || limit > MAX_FLOWS) throw usage(`The limit "${text}" is out of range.`, `Ask for 1 to ${MAX_FLOWS}.`);
  return limit;
}

type Endpoint = (request: IncomingMessage, response: ServerResponse, url: URL) => void | Promise<void>;

interface Streams {
  readonly flows: Followers;
  readonly lines: Followers;
}

/** @throws UsageError for a logger that an embedder made itself. */
function historyOf(log: Logger): LogHistory {
  if ('history' in log && log.history instanceof LogHistory) return log.history;
  throw usage("This instance's logger keeps no lines.", 'Look where its program writes its log.');
}

function endpoints(target: AdminTarget, log: Logger, streams: Streams): ReadonlyMap<string, Endpoint> {
  const get = (produce: (url: URL) => unknown): Endpoint => {
    return (_request, response, url) => send(response, 200, produce(url));
  };
  return new Map<string, Endpoint>([
    ['GET /status', get(() => target.status())],
    ['GET /services', get(() => target.status().services)],
    ['GET /names', get((url) => target.names(limitOf(url)))],
    [
      'GET /query',
      async (_request, response, url) => {
        const [name, type] = [url.searchParams.get('name') ?? '', url.searchParams.get('type') ?? 'A'];
        send(response, 200, await target.query(name, type));
      },
    ],
    ['GET /flows', get((url) => target.flows(limitOf(url)))],
    ['GET /recent', get((url) => target.recentFlows(limitOf(url)))],
    ['GET /flows/follow', (request, response) => streams.flows.add(request, response)],
    [
      'GET /logs',
      get((url) =>
        historyOf(log)
          .last(limitOf(url))
          .map((line) => JSON.parse(line) as unknown),
      ),
    ],
    [
      'GET /logs/follow',
      (request, response, url) => streams.lines.add(request, response, historyOf(log).last(limitOf(url))),
    ],
    [
      'GET /ready',
      (_request, response) => {
        const { state, selection } = target.status();
        const ready = state === 'running';
        send(response, ready ? 200 : 503, { ready, state, transparent: selection.transparent });
      },
    ],
    [
      'GET /metrics',
      async (_request, response) => {
        const { contentType, body } = await metricsText(target.status());
        response.writeHead(200, { 'content-type': contentType, 'content-length': Buffer.byteLength(body) });
        response.end(body);
      },
    ],
    [
      'POST /reload',
      async (_request, response) => {
        log.info({}, 'reload asked for on the admin socket');
        send(response, 200, await target.reload());
      },
    ],
    [
      'POST /drain',
      async (_request, response) => {
        log.info({}, 'drain asked for on the admin socket');
        send(response, 200, await target.drain());
      },
    ],
    [
      'POST /log-level',
      async (request, response) => {
        const body = await readBody(request);
        const level = typeof body === 'object' && body !== null ? (body as { level?: unknown }).level : undefined;
        if (!LOG_LEVELS.includes(level as LogLevel)) {
          throw usage(`"${String(level)}" is no log level.`, `Send one of ${LOG_LEVELS.join(', ')}.`);
        }
        if (!isAdjustable(log))
          throw usage("This instance's logger has a fixed level.", 'Restart it with another one.');
        log.level = level as LogLevel;
        send(response, 200, { level });
      },
    ],
  ]);
}

/** True when somebody listens on that socket; false when it is a leftover. */
function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const done = (alive: boolean) => {
      socket.destroy();
      resolve(alive);
    };
    socket.setTimeout(1000, () => done(true));
    socket.once('connect', () => done(true));
    socket.once('error', (error: NodeJS.ErrnoException) => done(error.code === 'EAGAIN'));
  });
}

/** Removes a dead instance's socket, and nothing else. */
async function removeStale(path: string): Promise<void> {
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new HostChangeError({
      problem: `${path} stands where the admin socket should be, and is no socket.`,
      remedy: 'Move it away, or set "admin" to another path.',
    });
  }
  if (await isAlive(path)) {
    throw new AlreadyRunningError({
      problem: `Another process listens on the admin socket ${path}.`,
      remedy: 'Stop it, or give this instance an owner of its own with --owner.',
    });
  }
  await unlink(path);
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    // bind(2) happens inside of this call: the socket never exists with a wider mode. In a worker thread Node refuses
    // to change the mask; with the usual one others may not connect either, until chmod says so for good.
    const umask = isMainThread ? process.umask(0o177) : undefined;
    try {
      server.listen(path, () => {
        server.off('error', reject);
        resolve();
      });
    } finally {
      if (umask !== undefined) process.umask(umask);
    }
  });
}

/**
 * Listens on `path`, whose directory must exist.
 * @throws AlreadyRunningError when a living process listens there; HostChangeError when the socket cannot be made.
 */
export async function startAdminServer(target: AdminTarget, path: string, log: Logger): Promise<AdminServer> {
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH) {
    throw new HostChangeError({
      problem: `The path of the admin socket is longer than ${MAX_SOCKET_PATH} bytes: ${path}.`,
      remedy: 'Set "admin" to a shorter path, or shorten WEIR_STATE_ROOT.',
    });
  }
  const streams: Streams = {
    // Nobody follows, nobody asks the engine: a record costs something there.
    flows: new Followers('flows', (listener) => target.onFlowEnd((flow) => listener(JSON.stringify(flow))), log),
    lines: new Followers('log', (listener) => historyOf(log).onLine(listener), log),
  };
  const table = endpoints(target, log, streams);
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? '/', 'http://weir');
    const endpoint = table.get(`${request.method} ${url.pathname}`);
    if (endpoint === undefined) {
      const known = [...table.keys()].filter((key) => key.endsWith(` ${url.pathname}`));
      const remedy = `Known: ${(known.length > 0 ? known : [...table.keys()]).join(', ')}.`;
      send(
        response,
        known.length > 0 ? 405 : 404,
        failureOf(usage(`There is no ${request.method} ${url.pathname}.`, remedy)),
      );
      return;
    }
    await endpoint(request, response, url);
  };
  const server = httpModule().createServer(
    { requestTimeout: LIMITS.requestMs, headersTimeout: LIMITS.requestMs },
    (request, response) => {
      // A client that goes away is no event worth more than this.
      response.on('error', () => response.destroy());
      answer(request, response).catch((error: unknown) => {
        if (!(error instanceof WeirError)) log.error({ error, path: request.url }, 'admin request failed');
        if (response.headersSent) response.destroy();
        else send(response, error instanceof WeirError ? 400 : 500, failureOf(error));
      });
    },
  );
  server.maxConnections = LIMITS.connections;

  try {
    await removeStale(path);
    await listen(server, path);
    await chmod(path, 0o600);
  } catch (error) {
    server.close();
    if (error instanceof WeirError) throw error;
    throw new HostChangeError({
      problem: `The admin socket ${path} could not be made (${(error as NodeJS.ErrnoException).code ?? 'error'}).`,
      remedy: 'Look at the directory and its mode, or set "admin" to another path, or to off.',
      cause: error,
    });
  }
  server.on('error', (error) => log.warn({ error }, 'admin socket'));

  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    streams.flows.close();
    streams.lines.close();
    // Answers that are being written, such as the one to a drain, get a moment; then the rest is cut.
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeIdleConnections();
    const cut = setTimeout(() => server.closeAllConnections(), 500);
    await closed;
    clearTimeout(cut);
    // Node removes the socket itself when it closes; a file that is left is a dead one.
    await unlink(path).catch(() => {});
  };
  return { path, close: () => (closing ??= close()) };
}
