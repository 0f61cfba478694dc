/** Asks a running instance. Bounded in time and size; what the server refused comes back as the error it had there. */
import type { IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';
import {
  ConfigurationError,
  type ConfigurationFault,
  NotPermittedError,
  NotRunningError,
  UsageError,
  WeirError,
} from '../api/errors.ts';
import type { FlowRecord } from '../api/flow.ts';
import type { ReloadReport, ServedName, ServedQuery, ServiceReport, StatusReport } from '../engine/report.ts';
import { httpModule } from '../sys/node-modules.ts';
import type { AdminFailure, FollowLine, LogEntry, LogLevelReport, Lost, ReadyReport } from './protocol.ts';

const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
const ANSWER_MS = 10_000;
/** A drain waits for flows, a reload for the kernel. */
const LONG_ANSWER_MS = 15 * 60_000;

export interface AdminClientOptions {
  /** The admin socket. */
  readonly path: string;
  /** For error texts. */
  readonly owner: string;
  /** Other owners that run here, for the remedy when this one does not. */
  readonly others?: readonly string[];
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_ANSWER_BYTES) {
      response.destroy();
      throw new WeirError('WEIR_ADMIN', {
        problem: 'The running instance answered with more than 64 MiB.',
        remedy: 'Ask for fewer flows with --limit.',
      });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function refusalOf(body: string, status: number): WeirError {
  let failure: Partial<AdminFailure> = {};
  try {
    failure = JSON.parse(body) as AdminFailure;
  } catch {
    // Not ours; the status must do.
  }
  const problem = failure.problem ?? `The running instance answered with status ${status}.`;
  const remedy = failure.remedy ?? 'Look at its log.';
  if (failure.code === 'WEIR_CONFIGURATION') {
    return new ConfigurationError((failure.faults ?? []) as ConfigurationFault[], { problem, remedy });
  }
  if (failure.code === 'WEIR_USAGE') return new UsageError({ problem, remedy });
  return new WeirError(failure.code ?? 'WEIR_ADMIN', { problem, remedy });
}

export class AdminClient {
  readonly #options: AdminClientOptions;

  constructor(options: AdminClientOptions) {
    this.#options = options;
  }

  status(): Promise<StatusReport> {
    return this.#json('GET', '/status');
  }

  services(): Promise<readonly ServiceReport[]> {
    return this.#json('GET', '/services');
  }

  names(limit: number): Promise<readonly ServedName[]> {
    return this.#json('GET', `/names?limit=${limit}`);
  }

  query(name: string, type: string): Promise<ServedQuery> {
    const asked = new URLSearchParams({ name, type });
    return this.#json('GET', `/query?${asked.toString()}`, undefined, LONG_ANSWER_MS);
  }

  flows(limit: number): Promise<readonly FlowRecord[]> {
    return this.#json('GET', `/flows?limit=${limit}`);
  }

  recentFlows(limit: number): Promise<readonly FlowRecord[]> {
    return this.#json('GET', `/recent?limit=${limit}`);
  }

  async ready(): Promise<ReadyReport> {
    const response = await this.#request('GET', '/ready', undefined, ANSWER_MS);
    return JSON.parse(await textOf(response)) as ReadyReport;
  }

  async metrics(): Promise<string> {
    const response = await this.#request('GET', '/metrics', undefined, ANSWER_MS);
    return textOf(response);
  }

  reload(): Promise<ReloadReport> {
    return this.#json('POST', '/reload', undefined, LONG_ANSWER_MS);
  }

  drain(): Promise<{ readonly remaining: number }> {
    return this.#json('POST', '/drain', undefined, LONG_ANSWER_MS);
  }

  setLogLevel(level: string): Promise<LogLevelReport> {
    return this.#json('POST', '/log-level', { level });
  }

  /** One item per flow that ends, until `signal` aborts or the instance stops. */
  follow(signal: AbortSignal): AsyncGenerator<FollowLine> {
    return this.#stream('/flows/follow', signal);
  }

  /** The newest lines of the log, oldest first. */
  logs(limit: number): Promise<readonly LogEntry[]> {
    return this.#json('GET', `/logs?limit=${limit}`);
  }

  /** The last `limit` lines of the log and then each as it is written, until `signal` aborts or the instance stops. */
  followLogs(limit: number, signal: AbortSignal): AsyncGenerator<LogEntry | Lost> {
    return this.#stream(`/logs/follow?limit=${limit}`, signal);
  }

  async *#stream<T>(path: string, signal: AbortSignal): AsyncGenerator<T> {
    if (signal.aborted) return;
    const response = await this.#request('GET', path, undefined, 0, signal);
    if (response.statusCode !== 200) throw refusalOf(await textOf(response), response.statusCode ?? 0);
    const lines = createInterface({ input: response, crlfDelay: Infinity });
    try {
      for await (const line of lines) {
        if (line !== '') yield JSON.parse(line) as T;
      }
    } catch (error) {
      // The instance ended in the middle of a line, or the caller had enough.
      if (!signal.aborted && (error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error;
    } finally {
      lines.close();
      response.destroy();
    }
  }

  async #json<T>(method: string, path: string, body?: unknown, timeout = ANSWER_MS): Promise<T> {
    const response = await this.#request(method, path, body, timeout);
    const text = await textOf(response);
    if (response.statusCode !== 200) throw refusalOf(text, response.statusCode ?? 0);
    return JSON.parse(text) as T;
  }

  #request(
    method: string,
    path: string,
    body: unknown,
    timeout: number,
    signal?: AbortSignal,
  ): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const request = httpModule().request({
        socketPath: this.#options.path,
        method,
        path,
        agent: false,
        ...(signal === undefined ? {} : { signal }),
      });
      if (timeout > 0) {
        request.setTimeout(timeout, () => {
          request.destroy(
            new WeirError('WEIR_ADMIN', {
              problem: `The running instance did not answer within ${timeout / 1000} s.`,
              remedy: 'Look at its log, and whether it is stopped (kill -CONT).',
            }),
          );
        });
      }
      request.once('response', resolve);
      request.once('error', (error: NodeJS.ErrnoException) => reject(this.#unreachable(error)));
      if (body !== undefined) {
        request.setHeader('content-type', 'application/json');
        request.write(JSON.stringify(body));
      }
      request.end();
    });
  }

  #unreachable(error: NodeJS.ErrnoException): unknown {
    const { owner, path } = this.#options;
    if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED' || error.code === 'ENOTDIR') {
      const others = (this.#options.others ?? []).filter((other) => other !== owner);
      return new NotRunningError({
        problem: `No Weir of the owner "${owner}" runs in this network namespace (${path}).`,
        remedy:
          others.length > 0
            ? `Name another owner with --owner; known here: ${others.join(', ')}.`
            : 'Start it with weir run, or name its owner with --owner.',
        cause: error,
      });
    }
    if (error.code === 'EACCES' || error.code === 'EPERM') {
      return new NotPermittedError({
        problem: `This user may not talk to Weir's admin socket ${path}.`,
        remedy: 'Run the command as the user who runs Weir, mostly root.',
        cause: error,
      });
    }
    return error;
  }
}
