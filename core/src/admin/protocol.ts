/** What the admin server and its clients agree on: paths, bounds, shapes. HTTP/1.1 over a Unix socket, JSON bodies. */
import type { FlowRecord } from '../api/flow.ts';

/** The socket's name in the state directory. */
export const SOCKET_NAME = 'admin.sock';

/** sun_path of unix(7), less the final zero. */
export const MAX_SOCKET_PATH = 107;

export const MAX_FLOWS = 10_000;
export const DEFAULT_FLOWS = 100;

/** Bounds of the server. A follower that is this far behind loses records, and is told how many. */
export const LIMITS = {
  connections: 32,
  followers: 8,
  bodyBytes: 16 * 1024,
  followBacklogBytes: 1024 * 1024,
  requestMs: 10_000,
} as const;

export interface ReadyReport {
  readonly ready: boolean;
  readonly state: string;
  readonly transparent: boolean;
}

export interface LogLevelReport {
  readonly level: string;
}

/** What stands in the body of every answer that is no success. */
export interface AdminFailure {
  readonly code: string;
  readonly problem: string;
  readonly remedy: string;
  /** The faults of a configuration that was refused. */
  readonly faults?: readonly unknown[];
}

/** A line of the log as pino writes it: `level` is a number, `time` milliseconds since the epoch, `msg` the message. */
export type LogEntry = Readonly<Record<string, unknown>> & { readonly level: number; readonly time: number };

/** In a stream, in the place of what a slow client missed. */
export interface Lost {
  readonly lost: number;
}

/** One line of `/flows/follow`. */
export type FollowLine = FlowRecord | Lost;
