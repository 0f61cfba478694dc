/** What a running instance says about itself: on the admin socket, in `--json`, and as tables in the terminal. */
import type { Endpoint, FlowRecord } from '../api/flow.ts';
import type { QueryCount } from '../dns/query-counts.ts';
import type { UpstreamReport } from '../dns/upstream-health.ts';
import type { NameReport, QueryReport } from '../resolvers/name-report.ts';
import type { Drift, MissingRequirement } from '../api/interceptor.ts';

/** The outcome of one candidate of a selection. */
export type SelectionOutcome =
  | 'selected'
  | 'not-tried'
  | 'not-suitable'
  | 'unsupported'
  | 'inconclusive'
  | 'ineffective'
  | 'failed';

export interface SelectionEntry {
  readonly interceptor: string;
  readonly priority: number;
  readonly outcome: SelectionOutcome;
  /** Why, in one line; for `selected`, the facts of the probe. */
  readonly reason: string;
  readonly missing: readonly MissingRequirement[];
  /** What to do when the reason is not something that is missing. */
  readonly remedy?: string;
}

export interface SelectionReport {
  readonly entries: readonly SelectionEntry[];
  readonly selected?: string;
  /** False when only explicit capture (proxy) is running. */
  readonly transparent: boolean;
  /** Captured traffic of which no canary has shown that it arrives: none can come from outside. */
  readonly unproven?: readonly 'forward'[];
}

export interface ServiceReport {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly ports: readonly string[];
  readonly protocols: readonly string[];
  readonly dialers: readonly string[];
  /** Removed by a reload, kept until its last flow ends. */
  readonly retiring: boolean;
  readonly activeFlows: number;
  readonly totalFlows: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
}

export interface StatusReport {
  readonly version: string;
  readonly pid: number;
  readonly owner: string;
  readonly state: 'starting' | 'running' | 'draining' | 'stopping' | 'stopped' | 'failed';
  readonly startedAt: number;
  readonly configurationFile?: string;
  readonly generation: number;
  readonly selection: SelectionReport;
  readonly services: readonly ServiceReport[];
  readonly workers: ReadonlyArray<{
    readonly index: number;
    readonly state: 'running' | 'restarting';
    readonly activeFlows: number;
    readonly deaths: number;
    /** The processor that it was put on; absent: any. */
    readonly cpu?: number;
  }>;
  readonly resolver: {
    readonly listen: readonly string[];
    readonly reach: string;
    /** Why that reach, and what it cannot see. */
    readonly reachReason: string;
    readonly upstreams: readonly Endpoint[];
    /** The upstreams with how they do and how long they take. */
    readonly upstreamReports: readonly UpstreamReport[];
    readonly names: number;
    /** Real addresses of names that are steered (`address: real`). */
    readonly realAddresses: number;
    /** How full each assigned range is. */
    readonly pool: ReadonlyArray<{ readonly range: string; readonly taken: number; readonly size: number }>;
    /** Where assigned addresses are written down; absent: nowhere. */
    readonly map?: string;
    /** Answers of upstreams that are kept. */
    readonly cache: { readonly entries: number; readonly bytes: number };
    /** Queries by type and outcome. */
    readonly queries: readonly QueryCount[];
    readonly selfTest: 'passed' | 'failed' | 'off';
    readonly selfTestReason?: string;
    readonly counters: Readonly<Record<string, number>>;
  };
  /** Every bound that was hit and every total, by name; all start at 0. */
  readonly counters: Readonly<Record<string, number>>;
  readonly drift: { readonly repaired: number; readonly last: readonly Drift[] };
}

export interface ReloadReport {
  readonly added: readonly string[];
  readonly changed: readonly string[];
  readonly removed: readonly string[];
  readonly generation: number;
}

/** A name that has addresses, with the services that want it. */
export interface ServedName extends Omit<NameReport, 'patternIndex'> {
  /** What it falls under now; absent when no service wants it any more. */
  readonly pattern?: string;
  readonly services: readonly string[];
}

/** What a client would be told, and which services want the name. */
export interface ServedQuery extends QueryReport {
  readonly pattern?: string;
  readonly services: readonly string[];
}

/** What the admin server needs from an engine. */
export interface AdminTarget {
  status(): StatusReport;
  /** Living flows, at most `limit`. */
  flows(limit: number): readonly FlowRecord[];
  /** The newest ended flows that are still remembered, oldest first. */
  recentFlows(limit: number): readonly FlowRecord[];
  /** Calls back for each flow that ends; returns the unsubscribe. */
  onFlowEnd(listener: (record: FlowRecord) => void): () => void;
  /** Names that have addresses, at most `limit`; sorted. */
  names(limit: number): readonly ServedName[];
  /** @throws ResolveError when name or type is none; NotRunningError when names are not served. */
  query(name: string, type: string): Promise<ServedQuery>;
  /** Reads the configuration file again. @throws ConfigurationError, and nothing has changed then. */
  reload(): Promise<ReloadReport>;
  /** Stops taking new flows; resolves when none is left or the deadline passed. */
  drain(): Promise<{ readonly remaining: number }>;
}
