/**
 * Names, as the engine sees them: the DNS server with its chain of resolvers, the addresses given to names, look-ups for
 * dials, and how the host's queries get here. It lives above `dns/` because it puts the resolvers together.
 *
 * Order of calls: constructor → start → (claimSystem) → (selfTest) → … → releaseSystem → stop. Everything but `start`
 * and `claimSystem` may be called at any time.
 */
import { ResolveError, SelfTestError, WeirError } from '../api/errors.ts';
import type { Family } from '../api/flow.ts';
import { addressToBytes, bytesToAddress, familyOf, isAddress } from '../capture/address.ts';
import type { DnsListen } from '../config/model.ts';
import type { Assignment } from '../dns/address-pool.ts';
import { createDnsCounters, type DnsCounters } from '../dns/counters.ts';
import { KnownAnswers } from '../dns/known-answers.ts';
import { formatListen } from '../dns/listen-failure.ts';
import type { Lookups, LookupResult } from '../dns/lookup.ts';
import { isTruncated } from '../dns/message.ts';
import { isHostName } from '../dns/name.ts';
import { OwnEndpoints } from '../dns/own-endpoints.ts';
import { QueryCounts } from '../dns/query-counts.ts';
import type { ResolvedReach } from '../dns/reach.ts';
import { RESOLV_CONF, type ResolvConfPlace } from '../dns/resolv-conf-claim.ts';
import { Responder, type AnsweredQuery } from '../dns/responder.ts';
import { runSelfTest, selfTestAssignment, selfTestName } from '../dns/self-test.ts';
import { DnsServer } from '../dns/server.ts';
import type { Upstreams } from '../dns/upstreams.ts';
import { AssignedResolver, type NameAssignment, type NameMatcher } from './assigned.ts';
import { chainOf, PRIORITY, type PluggedResolver } from './chain.ts';
import { DohCanaryResolver } from './doh-canary.ts';
import { HostsResolver } from './hosts.ts';
import type { NameServiceOptions } from './name-service-options.ts';
import type { NameReport, NameServiceStatus, QueryReport, SelfTestState } from './name-report.ts';
import { NameStore } from './name-store.ts';
import { reportQuery } from './query-report.ts';
import { RealNames } from './real-names.ts';
import { RealResolver } from './real.ts';
import { ReverseResolver } from './reverse.ts';
import { SystemClaim } from './system-claim.ts';
import { SystemServers } from './system.ts';
import { makeUpstreamLayer } from './upstream-layer.ts';
import type { UpstreamSources } from './upstream-sources.ts';
import type { UpstreamResolver } from './upstream.ts';

const HOSTS = '/etc/hosts';
/** Seconds that an address literal holds. */
const LITERAL_TTL = 86_400;
/** Milliseconds at most between two looks for names that nobody uses any more. */
const LONGEST_SWEEP = 60_000;

export class NameService {
  readonly #options: NameServiceOptions;
  readonly #place: Required<ResolvConfPlace>;
  readonly #counters: DnsCounters = createDnsCounters();
  readonly #counts = new QueryCounts();
  readonly #store: NameStore;
  readonly #assigned: AssignedResolver;
  readonly #known = new KnownAnswers();
  readonly #real: RealNames;
  readonly #hosts: HostsResolver;
  readonly #system: SystemServers;
  readonly #sources: UpstreamSources;
  readonly #upstreams: Upstreams;
  readonly #upstream: UpstreamResolver;
  readonly #lookups: Lookups;
  readonly #responder: Responder;
  readonly #server: DnsServer;
  /** How the host's queries get here; `claimSystem` begins it. */
  readonly claim: SystemClaim;
  #own = new OwnEndpoints([]);
  #selfTest: { readonly state: SelfTestState; readonly reason?: string } = { state: 'off' };
  #sweep: NodeJS.Timeout | undefined;
  #configuredNames: readonly string[];

  constructor(options: NameServiceOptions) {
    this.#options = options;
    this.#configuredNames = options.configuredNames;
    const { resolver, owner, stateDirectory, mark, log, families } = options;
    const counters = this.#counters;
    const ttl = Math.floor(resolver.ttl / 1000);
    this.#place = { owner, stateDirectory, path: options.resolvConfPath ?? RESOLV_CONF };
    const mapPath = resolver.map === 'state' ? options.nameMapPath : resolver.map;
    this.#store = new NameStore({
      ranges: resolver.ranges,
      families,
      names: options.limits.names,
      secret: resolver.secret,
      keepMs: resolver.keep,
      counters,
      log,
      ...(mapPath === undefined || mapPath === 'off'
        ? {}
        : { map: { path: mapPath, durable: resolver.map !== 'state' } }),
    });
    this.#assigned = new AssignedResolver({
      matcher: options.matcher,
      pool: this.#store.pool,
      counters,
      onAssign: options.onAssign,
      ttl,
      ...(options.resolvesUpstream ? { resolvesUpstream: options.resolvesUpstream } : {}),
    });
    this.#hosts = new HostsResolver(options.hostsPath ?? HOSTS, counters);
    this.#system = new SystemServers(this.#place);
    const layer = makeUpstreamLayer({
      resolver,
      system: () => this.#system.current(),
      hosts: (name, family) => this.#hosts.lookup(name, family),
      families,
      mark,
      isOwn: (endpoint) => this.#own.has(endpoint),
      counters,
      log,
      ...(options.dialer ? { dialer: options.dialer } : {}),
      ...(options.upstreamTimings ? { timings: options.upstreamTimings } : {}),
    });
    this.#sources = layer.sources;
    this.#upstreams = layer.upstreams;
    this.#lookups = layer.lookups;
    this.#upstream = layer.resolver;
    this.#real = new RealNames({
      families,
      addresses: options.real?.addresses ?? 0,
      names: options.limits.names,
      keepMs: resolver.keep,
      patternOf: (name) => this.#realPattern(name),
      lookup: (name, family, signal) => this.lookup(name, family, { signal }),
      steer: options.real?.steer ?? (() => Promise.resolve()),
      inUse: () => options.namesInUse?.() ?? [],
      destinations: options.real?.destinations ?? (() => new Set()),
      counters,
      log,
    });
    const keeps = (name: string): boolean => !this.#assigned.isProbe(name) && this.#realPattern(name) >= 0;
    const nameOf = (address: string): string | undefined => this.#store.pool.nameOf(address);
    const reverse = new ReverseResolver({ ranges: resolver.ranges, nameOf, ttl, counters });
    const builtIn: readonly PluggedResolver[] = [
      ...(resolver.dohCanary
        ? [{ id: 'doh-canary', priority: PRIORITY.dohCanary, resolver: new DohCanaryResolver(ttl) }]
        : []),
      { id: 'real', priority: PRIORITY.real, resolver: new RealResolver({ names: this.#real, keeps, counters, ttl }) },
      { id: 'assigned', priority: PRIORITY.assigned, resolver: this.#assigned },
      { id: 'reverse', priority: PRIORITY.reverse, resolver: reverse },
      { id: 'hosts', priority: PRIORITY.hosts, resolver: this.#hosts },
      { id: 'upstream', priority: PRIORITY.upstream, resolver: this.#upstream },
    ];
    const plugged = options.resolvers ?? [];
    // Somebody who is asked before Weir's own zone may know better each time.
    const atOnce = plugged.every(({ priority }) => priority <= PRIORITY.assigned);
    this.#responder = new Responder({
      resolvers: chainOf(builtIn, plugged),
      unanswerable: resolver.unanswerable,
      counters,
      counts: this.#counts,
      log,
      udpBytes: resolver.udpBytes,
      onAnswered: (answered) => this.#remember(answered),
    });
    this.claim = new SystemClaim({
      reach: resolver.reach,
      place: this.#place,
      host: options.host,
      log,
      names: () => this.#wanted(this.#configuredNames).flatMap((name) => this.#store.pool.get(name) ?? []),
      patterns: () => options.patterns?.() ?? this.#configuredNames,
      ...(options.capture ? { capture: options.capture } : {}),
    });
    this.#server = new DnsServer({
      listen: resolver.listen,
      mark,
      counters,
      respond: (message, transport, signal) => this.#responder.respond(message, transport, signal),
      ...(atOnce ? { respondAtOnce: (message: Buffer) => this.#atOnce(message) } : {}),
      ...(options.serverLimits ? { limits: options.serverLimits } : {}),
    });
  }

  /**
   * Gives the names their addresses, those of an earlier run first, announces them, and listens.
   * @throws ResolveError when the ranges are too small; WeirError WEIR_NAME_MAP; WeirError WEIR_LISTEN or
   * NotPermittedError when a listener cannot be opened; LoopError when an upstream is one of them. Nothing stays open
   * then.
   */
  async start(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    try {
      const { pool } = this.#store;
      pool.configure(this.#wanted(this.#options.configuredNames));
      for (const assignment of this.#store.open()) await this.#assigned.restore(assignment);
      await this.#assignAll(this.#options.configuredNames);
      await this.#server.start();
      this.#own = new OwnEndpoints(this.#server.listening);
      this.#sources.refuseOwn();
      signal.throwIfAborted();
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#real.start(this.#configuredNames);
    const interval = Math.min(LONGEST_SWEEP, Math.ceil(this.#options.resolver.keep / 4));
    this.#sweep = setInterval(() => this.sweep(), interval);
    this.#sweep.unref();
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
    // The servers that the host asks now are the upstreams from here on; they must be known before it asks Weir.
    return this.claim.claim(this.listening, (reach) => {
      this.#system.claimed(reach, this.listening);
      this.#system.current();
    });
  }

  /** Gives the host its resolver configuration back. Idempotent. */
  releaseSystem(): Promise<void> {
    return this.claim.release();
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
        resolvConfPath: this.#asksAsHost ? this.#place.path : undefined,
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
   * Takes the names of a new configuration; without `configuredNames` these stay what they were. Names that no longer match are not answered any more and keep their
   * addresses; new configured names have theirs, announced, when this resolves.
   * @throws ResolveError when there are not enough addresses; the new matcher holds all the same.
   */
  async replaceMatcher(matcher: NameMatcher, configuredNames?: readonly string[]): Promise<void> {
    this.#assigned.replace(matcher);
    this.#known.clear();
    if (configuredNames === undefined) return;
    this.#configuredNames = configuredNames;
    this.#store.pool.configure(this.#wanted(configuredNames));
    await this.#assignAll(configuredNames);
    this.#real.configure(configuredNames);
    await this.claim.update();
  }

  /** Takes the addresses back of names that nobody used for `resolver.keep`; also done by a timer. */
  sweep(): void {
    for (const name of this.#store.sweep(this.#options.namesInUse?.() ?? [])) {
      this.#known.forget(name);
      this.#assigned.forget(name);
      this.#options.onRelease?.(name);
    }
  }

  /** Notes that a flow used the name. */
  touch(name: string): void {
    this.#store.pool.touch(name);
    this.#real.touch(name);
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
    const name = this.#store.pool.nameOf(address);
    return name === undefined ? undefined : { name, patternIndex: this.#assigned.patternOf(name) };
  }

  /** Gives a name its addresses and announces them, as a query for it would. @throws ResolveError SERVFAIL. */
  assign(name: string): Promise<Assignment> {
    return this.#assigned.assign(name);
  }

  /** All names that have addresses. */
  assignments(): readonly NameAssignment[] {
    return [...this.#store.pool.assignments()].map(({ name, ipv4, ipv6, former }) => ({
      name,
      ...(ipv4 === undefined ? {} : { ipv4 }),
      ...(ipv6 === undefined ? {} : { ipv6 }),
      ...(former === undefined ? {} : { former }),
      patternIndex: this.#assigned.patternOf(name),
    }));
  }

  /** All names that have addresses, with what is known of them; sorted. */
  names(): readonly NameReport[] {
    const now = performance.now();
    const assigned = [...this.#store.pool.assignments()].map(({ usedAt, ...one }) => ({
      ...one,
      unusedMs: Math.round(now - usedAt),
      patternIndex: this.#assigned.patternOf(one.name),
    }));
    const real = this.#real.list().map(({ addresses, ...one }) => ({ ...one, displaced: false, real: addresses }));
    return [...assigned, ...real].toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  /**
   * What a client would be told. @param type a type as `AAAA` or `TYPE65`, in any case. Of an address its name is told.
   * @throws UsageError when the name or the type is none.
   */
  query(name: string, type: string, signal: AbortSignal): Promise<QueryReport> {
    return reportQuery(this.#responder, name, type, signal);
  }

  counters(): Readonly<Record<string, number>> {
    return { ...this.#counters };
  }

  status(): NameServiceStatus {
    const { state, reason } = this.#selfTest;
    return {
      listen: this.listening.map(formatListen),
      reach: this.claim.reach.kind,
      reachReason: this.claim.reach.reason,
      upstreams: this.#upstreams.servers.map((server) => server.endpoint),
      upstreamReports: this.#upstreams.reports(),
      names: this.#store.pool.size,
      realAddresses: this.#real.size,
      pool: this.#store.pool.use,
      ...(this.#store.mapPath === undefined ? {} : { map: this.#store.mapPath }),
      cache: this.#upstream.cached,
      queries: this.#counts.list(),
      selfTest: state,
      ...(reason === undefined ? {} : { selfTestReason: reason }),
      counters: this.counters(),
    };
  }

  /** Closes the listeners and gives up on what is being answered. Idempotent; the host is not touched. */
  async stop(): Promise<void> {
    clearInterval(this.#sweep);
    await this.#server.close();
    this.#real.stop();
    this.#upstreams.close();
    for (const { resolver } of this.#options.resolvers ?? []) await resolver.close?.();
    this.#store.close();
  }

  /** Whether a program of this host gets here by libc; where capture chooses processes, this one may not be among them. */
  get #asksAsHost(): boolean {
    const { kind } = this.claim.reach;
    if (kind === 'capture') return this.#options.capture?.everyone === true;
    return kind === 'resolv-conf' || kind === 'systemd-resolved';
  }

  /** Those that get addresses of the ranges: not what a service excludes, nor what keeps its own. */
  #wanted(names: readonly string[]): readonly string[] {
    return names.filter((name) => this.#assigned.patternOf(name) >= 0 && this.#realPattern(name) < 0);
  }

  /** The pattern of a name that keeps its real addresses; -1 for all others. */
  #realPattern(name: string): number {
    const { real } = this.#options;
    if (real === undefined) return -1;
    const pattern = this.#assigned.patternOf(name);
    return pattern >= 0 && real.keeps(pattern) ? pattern : -1;
  }

  async #assignAll(names: readonly string[]): Promise<void> {
    // Sorted, so that hosts with the same configuration agree also where two names fall on one address.
    for (const name of [...new Set(this.#wanted(names))].toSorted()) await this.#assigned.assign(name);
  }

  /** The common question: plain, and for a name that is known. */
  #atOnce(message: Buffer): Buffer | undefined {
    const answer = this.#known.find(message);
    if (answer === undefined) return undefined;
    const { name, count } = answer;
    this.#store.pool.touch(name);
    this.#counters.queriesUdp++;
    this.#counters.answeredAssigned++;
    this.#counters.responsesNoerror++;
    this.#counters[answer.type === 'A' ? 'queriesA' : answer.type === 'AAAA' ? 'queriesAaaa' : 'queriesOther']++;
    count.count++;
    return this.#known.response(message, answer);
  }

  #remember({ query, by, response }: AnsweredQuery): void {
    const { name, type } = query;
    if (by !== 'assigned' || isTruncated(response) || !this.#assigned.isAnnounced(name)) return;
    if (type !== 'A' && type !== 'AAAA') return;
    this.#known.put(query.raw, { name, type, bytes: response, count: this.#counts.of(type, 'NOERROR') });
  }
}
