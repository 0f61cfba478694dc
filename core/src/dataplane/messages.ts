/** What control and a splice worker say to each other. Everything here survives structured cloning. */
import type { Family, Protocol } from '../api/flow.ts';
import type { OriginalDestination } from '../api/point.ts';
import type { LookupTableData } from '../capture/lookup-table.ts';
import type { CountersData } from './counters.ts';
import type { FlowSlabData } from './flow-slab.ts';
import type { HandshakeDialerPlace } from './handshake-dialers.ts';
import type { NameDirectoryData } from './name-directory.ts';
import type { NameTextsData } from './name-texts.ts';
import type { RecordRingData } from './record-ring.ts';

/** A listening socket that a worker accepts from. The descriptor is control's. */
export interface WorkerPoint {
  readonly index: number;
  readonly fd: number;
  readonly family: Family;
  readonly protocol: Protocol;
  /** UDP: the raw socket that replies from any address and port, or -1 where the point itself replies. Control's. */
  readonly replyFd: number;
  /** UDP: the raw socket that tells clients what cannot be reached, or -1 where nobody else would. Control's. */
  readonly icmpFd: number;
  readonly port: number;
  /** A dial to `port` at one of these addresses would arrive here. */
  readonly own: readonly string[];
  /** So would one to any loopback address. */
  readonly loopback: boolean;
  readonly original: OriginalDestination;
}

/** Where the flows of a point go that serves one service. */
export interface FixedTarget {
  readonly host: string;
  readonly port: number;
}

/** One thing to try for a flow of a service. A plan is a list of these, tried in order. */
export type DialStep =
  /** Connect. Without `host`, to the flow's own destination; without `port`, to its port. */
  | { readonly kind: 'route'; readonly dialer: number; readonly host?: string; readonly port?: number }
  /** As a route, then the dialer's handshake. */
  | { readonly kind: 'handshake'; readonly dialer: number; readonly host?: string; readonly port?: number }
  /** Hand the flow to a stream worker, which dials by the dialer of that index. */
  | { readonly kind: 'stream'; readonly dialer: number }
  | { readonly kind: 'reset'; readonly dialer: number }
  | { readonly kind: 'drop'; readonly dialer: number };

export interface WorkerLimits {
  /** TCP flows of this worker. */
  readonly flows: number;
  /** UDP sessions of this worker. */
  readonly udpSessions: number;
  /** Dials of one service that may be under way. */
  readonly pendingDials: number;
  /** Pipes kept for reuse when no bulk flow needs them. */
  readonly idlePipes: number;
}

/** Milliseconds. */
export interface WorkerTimeouts {
  readonly connect: number;
  readonly handshake: number;
  readonly idle: number;
  /** Of a UDP session. */
  readonly udpIdle: number;
  readonly halfClosed: number;
}

/** Everything a worker starts with. */
export interface WorkerData {
  readonly index: number;
  readonly epoch: number;
  readonly wakeFd: number;
  readonly points: readonly WorkerPoint[];
  readonly slab: FlowSlabData;
  readonly records: RecordRingData;
  readonly counters: CountersData;
  readonly ledger: SharedArrayBuffer;
  /** The only one to run on; absent: any. */
  readonly processor?: number;
  readonly mark: number;
  readonly limits: WorkerLimits;
  readonly timeouts: WorkerTimeouts;
}

/** The services as the worker sees them. Replaces the last one whole. */
export interface TableMessage {
  readonly type: 'table';
  readonly generation: number;
  readonly lookup: LookupTableData;
  readonly names: NameDirectoryData;
  readonly nameTexts: NameTextsData;
  readonly serviceNames: ReadonlyArray<readonly [service: number, name: string]>;
  /** Handshake dialers that the plans name; imported before the table holds. */
  readonly dialers: readonly HandshakeDialerPlace[];
  readonly plans: ReadonlyArray<readonly [service: number, steps: readonly DialStep[]]>;
  readonly unmatched: readonly DialStep[];
  /** For how long flows that only the last table wanted are dialled directly. Milliseconds. */
  readonly graceMs: number;
  /** Only names are otherwise than in the last table: what that one has replaced stays retired as it is. */
  readonly keepsRetired?: boolean;
  readonly timeouts: WorkerTimeouts;
}

export type ToWorker =
  | TableMessage
  | { readonly type: 'plan'; readonly service: number; readonly steps: readonly DialStep[] }
  | {
      readonly type: 'resolved';
      readonly key: number | string;
      /** Literals; empty when the name has none or could not be resolved. */
      readonly addresses: readonly string[];
      /** Milliseconds since the epoch until which the answer may be used again. */
      readonly expiresAt: number;
    }
  | { readonly type: 'named'; readonly slot: number; readonly generation: number; readonly found: boolean }
  | { readonly type: 'returned'; readonly slot: number; readonly generation: number; readonly outcome: number }
  /** A stream dialer got a plain TCP upstream: the flow goes on here. `early` is what the upstream has sent already. */
  | {
      readonly type: 'adopt';
      readonly slot: number;
      readonly generation: number;
      readonly clientFd: number;
      readonly upstreamFd: number;
      readonly early?: Uint8Array;
    }
  /** A connection that another worker accepted belongs to a flow that was dialled here. */
  | { readonly type: 'attach'; readonly slot: number; readonly generation: number; readonly clientFd: number }
  /** Replaces all points; answered by `points-taken` when no other is accepted from any more. */
  | { readonly type: 'points'; readonly serial: number; readonly points: readonly WorkerPoint[] }
  /** Services take nothing new: sessions that are silent need not be waited for. */
  | { readonly type: 'draining'; readonly dialDirectly: boolean }
  /** Take no new connection; living flows go on. */
  | { readonly type: 'unlisten' }
  /** Reset all that lives, with this outcome. */
  | { readonly type: 'reset'; readonly outcome: number }
  | { readonly type: 'stop' }
  /** Tests: throw as a bug would. */
  | { readonly type: 'crash' };

export type FromWorker =
  | { readonly type: 'ready' }
  /** Before `ready`: it could not be put on its processor, and runs on any. */
  | { readonly type: 'not-placed'; readonly reason: string }
  | { readonly type: 'table-installed'; readonly generation: number }
  | { readonly type: 'points-taken'; readonly serial: number }
  /** A number is a name's index, a string a host of a route. */
  | { readonly type: 'resolve'; readonly key: number | string }
  /** An address of the assigned range that the directory does not know. */
  | { readonly type: 'unnamed'; readonly slot: number; readonly generation: number; readonly address: string }
  | {
      readonly type: 'canary';
      readonly protocol: Protocol;
      readonly address: string;
      readonly port: number;
      readonly sourcePort: number;
    }
  | {
      readonly type: 'stream';
      readonly slot: number;
      readonly generation: number;
      readonly dialer: number;
      readonly fd: number;
      /** Of a point that serves one service. */
      readonly target?: FixedTarget;
    }
  /** An accepted connection that another worker has dialled for. */
  | {
      readonly type: 'held';
      readonly worker: number;
      readonly slot: number;
      readonly generation: number;
      readonly fd: number;
    }
  /** The first of a dialer in this worker. */
  | { readonly type: 'dialer-fault'; readonly dialer: number; readonly reason: string }
  | { readonly type: 'reset-done'; readonly flows: number }
  | { readonly type: 'stopped' };
