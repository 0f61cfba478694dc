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

/** How an upstream is asked: `tls` is DNS over TLS (RFC 7858), `https` DNS over HTTPS (RFC 8484). */
export type UpstreamProtocol = 'udp' | 'tcp' | 'tls' | 'https';

/** A server that is asked for names that Weir does not answer itself. */
export interface UpstreamConfiguration {
  readonly protocol: UpstreamProtocol;
  /** `address` is a name only for `tls` and `https` servers that give none; the plain upstreams resolve it. */
  readonly endpoint: Endpoint;
  /** The name in the server's certificate; absent: its address. */
  readonly serverName?: string;
  /** Path of an `https` server, with the leading slash. */
  readonly path?: string;
  /** Asked only for these names and all below them; absent: for all that no other server's list has. */
  readonly suffixes?: readonly string[];
  /** Name of the dialer through which it is reached. */
  readonly dialer?: string;
  /** Absolute path of a PEM file with the certificate authorities to trust instead of the built-in ones. */
  readonly ca?: string;
}

/** Where queries go that Weir does not answer itself: the host's own configuration, or a server. */
export type UpstreamSource = 'system' | UpstreamConfiguration;

/**
 * In which order upstreams are asked. `failover`: as listed, but those that failed lately last; `serial`: as listed,
 * always; `random`: any, those that failed lately last; `parallel`: all at once, and the first useful answer counts.
 */
export type UpstreamMode = 'failover' | 'serial' | 'random' | 'parallel';

export type Reach = 'auto' | 'resolv-conf' | 'none' | 'capture' | 'systemd-resolved' | { readonly hosts: string };

export interface ResolverConfiguration {
  readonly listen: readonly DnsListen[];
  readonly reach: Reach;
  /** At most one IPv4 and one IPv6 prefix. */
  readonly ranges: readonly Prefix[];
  readonly upstreams: readonly UpstreamSource[];
  readonly mode: UpstreamMode;
  readonly unanswerable: 'refused' | 'servfail' | 'timeout' | 'nxdomain';
  /** Bytes of a UDP answer at most, and what Weir says it takes itself. */
  readonly udpBytes: number;
  /** How long clients may keep an assigned address. */
  readonly ttl: number;
  /** A name that only a pattern wants, and that nobody used for so long, gives its addresses back. Longer than `ttl`. */
  readonly keep: number;
  /** Mixed into the hash that gives names their addresses; empty: none. Hosts agree when it is the same. */
  readonly secret: string;
  /** Where assigned addresses are written down: `state` beside the other state, `off`, or an absolute path. */
  readonly map: string;
  /** Answers of upstreams that are kept; 0: none. */
  readonly cache: number;
  /** For how long an answer whose time is over may be given while no upstream answers; 0: never. */
  readonly serveStale: number;
  /** `block`: upstreams may not answer with private addresses, but for names of `rebindingAllow` and split ones. */
  readonly rebinding: 'allow' | 'block';
  readonly rebindingAllow: readonly string[];
  /** Whether browsers are told not to use DNS over HTTPS of their own (`use-application-dns.net`). */
  readonly dohCanary: boolean;
  readonly test: 'fatal' | 'warn' | 'off';
  /** Options of plugins' resolvers by id, validated by each one's schema. */
  readonly plugins: Readonly<Record<string, unknown>>;
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
  /** Lower case, without trailing dot; `web.internal`, `*.apps.internal`, `api-*.internal`, `!x.apps.internal`. */
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
  /** Its names keep their real addresses, and those are captured; absent: they get addresses of the ranges. */
  readonly address?: 'real';
  /** Upstreams answer for records of its names that are no addresses; absent: Weir says that there are none. */
  readonly resolve?: 'upstream';
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
  /** Addresses of names that keep their real ones. */
  readonly realAddresses: number;
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
  /** Where workers run: anywhere, on a processor each of those that Weir may use, or of these, in turn. */
  readonly workerCpus: 'none' | 'auto' | readonly number[];
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
