/**
 * Names, as the engine sees them: the DNS server with its chain of resolvers, the addresses given to names, look-ups for
 * dials, and how the host's queries get here. It lives above `dns/` because it puts the resolvers together.
 *
 * Order of calls: constructor → start → (claimSystem) → (selfTest) → … → releaseSystem → stop. Everything but `start`
 * and `claimSystem` may be called at any time.
 */
import { LoopError, ResolveError, SelfTestError, WeirError } from '../api/errors.ts';
import type { Endpoint, Family } from '../api/flow.ts';
import type { HostChanges } from '../api/host.ts';
import type { Logger } from '../api/logger.ts';
import type { Resolver } from '../api/resolver.ts';
import { addressToBytes, bytesToAddress, familyOf, isAddress } from '../capture/address.ts';
import type { DnsListen, ResolverConfiguration, UpstreamConfiguration } from '../config/model.ts';
import { AddressPool, type Assignment } from '../dns/address-pool.ts';
import { createDnsCounters, type DnsCounters } from '../dns/counters.ts';
import { formatEndpoint, formatListen } from '../dns/listen-failure.ts';
import { Lookups, type LookupResult } from '../dns/lookup.ts';
import { isHostName } from '../dns/name.ts';
import { OwnEndpoints } from '../dns/own-endpoints.ts';
import { resolveReach, type ResolvedReach } from '../dns/reach.ts';
import { RESOLV_CONF, resolvConfChange, resolvConfChangeId, type ResolvConfPlace } from '../dns/resolv-conf-claim.ts';
import { Responder } from '../dns/responder.ts';
import { runSelfTest, selfTestAssignment, selfTestName } from '../dns/self-test.ts';
import { DnsServer, type DnsServerLimits } from '../dns/server.ts';
import { Upstreams, type UpstreamServer, type UpstreamTimings } from '../dns/upstreams.ts';
import { AssignedResolver, type NameAssignment, type NameMatcher } from './assigned.ts';
import { HostsResolver } from './hosts.ts';
import { SystemServers } from './system.ts';
import { UpstreamResolver } from './upstream.ts';

const HOSTS = '/etc/hosts';
/** Priorities of the built-in resolvers; see ResolverDefinition. */
const PRIORITY = { assigned: 500, hosts: 400, upstream: 100 } as const;
/** Seconds that an address literal holds. */
const LITERAL_TTL = 86_400;

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
  /** Resolvers of plugins, asked by priority among the built-in ones; `close` is called by `stop`. */
  readonly resolvers?: ReadonlyArray<{ readonly priority: number; readonly resolver: Resolver }>;
  readonly hostsPath?: string;
  readonly resolvConfPath?: string;
  readonly serverLimits?: Partial<DnsServerLimits>;
  readonly upstreamTimings?: Partial<UpstreamTimings>;
}

function isPlain(source: UpstreamConfiguration): source is UpstreamConfiguration & UpstreamServer {
  return source.protocol === 'udp' || source.protocol === 'tcp';
}

export type SelfTestState = 'passed' | 'failed' | 'off';

/** The resolver's part of a StatusReport. */
export interface NameServiceStatus {
  readonly listen: readonly string[];
  /** `resolv-conf` or `none`. */
  readonly reach: string;
  /** Why that reach. */
  readonly reachReason: string;
  readonly upstreams: readonly Endpoint[];
  readonly names: number;
  readonly selfTest: SelfTestState;
  readonly selfTestReason?: string;
  readonly counters: Readonly<Record<string, number>>;
}

export class NameService {
  readonly #options: NameServiceOptions;
  readonly #place: Required<ResolvConfPlace>;
  readonly #counters: DnsCounters = createDnsCounters();
  readonly #pool: AddressPool;
  readonly #assigned: AssignedResolver;
  readonly #hosts: HostsResolver;
  readonly #system: SystemServers;
  readonly #upstreams: Upstreams;
  readonly #lookups: Lookups;
  readonly #server: DnsServer;
  #own = new OwnEndpoints([]);
  #reach: ResolvedReach = { kind: 'none', reason: 'the host was not pointed at Weir' };
  #selfTest: { readonly state: SelfTestState; readonly reason?: string } = { state: 'off' };

  constructor(options: NameServiceOptions) {
    this.#options = options;
    const { resolver, owner, stateDirectory, mark, log } = options;
    const counters = this.#counters;
    this.#place = { owner, stateDirectory, path: options.resolvConfPath ?? RESOLV_CONF };
    this.#pool = new AddressPool({ ranges: resolver.ranges, families: options.families, names: options.limits.names });
    const { matcher, onAssign } = options;
    this.#assigned = new AssignedResolver({ matcher, pool: this.#pool, counters, onAssign });
    this.#hosts = new HostsResolver(options.hostsPath ?? HOSTS, counters);
    this.#system = new SystemServers(this.#place);
    this.#upstreams = new Upstreams({
      servers: () => this.#servers(),
      mark,
      isOwn: (endpoint) => this.#own.has(endpoint),
      counters,
      ...(options.upstreamTimings ? { timings: options.upstreamTimings } : {}),
    });
    this.#lookups = new Lookups({ upstreams: this.#upstreams, counters });
    const upstream = new UpstreamResolver({ upstreams: this.#upstreams, counters, log });
    const chain = [
      { priority: PRIORITY.assigned, resolver: this.#assigned },
      { priority: PRIORITY.hosts, resolver: this.#hosts },
      { priority: PRIORITY.upstream, resolver: upstream },
      ...(options.resolvers ?? []),
    ];
    const responder = new Responder({
      resolvers: chain.toSorted((a, b) => b.priority - a.priority).map((one) => one.resolver),
      unanswerable: resolver.unanswerable,
      counters,
      log,
    });
    this.#server = new DnsServer({
      listen: resolver.listen,
      mark,
      counters,
      respond: (message, transport, signal) => responder.respond(message, transport, signal),
      ...(options.serverLimits ? { limits: options.serverLimits } : {}),
    });
  }

  /**
   * Gives the configured names their addresses, announces them, and listens.
   * @throws ResolveError when the ranges are too small; WeirError WEIR_LISTEN or NotPermittedError when a listener
   * cannot be opened; LoopError when an upstream is one of them. Nothing stays open then.
   */
  async start(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await this.#assignAll(this.#options.configuredNames);
    await this.#server.start();
    this.#own = new OwnEndpoints(this.#server.listening);
    try {
      for (const source of this.#options.resolver.upstreams) {
        if (source === 'system' || !isPlain(source) || !this.#own.has(source.endpoint)) continue;
        throw new LoopError({
          problem: `The upstream ${formatListen(source)} is one of Weir's own listeners.`,
          remedy: 'Name another server in resolver.upstreams, or another address in resolver.listen.',
        });
      }
      signal.throwIfAborted();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Where the server listens; port 0 replaced by what the kernel chose. */
  get listening(): readonly DnsListen[] {
    return this.#server.listening;
  }

  /**
   * Points the host's own resolver at Weir, as `resolver.reach` says, as one change of the host.
   * @throws ConfigurationError, WeirError WEIR_RESOLV_CONF, HostChangeError; the host is as it was then.
   */
  async claimSystem(signal: AbortSignal): Promise<ResolvedReach> {
    signal.throwIfAborted();
    const { resolver, host, log, owner } = this.#options;
    const { path } = this.#place;
    const reach = resolveReach({ reach: resolver.reach, listening: this.listening, owner, resolvConfPath: path });
    if (reach.kind === 'resolv-conf') {
      // The servers that the host asks now are the upstreams from here on; they must be known before it asks Weir.
      this.#system.current();
      const report = (line: string): void => log.warn({ path }, line);
      await host.change(resolvConfChange({ ...this.#place, nameservers: reach.nameservers, report }));
    }
    this.#reach = reach;
    log.info({ reach: reach.kind, reason: reach.reason }, 'resolver reach');
    return reach;
  }

  /** Gives the host its resolver configuration back. Idempotent. */
  async releaseSystem(): Promise<void> {
    if (this.#reach.kind === 'none') return;
    await this.#options.host.undo(resolvConfChangeId(this.#place.path));
    this.#reach = { kind: 'none', reason: 'given back' };
  }

  /**
   * Asks for a name that only Weir knows: at each listener and, after `claimSystem`, as other programs do.
   * @throws SelfTestError within two seconds; what that means (`resolver.test`) is the caller's to decide.
   */
  async selfTest(signal: AbortSignal): Promise<void> {
    const expected = selfTestAssignment(selfTestName(), this.#options.resolver.ranges, this.#options.families);
    const forget = this.#assigned.addProbe(expected);
    try {
      if (expected.ipv4 === undefined && expected.ipv6 === undefined) {
        throw new SelfTestError({
          problem: 'The resolver has no range of a family that this host speaks, so that no name gets an address.',
          remedy: 'Add a prefix of that family to resolver.ranges.',
        });
      }
      await runSelfTest({
        expected,
        listening: this.listening,
        resolvConfPath: this.#reach.kind === 'resolv-conf' ? this.#place.path : undefined,
        mark: this.#options.mark,
        signal,
      });
      this.#selfTest = { state: 'passed' };
    } catch (error) {
      this.#selfTest = { state: 'failed', reason: error instanceof WeirError ? error.problem : String(error) };
      throw error;
    } finally {
      forget();
    }
  }

  /**
   * Takes the names of a new configuration. Names that no longer match are not answered any more and keep their
   * addresses; new configured names have theirs, announced, when this resolves.
   * @throws ResolveError when there are not enough addresses; the new matcher holds all the same.
   */
  async replaceMatcher(matcher: NameMatcher, configuredNames: readonly string[]): Promise<void> {
    this.#assigned.replace(matcher);
    await this.#assignAll(configuredNames);
  }

  /**
   * The real addresses of a name: from the hosts file, else through upstreams; never from Weir's own zone.
   * @param name a host name in any case, with or without trailing dot, or an address literal.
   * @throws ResolveError when nobody can say; the signal's reason when it is aborted.
   */
  async lookup(name: string, family: Family, { signal }: { readonly signal: AbortSignal }): Promise<LookupResult> {
    if (isAddress(name)) {
      const addresses = familyOf(name) === family ? [bytesToAddress(addressToBytes(name))] : [];
      return { addresses, ttl: LITERAL_TTL };
    }
    const wanted = name.toLowerCase().replace(/\.$/, '');
    if (!isHostName(wanted)) {
      throw new ResolveError('FORMERR', { problem: `"${name}" is not a host name.`, remedy: 'Correct it.' });
    }
    const known = this.#hosts.lookup(wanted, family);
    // The file can change at any time, so its answer holds for this once.
    if (known !== undefined) return { addresses: known, ttl: 0 };
    return this.#lookups.lookup(wanted, family, signal);
  }

  /** The name an address was given to, and the pattern it falls under now: -1 when no service wants it any more. */
  nameOf(address: string): { readonly name: string; readonly patternIndex: number } | undefined {
    const name = this.#pool.nameOf(address);
    return name === undefined ? undefined : { name, patternIndex: this.#assigned.patternOf(name) };
  }

  /** Gives a name its addresses and announces them, as a query for it would. @throws ResolveError SERVFAIL. */
  assign(name: string): Promise<Assignment> {
    return this.#assigned.assign(name);
  }

  /** All names that have addresses. */
  assignments(): readonly NameAssignment[] {
    return [...this.#pool.assignments()].map((one) => ({ ...one, patternIndex: this.#assigned.patternOf(one.name) }));
  }

  counters(): Readonly<Record<string, number>> {
    return { ...this.#counters };
  }

  status(): NameServiceStatus {
    const { state, reason } = this.#selfTest;
    return {
      listen: this.listening.map(formatListen),
      reach: this.#reach.kind,
      reachReason: this.#reach.reason,
      upstreams: this.#upstreams.servers.map((server) => server.endpoint),
      names: this.#pool.size,
      selfTest: state,
      ...(reason === undefined ? {} : { selfTestReason: reason }),
      counters: this.counters(),
    };
  }

  /** Closes the listeners and gives up on what is being answered. Idempotent; the host is not touched. */
  async stop(): Promise<void> {
    await this.#server.close();
    for (const { resolver } of this.#options.resolvers ?? []) await resolver.close?.();
  }

  #servers(): readonly UpstreamServer[] {
    const servers = this.#options.resolver.upstreams.flatMap((source): readonly UpstreamServer[] =>
      source === 'system' ? this.#system.current() : isPlain(source) ? [source] : [],
    );
    const byName = new Map(servers.map((server) => [`${server.protocol} ${formatEndpoint(server.endpoint)}`, server]));
    return [...byName.values()];
  }

  async #assignAll(names: readonly string[]): Promise<void> {
    // Sorted, so that hosts with the same configuration agree also where two names fall on one address.
    for (const name of [...new Set(names)].toSorted()) await this.#assigned.assign(name);
  }
}
