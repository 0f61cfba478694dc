/**
 * The only importer of pino. Logs go to standard error, so that a command's result on standard output stays clean.
 * Every line is written before the call returns: a process that ends next loses nothing.
 */
import { writeSync } from 'node:fs';
import { pino, type Logger as PinoLogger } from 'pino';
import type { Logger } from '../api/logger.ts';
import type { LogConfiguration } from '../config/model.ts';
import { LogHistory } from './log-history.ts';
import { prettyLine } from './pretty-line.ts';

export type LogLevel = LogConfiguration['level'];

export const LOG_LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error', 'silent'];

/** A logger whose level can be changed while it runs, for itself and all its children, and that remembers its last lines. */
export interface AdjustableLogger extends Logger {
  level: LogLevel;
  readonly history: LogHistory;
}

export function isAdjustable(log: Logger): log is AdjustableLogger {
  return 'level' in log && LOG_LEVELS.includes(log.level as LogLevel);
}

export interface LoggerOptions {
  readonly level: LogLevel;
  /** `auto`: pretty when `terminal` is true, JSON otherwise. */
  readonly format: LogConfiguration['format'];
  /** Whether the reader is a terminal; standard error by default. */
  readonly terminal?: boolean;
  readonly colour?: boolean;
  /** Takes whole lines. Standard error by default. */
  readonly write?: (line: string) => void;
}

const RETRIES = 50;

/** Writes all of a line to standard error, also when that is a full pipe that does not block. */
function writeToStandardError(line: string): void {
  let rest = Buffer.from(line);
  for (let attempt = 0; rest.length > 0;) {
    try {
      rest = rest.subarray(writeSync(2, rest));
    } catch (error) {
      // A reader that is gone (EPIPE) must not end the data plane; one that is slow gets 100 ms.
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN' || ++attempt > RETRIES) return;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2);
    }
  }
}

interface Root {
  level: LogLevel;
  readonly history: LogHistory;
}

/** Children ask the root for the level, so that one change holds everywhere at once. */
class WeirLogger implements AdjustableLogger {
  readonly #pino: PinoLogger;
  readonly #root: Root;

  constructor(logger: PinoLogger, root: Root) {
    this.#pino = logger;
    this.#root = root;
  }

  get level(): LogLevel {
    return this.#root.level;
  }

  set level(level: LogLevel) {
    this.#root.level = level;
  }

  get history(): LogHistory {
    return this.#root.history;
  }

  #enabled(level: LogLevel): boolean {
    return LOG_LEVELS.indexOf(level) >= LOG_LEVELS.indexOf(this.#root.level);
  }

  debug(fields: Readonly<Record<string, unknown>>, message: string): void {
    if (this.#enabled('debug')) this.#pino.debug(fields, message);
  }

  info(fields: Readonly<Record<string, unknown>>, message: string): void {
    if (this.#enabled('info')) this.#pino.info(fields, message);
  }

  warn(fields: Readonly<Record<string, unknown>>, message: string): void {
    if (this.#enabled('warn')) this.#pino.warn(fields, message);
  }

  error(fields: Readonly<Record<string, unknown>>, message: string): void {
    if (this.#enabled('error')) this.#pino.error(fields, message);
  }

  child(fields: Readonly<Record<string, unknown>>): Logger {
    return new WeirLogger(this.#pino.child(fields), this.#root);
  }
}

/** A failure in a log line: what an operator can use. The stack is for `debug`. */
function errorFields(error: unknown, level: LogLevel): unknown {
  if (!(error instanceof Error)) return error;
  const { code, cause } = error as NodeJS.ErrnoException;
  return {
    message: error.message,
    ...(code === undefined ? {} : { code }),
    ...(cause instanceof Error ? { cause: cause.message } : {}),
    ...(level === 'debug' ? { stack: error.stack } : {}),
  };
}

export function createLogger(options: LoggerOptions): AdjustableLogger {
  const terminal = options.terminal ?? process.stderr.isTTY === true;
  const pretty = options.format === 'pretty' || (options.format === 'auto' && terminal);
  const colour = options.colour ?? (terminal && process.stderr.hasColors?.() === true);
  const write = options.write ?? writeToStandardError;
  const root: Root = { level: options.level, history: new LogHistory() };
  const logger = pino(
    {
      // The level is checked before pino is called.
      level: 'debug',
      base: { pid: process.pid },
      serializers: {
        error: (error: unknown) => errorFields(error, root.level),
        err: (error: unknown) => errorFields(error, root.level),
      },
    },
    {
      write: (line: string) => {
        write(pretty ? prettyLine(line, colour) : line);
        root.history.add(line);
      },
    },
  );
  return new WeirLogger(logger, root);
}
