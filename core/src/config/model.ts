/**
 * A configuration after it was read, checked and completed with defaults: what the engine runs on. Made by
 * `config/load.ts` from YAML, or by an embedder through `configuration()`. Times are milliseconds, sizes plain counts.
 */
import type { OwnerMatch } from '../api/capture.ts';
import type { Endpoint, Prefix, Protocol } from '../api/flow.ts';

/** Inclusive. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

export type Requirement = 'transparent' | 'udp' | 'ipv6' | 'forward';

export interface CaptureConfiguration {
  readonly scopes: ReadonlyArray<'output' | 'forward'>;
  readonly forward: { readonly interfaces: readonly string[] };
  /** `auto`: the block of the slot that this owner claims. */
  readonly mark: 'auto' | { readonly mask: number; readonly capture: number; readonly bypass: number };
  readonly table: 'auto' | number;
  readonly preference: 'auto' | number;
  readonly onDrift: 'repair' | 'fail' | 'ignore';
  readonly onCrash: 'open' | 'closed';
  readonly only: readonly OwnerMatch[];
  readonly except: readonly OwnerMatch[];
}

export interface DnsListen {
  readonly protocol: Protocol;
  readonly endpoint: Endpoint;
}

/** Where queries go that Weir does not answer itself: the host's own configuration, or a server. */
export type UpstreamSource = 'system' | { readonly protocol: Protocol; readonly endpoint: Endpoint };

export type Reach = 'auto' | 'resolv-conf' | 'none' | 'capture' | 'systemd-resolved' | { readonly hosts: string };

export interface ResolverConfiguration {
  readonly listen: readonly DnsListen[];
  readonly reach: Reach;
  /** At most one IPv4 and one IPv6 prefix. */
  readonly ranges: readonly Prefix[];
  readonly upstreams: readonly UpstreamSource[];
  readonly unanswerable: 'refused' | 'servfail' | 'timeout' | 'nxdomain';
  readonly test: 'fatal' | 'warn' | 'off';
}

/** A named dialer. Inline ones of a service get a name of the form `<service>#<n>`. */
export interface DialerConfiguration {
  readonly name: string;
  readonly type: string;
  /** Already validated by the type's schema. */
  readonly options: unknown;
}

export interface ServiceConfiguration {
  readonly name: string;
  /** Lower case, without trailing dot; `web.internal` or `*.apps.internal`. */
  readonly names: readonly string[];
  readonly prefixes: readonly Prefix[];
  /** Sorted, disjoint; `[0–65535]` when the file gives none. */
  readonly ports: readonly PortRange[];
  readonly protocols: readonly Protocol[];
  /** Empty: any source. */
  readonly sources: readonly Prefix[];
  /** Names of dialers, tried in order; `direct`, `reset` and `drop` always exist. */
  readonly dialers: readonly string[];
  readonly listen?: Endpoint;
}

export interface Timeouts {
  readonly connect: number;
  readonly handshake: number;
  readonly idle: number;
  readonly udpIdle: number;
  readonly halfClosed: number;
  readonly drain: number;
}

export interface Limits {
  readonly flows: number;
  readonly udpSessions: number;
  readonly pendingDials: number;
  readonly names: number;
}

export interface LogConfiguration {
  readonly level: 'debug' | 'info' | 'warn' | 'error' | 'silent';
  readonly format: 'auto' | 'json' | 'pretty';
  /** Which flows get a log line: none, those that ended, those that began and those that ended. */
  readonly flows: 'off' | 'closed' | 'all';
}

export interface Configuration {
  /** Absolute path of the file it came from; absent for embedders. */
  readonly file?: string;
  /** `auto`, or ids in the order to try. */
  readonly interceptor: 'auto' | readonly string[];
  /** Options of interceptors by id, validated by each plugin's schema. */
  readonly interceptors: Readonly<Record<string, unknown>>;
  readonly require: readonly Requirement[];
  readonly owner: string;
  readonly workers: number;
  readonly capture: CaptureConfiguration;
  readonly resolver: ResolverConfiguration;
  readonly dialers: readonly DialerConfiguration[];
  readonly services: readonly ServiceConfiguration[];
  readonly exclude: readonly Prefix[];
  readonly unmatched: 'reset' | 'drop' | 'direct';
  readonly timeouts: Timeouts;
  readonly limits: Limits;
  readonly log: LogConfiguration;
  /** `unix`: the socket in the state directory; `off`; or a path. */
  readonly admin: string;
  /** Package names or paths of plugins beyond the built-in ones. */
  readonly plugins: readonly string[];
}
