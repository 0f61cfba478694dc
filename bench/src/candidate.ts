/** What is compared: a way for a client's traffic to reach the server. Each runs in a client host of its own. */
import type { TestHost } from '@weir/core/testing';

/** What a candidate has to carry, and where its client host is. */
export interface Task {
  readonly client: TestHost;
  /** The prefix that is captured; the real server answers at one of its addresses. */
  readonly prefix: string;
  readonly ports: readonly number[];
  /** Where clients connect to reach an HTTP server that answers at once. */
  readonly http: Endpoint;
  /** Where clients connect to reach the far end of bulk, peers/bulk-origin.ts. */
  readonly bulk: Endpoint;
  /** Where datagrams are sent back. */
  readonly echo: Endpoint;
  /** Before a command line: the program may have as many descriptors as 50,000 flows need. */
  readonly manyFiles: readonly string[];
}

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** What a candidate says it has carried since it started. */
export interface Carried {
  readonly flows: number;
  /** Payload bytes, both directions. */
  readonly bytes: number;
  /** Whether bytes went through splice(2) so far; undefined where the candidate does not tell. */
  readonly spliced?: boolean;
}

export interface RunningCandidate {
  /** Processes whose CPU time is the candidate's. */
  readonly pids: readonly number[];
  /** Undefined when nothing stands between client and server. */
  carried(): Promise<Carried | undefined>;
  /** Stops it in order. @throws Error when it does not come to an end. */
  stop(): Promise<void>;
}

export interface Candidate {
  /** As in `--interceptor` and `--peers`, and in the result. */
  readonly id: string;
  readonly label: string;
  readonly kind: 'none' | 'weir' | 'peer';
  /** Whether it carries UDP. */
  readonly udp: boolean;
  /** Where its clients connect instead, for one that captures nothing; absent: where the server is. */
  entrance?(task: Task): Task;
  /** Why it cannot take part here, with the way to change that; undefined when it can. */
  missing(): string | undefined;
  /** What it is, with its version. */
  version(): string;
  /** What is made once and is no part of a start: rules that an administrator of a peer would have loaded at boot. */
  prepare(task: Task): Promise<void>;
  /** Undoes `prepare`. */
  unprepare(task: Task): Promise<void>;
  /** Starts the processes and resolves when they carry traffic. @throws Error with their output when they do not. */
  start(task: Task): Promise<RunningCandidate>;
  /** A destination that answers HTTP only when the candidate carries it; undefined where there is nothing to start. */
  firstFlow(task: Task): Endpoint | undefined;
}
