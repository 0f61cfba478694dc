/**
 * What a run captures: compiled from the configuration and the host as it is, in the tables of the workers and in the
 * kernel. All three change together, in the order that loses no flow.
 */
import { RESOLVER_SERVICES, type Canary } from '../api/capture.ts';
import { SelectionError } from '../api/errors.ts';
import type { HostFacts, HostNumbers } from '../api/host.ts';
import type { Interceptor, InterceptorDefinition, PlanInput } from '../api/interceptor.ts';
import type { BoundPoint } from '../api/point.ts';
import { addressToNumber, familyOf, parsePrefix, prefixContains } from '../capture/address.ts';
import { buildLookupTable, type LookupTableData } from '../capture/index.ts';
import type { CaptureConfiguration, Configuration } from '../config/model.ts';
import type { DataPlane } from '../dataplane/data-plane.ts';
import type { DialStep, TableMessage } from '../dataplane/messages.ts';
import { controlGroups } from '../host/control-groups.ts';
import { hostFacts } from '../host/facts.ts';
import { NO_SERVERS, resolversOf, type CapturedServers } from './captured-servers.ts';
import { factChanges } from './fact-changes.ts';
import { makeCapturePlan, ServiceNumbers, type CapturePlan } from './capture-plan.ts';
import { builtInStep, type DialPlans } from './dial-plans.ts';
import type { NameBinding } from './name-binding.ts';
import { serviceListeners } from './service-listeners.ts';

/** For how long a flow that only the last configuration wanted is dialled directly. Milliseconds. */
const RETIRING_GRACE = 60_000;

/** What stands in flow records for queries that were captured; no service can have that name. */
export const RESOLVER_TEXT = '(resolver)';

/** A real address of a name, and the name's index. */
export interface NamedRow {
  readonly address: string;
  readonly patternIndex: number;
}

export interface SteeringParts {
  readonly dataPlane: DataPlane;
  readonly numbers: HostNumbers;
  readonly binding: NameBinding;
  /** Ends updates of the kernel that are under way. */
  readonly signal: AbortSignal;
}

/** The interceptor that was selected. */
export interface Steerer {
  readonly interceptor: Interceptor;
  readonly definition: InterceptorDefinition<never>;
}

/** The host as it is now, with the control groups that are chosen by. @throws SystemCallError, NetlinkError. */
export function lookAtHost({ only, except }: Pick<CaptureConfiguration, 'only' | 'except'>): HostFacts {
  const paths = [...only, ...except].flatMap((owner) => (owner.kind === 'cgroup' ? [owner.path] : []));
  return { ...hostFacts(), ...(paths.length === 0 ? {} : { controlGroups: controlGroups([...new Set(paths)]) }) };
}

export class Steering {
  readonly serviceNumbers = new ServiceNumbers();
  /** Names of all services that this run has known. */
  readonly serviceTexts = new Map<number, string>();
  readonly #parts: SteeringParts;
  #facts: HostFacts;
  #dialPlans: DialPlans | undefined;
  #steerer: Steerer | undefined;
  #plan: CapturePlan | undefined;
  /** What the workers decide by: `#plan`, or the one that is about to become it. */
  #given: CapturePlan | undefined;
  readonly #lookups = new WeakMap<CapturePlan, LookupTableData>();
  /** How many rows for names all workers have. */
  #nameRows = 0;
  #generation = 0;
  #servers = NO_SERVERS;
  #named: readonly NamedRow[] = [];
  #ended = false;

  constructor(parts: SteeringParts, facts: HostFacts) {
    for (const id of Object.values(RESOLVER_SERVICES)) this.serviceTexts.set(id, RESOLVER_TEXT);
    this.#parts = parts;
    this.#facts = facts;
  }

  get facts(): HostFacts {
    return this.#facts;
  }

  /** What holds now; `undefined` before the first one was installed. */
  get plan(): CapturePlan | undefined {
    return this.#plan;
  }

  /** What the workers decide by; what holds, or is about to. */
  get given(): CapturePlan | undefined {
    return this.#given;
  }

  /** Compiles a configuration for the host as it was last looked at; nothing changes. */
  compile(configuration: Configuration, canaries: readonly Canary[]): CapturePlan {
    const plan = makeCapturePlan({
      configuration,
      facts: this.#facts,
      generation: ++this.#generation,
      numbers: this.serviceNumbers,
      canaries,
      resolvers: resolversOf(this.#servers),
      named: this.#named.filter(({ address }) => this.#mayBeNamed(configuration, address)),
      ...(this.#plan === undefined ? {} : { previous: this.#plan }),
      // Of the same configuration the names are the same, also those that were not foreseen.
      ...(this.#plan?.configuration === configuration ? { names: this.#plan.names } : {}),
    });
    for (const [id, name] of plan.serviceNames) this.serviceTexts.set(id, name);
    return plan;
  }

  /** Captures port 53 of these servers from now on, and of no others. When it throws, nothing has changed. */
  async captureServers(servers: CapturedServers, signal: AbortSignal): Promise<void> {
    const [plan, before] = [this.#plan, this.#servers];
    if (plan === undefined) return;
    this.#servers = servers;
    try {
      await this.change(this.compile(plan.configuration, []), signal);
    } catch (error) {
      this.#servers = before;
      throw error;
    }
  }

  /** Steers these addresses of names from now on, and no others. When it throws, nothing has changed. */
  async steerNamed(rows: readonly NamedRow[]): Promise<void> {
    const [plan, before] = [this.#plan, this.#named];
    if (plan === undefined || this.#ended || keyOf(rows) === keyOf(before)) return;
    this.#named = rows;
    try {
      await this.change(this.compile(plan.configuration, []));
    } catch (error) {
      this.#named = before;
      throw error;
    }
  }

  /** What an upstream says must not take this host's own traffic, nor what the configuration leaves out. */
  #mayBeNamed({ exclude, resolver }: Configuration, address: string): boolean {
    const [family, number] = [familyOf(address), addressToNumber(address)];
    const own = this.#facts.ownAddresses.map((text) => parsePrefix(text));
    return ![...exclude, ...resolver.ranges, ...own].some((prefix) => prefixContains(prefix, family, number));
  }

  /** Gives the first plan to the workers; no interceptor is there yet. */
  async install(plan: CapturePlan, dialPlans: DialPlans): Promise<void> {
    this.#dialPlans = dialPlans;
    await this.#install(plan, 0);
    this.#plan = plan;
  }

  /** From now on changes go to this interceptor too. It steers by the plan that holds. */
  adopt(steerer: Steerer): void {
    this.#steerer = steerer;
  }

  /** Whether the workers know how to decide about names of this index. */
  knowsPattern(index: number): boolean {
    return index < this.#nameRows;
  }

  /** Tells the workers about names that they do not know yet: another directory, or combinations of patterns. */
  async refreshNames(): Promise<void> {
    const plan = this.#given;
    if (plan === undefined) return;
    const lookup = this.#lookup(plan);
    const names = this.#parts.binding.data;
    await this.#parts.dataPlane.installNames({ generation: ++this.#generation, lookup, names });
    if (this.#given === plan) this.#nameRows = Math.max(this.#nameRows, lookup.namePorts4.length);
  }

  planInput(plan: CapturePlan, points: readonly BoundPoint[]): PlanInput {
    return {
      owner: plan.configuration.owner,
      set: plan.set,
      points,
      numbers: this.#parts.numbers,
      facts: this.#facts,
      onCrash: plan.configuration.capture.onCrash,
      serviceNames: plan.serviceNames,
    };
  }

  /** Table first, then the kernel: a flow that is steered must find its service. When it throws, nothing has changed. */
  async change(plan: CapturePlan, signal: AbortSignal = this.#parts.signal): Promise<void> {
    const [steerer, before] = [this.#steerer, this.#plan];
    if (!steerer || !before) {
      throw new SelectionError({ problem: 'Nothing is captured yet.', remedy: 'Wait until Weir is ready.' });
    }
    const { interceptor, definition } = steerer;
    const { dataPlane } = this.#parts;
    await this.#install(plan, RETIRING_GRACE);
    const pointsBefore = dataPlane.points;
    try {
      if (definition.capabilities.scopes.includes('explicit') && !this.#ended) {
        const listeners = serviceListeners(plan.configuration, this.serviceNumbers);
        await dataPlane.replacePoints(definition.points(this.#facts, listeners));
      }
      await interceptor.update(this.planInput(plan, dataPlane.points), signal);
    } catch (error) {
      if (dataPlane.points !== pointsBefore) await dataPlane.replacePoints(pointsBefore);
      await this.#install(before, 0);
      throw error;
    }
    this.#plan = plan;
  }

  /** Goes along with what has changed at the host. @returns the changes, in words; the old state holds when it throws. */
  async follow(configuration: Configuration): Promise<readonly string[]> {
    const [before, facts] = [this.#facts, lookAtHost(configuration.capture)];
    const changes = factChanges(before, facts);
    if (changes.length === 0) return changes;
    this.learn(facts);
    try {
      await this.change(this.compile(configuration, []));
    } catch (error) {
      this.learn(before);
      throw error;
    }
    return changes;
  }

  /** What the next plan is compiled for. */
  learn(facts: HostFacts): void {
    this.#facts = facts;
  }

  /** New flows go elsewhere from now on; where nothing is captured, they are refused. */
  async end(signal: AbortSignal): Promise<void> {
    this.#ended = true;
    const drained = await this.#steerer?.interceptor.drain(signal);
    this.#parts.dataPlane.drain(drained === 'dialled');
    if (this.#steerer?.definition.capabilities.scopes.includes('explicit')) {
      await this.#parts.dataPlane.replacePoints([]);
    }
  }

  async #install(plan: CapturePlan, graceMs: number): Promise<void> {
    this.#given = plan;
    const table = this.#table(plan, graceMs);
    await this.#parts.dataPlane.install(table);
    this.#nameRows = table.lookup.namePorts4.length;
  }

  /** The plan's table with all rows that names have by now. */
  #lookup(plan: CapturePlan): LookupTableData {
    const known = this.#lookups.get(plan) ?? plan.lookup;
    if (known.namePorts4.length >= plan.names.rows.length) return known;
    const lookup = buildLookupTable(plan.set, plan.names);
    this.#lookups.set(plan, lookup);
    return lookup;
  }

  #table(plan: CapturePlan, graceMs: number): TableMessage {
    const { unmatched, timeouts } = plan.configuration;
    const { binding } = this.#parts;
    const dialPlans = this.#dialPlans as DialPlans;
    return {
      type: 'table',
      // Of its own: names may be refreshed between the making of a plan and its installation.
      generation: ++this.#generation,
      lookup: this.#lookup(plan),
      names: binding.data,
      nameTexts: binding.texts,
      serviceNames: [...plan.serviceNames],
      dialers: dialPlans.handshakeDialers,
      plans: [
        ...[...plan.services].map(([id, service]) => [id, dialPlans.plan(id, service)] as const),
        ...resolverSteps(this.#servers),
      ],
      unmatched: [builtInStep(unmatched)],
      graceMs,
      timeouts,
    };
  }
}

/** What workers do with captured queries. */
function resolverSteps({ listeners }: CapturedServers): ReadonlyArray<readonly [number, readonly DialStep[]]> {
  return (['udp', 'tcp'] as const).flatMap((protocol) => {
    const listener = listeners[protocol];
    if (listener === undefined) return [];
    const step: DialStep = { kind: 'route', dialer: 0, host: listener.address, port: listener.port };
    return [[RESOLVER_SERVICES[protocol], [step]] as const];
  });
}

function keyOf(rows: readonly NamedRow[]): string {
  return rows
    .map(({ address, patternIndex }) => `${address} ${patternIndex}`)
    .toSorted()
    .join();
}
