/** What a name service is made with. */
import type { Dialer } from '../api/dialer.ts';
import type { Family } from '../api/flow.ts';
import type { HostChanges } from '../api/host.ts';
import type { Logger } from '../api/logger.ts';
import type { ResolverConfiguration } from '../config/model.ts';
import type { DnsServerLimits } from '../dns/server.ts';
import type { UpstreamTimings } from '../dns/upstreams.ts';
import type { NameAssignment, NameMatcher } from './assigned.ts';
import type { PluggedResolver } from './chain.ts';
import type { RealName } from './real-names.ts';
import type { QueryCapture } from './system-claim.ts';

export interface NameServiceOptions {
  readonly resolver: ResolverConfiguration;
  readonly limits: { readonly names: number };
  readonly matcher: NameMatcher;
  /** Exact names of the configuration; they get their addresses at start. */
  readonly configuredNames: readonly string[];
  /** fwmark of every socket; 0 for none. */
  readonly mark: number;
  /** Families this host speaks: names get addresses of these only. */
  readonly families: readonly Family[];
  readonly owner: string;
  readonly stateDirectory: string;
  readonly log: Logger;
  readonly host: HostChanges;
  /** See AssignedOptions. */
  readonly onAssign: (assignment: NameAssignment) => void | Promise<void>;
  /** Called when a name has given its addresses back, before others can get them. */
  readonly onRelease?: (name: string) => void;
  /** Names of the flows that live now. */
  readonly namesInUse?: () => Iterable<string>;
  /** Whether the names of a pattern keep their real addresses, and how these are steered; absent: none does. */
  readonly real?: {
    readonly keeps: (patternIndex: number) => boolean;
    readonly steer: (names: readonly RealName[]) => Promise<void>;
    /** Addresses of a name that flows go to now. */
    readonly destinations: (name: string) => ReadonlySet<string>;
    readonly addresses: number;
  };
  /** See AssignedOptions. */
  readonly resolvesUpstream?: (patternIndex: number) => boolean;
  /** Path of the map of names for `resolver.map: state`; absent: none is kept then. */
  readonly nameMapPath?: string;
  /** The dialer of a name, for upstreams that are reached through one. */
  readonly dialer?: (name: string) => Dialer | undefined;
  /** Resolvers of plugins, asked by priority among the built-in ones; `close` is called by `stop`. */
  readonly resolvers?: readonly PluggedResolver[];
  /** What services name now: exact names, patterns and exclusions. Default: the configured names. */
  readonly patterns?: () => readonly string[];
  /** For `resolver.reach: capture`; absent: nothing can be captured. */
  readonly capture?: QueryCapture;
  readonly hostsPath?: string;
  readonly resolvConfPath?: string;
  readonly serverLimits?: Partial<DnsServerLimits>;
  readonly upstreamTimings?: Partial<UpstreamTimings>;
}
