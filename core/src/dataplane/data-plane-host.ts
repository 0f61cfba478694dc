/** What the data plane is made with, what it asks of the engine, and what it hands over. */
import type { FlowOutcome, FlowRecord, Protocol } from '../api/flow.ts';
import type { Logger } from '../api/logger.ts';
import type { BoundPoint } from '../api/point.ts';
import type { RecordTexts } from './flow-records.ts';
import type { FixedTarget, WorkerTimeouts } from './messages.ts';

export interface DataPlaneOptions {
  readonly workers: number;
  /** Taken by workers in turn, beginning again when there are more of them; absent or empty: any. */
  readonly processors?: readonly number[];
  readonly mark: number;
  /** Of all workers together. */
  readonly flowLimit: number;
  readonly sessionLimit: number;
  readonly pendingDials: number;
  readonly services: number;
  readonly timeouts: WorkerTimeouts;
  readonly log: Logger;
}

/** What the data plane asks of the engine. */
export interface DataPlaneHost extends RecordTexts {
  /** Real addresses of a name: a number is the index of an assigned name, a string the host of a route. Never rejects. */
  resolve(key: number | string): Promise<{ readonly addresses: readonly string[]; readonly expiresAt: number }>;
  /** Is there a name behind this address of the assigned range? When there is, the directory has been told. */
  findName(address: string): Promise<boolean>;
  canary(arrival: CanaryArrival): void;
  ended(record: FlowRecord): void;
  /** A worker was replaced; its points are the same. */
  rebound(points: readonly BoundPoint[]): void;
  /** The data plane cannot go on. */
  fatal(error: Error): void;
  /** A flow for a stream dialer; the descriptor is the receiver's. */
  stream(flow: StreamedFlow): void;
}

/** A connection or datagram to a canary's address that came by a capture point. */
export interface CanaryArrival {
  readonly protocol: Protocol;
  readonly address: string;
  readonly port: number;
  readonly sourcePort: number;
}

export interface StreamedFlow {
  readonly fd: number;
  readonly dialer: number;
  readonly record: FlowRecord;
  /** Of a point that serves one service. */
  readonly target?: FixedTarget;
  /** Ends the flow's slot. */
  finish(outcome: FlowOutcome): void;
  /** Hands the flow back with both its descriptors, which are the worker's from then on. */
  adopt(clientFd: number, upstreamFd: number, early: Uint8Array | undefined): void;
  /** Writes byte counters to the slot. */
  count(bytesUp: number, bytesDown: number): void;
}
