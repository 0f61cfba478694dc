/** What the resolver says about itself. */
import type { Endpoint } from '../api/flow.ts';
import type { QueryCount } from '../dns/query-counts.ts';
import type { UpstreamReport } from '../dns/upstream-health.ts';

export type SelfTestState = 'passed' | 'failed' | 'off';

/** The resolver's part of a StatusReport. */
export interface NameServiceStatus {
  readonly listen: readonly string[];
  /** `capture`, `resolv-conf`, `systemd-resolved`, `hosts` or `none`. */
  readonly reach: string;
  /** Why that reach, and what it cannot see. */
  readonly reachReason: string;
  readonly upstreams: readonly Endpoint[];
  readonly upstreamReports: readonly UpstreamReport[];
  readonly names: number;
  /** Real addresses of names that are steered. */
  readonly realAddresses: number;
  readonly pool: ReadonlyArray<{ readonly range: string; readonly taken: number; readonly size: number }>;
  /** Where assigned addresses are written down; absent: nowhere. */
  readonly map?: string;
  readonly cache: { readonly entries: number; readonly bytes: number };
  readonly queries: readonly QueryCount[];
  readonly selfTest: SelfTestState;
  readonly selfTestReason?: string;
  readonly counters: Readonly<Record<string, number>>;
}

/** One name that has addresses. */
export interface NameReport {
  readonly name: string;
  readonly ipv4?: string;
  readonly ipv6?: string;
  /** Addresses that were its own, and that clients may still have. */
  readonly former?: readonly string[];
  /** Its real addresses, which are steered (`address: real`). */
  readonly real?: readonly string[];
  /** Named by the configuration itself, and not only wanted by a pattern. */
  readonly configured: boolean;
  /** Another name had the IPv4 address that its hash gives: other hosts may have chosen otherwise. */
  readonly displaced: boolean;
  /** Milliseconds since the last answer or flow. */
  readonly unusedMs: number;
  /** Index of the pattern it falls under now; -1 when no service wants it any more. */
  readonly patternIndex: number;
}

/** One record of an answer, as text. */
export interface AnswerRecord {
  readonly name: string;
  readonly type: string;
  readonly ttl: number;
  readonly data: string;
}

/** What a client would be told, and by whom. */
export interface QueryReport {
  readonly name: string;
  readonly type: string;
  /** `none`: there would be no answer at all. */
  readonly outcome: string;
  /** Id of the resolver that answered; absent when none did. */
  readonly resolver?: string;
  readonly authoritative: boolean;
  readonly answers: readonly AnswerRecord[];
  readonly authority: readonly AnswerRecord[];
  readonly durationMs: number;
}
