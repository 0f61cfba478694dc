/** The parts of one run, put together in order and taken apart in reverse. `Weir` in engine.ts is its public face. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SelectionError, SelfTestError, UnsupportedError, WeirError } from '../api/errors.ts';
import type { Family } from '../api/flow.ts';
import type { HostFacts } from '../api/host.ts';
import type { Interceptor, InterceptorDefinition, PlanInput } from '../api/interceptor.ts';
import type { Logger } from '../api/logger.ts';
import type { BoundPoint } from '../api/point.ts';
import type { Configuration } from '../config/model.ts';
import { DataPlane } from '../dataplane/data-plane.ts';
import type { TableMessage } from '../dataplane/messages.ts';
import { HostChangeJournal } from '../host/change.ts';
import { hostFacts } from '../host/facts.ts';
import { startKeeper, type Keeper } from '../host/keeper.ts';
import { claimNumbers, type ClaimedNumbers } from '../host/numbers.ts';
import { loadPlugins } from '../registry/load.ts';
import type { Registry } from '../registry/registry.ts';
import { NameService } from '../resolvers/name-service.ts';
import { mayMark } from '../sys/sockets.ts';
import { CanaryWatch } from './canary.ts';
import { canariesFor, commonNames, makeCapturePlan, ServiceNumbers, type CapturePlan } from './capture-plan.ts';
import { removeLeftovers } from './cleanup.ts';
import { builtInStep, DialPlans } from './dial-plans.ts';
import { DriftWatch } from './drift-watch.ts';
import { FlowLog } from './flow-log.ts';
import { InterceptorTrial } from './interceptor-trial.ts';
import { NameBinding } from './name-binding.ts';
import { capturesNames, difference, exactNames, fixedKeys } from './reload-scope.ts';
import type { ReloadReport, SelectionReport, StatusReport } from './report.ts';
import { candidatesOf, select, unsuitable } from './selection.ts';
import { serviceListeners } from './service-listeners.ts';
import { statusOf } from './status.ts';
import { StreamFlows } from './stream-flows.ts';

/** For how long a flow that only the last configuration wanted is dialled directly. Milliseconds. */
const RETIRING_GRACE = 60_000;
const CLEANUP_PROCESS = new URL(`./cleanup-process.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url);

/** What is there once a start has come so far that it can be changed. */
interface Started {
  readonly dialPlans: DialPlans;
  readonly names: NameService;
  readonly plan: CapturePlan;
  readonly interceptor: Interceptor;
  readonly definition: InterceptorDefinition<never>;
}

export class Run {
  readonly flowLog: FlowLog;
  readonly #directory: string;
  readonly #log: Logger;
  readonly #fatal: (error: Error) => void;
  readonly #journal: HostChangeJournal;
  readonly #numbers: ClaimedNumbers;
  readonly #binding: NameBinding;
  readonly #serviceNumbers = new ServiceNumbers();
  readonly #serviceTexts = new Map<number, string>();
  readonly #canaryWatch = new CanaryWatch();
  readonly #abort = new AbortController();
  readonly #startedAt = Date.now();
  readonly dataPlane: DataPlane;
  /** fwmark of all our sockets; 0 where this process may not set any, and then nothing can be captured. */
  readonly #mark: number;
  #configuration: Configuration;
  #facts: HostFacts;
  #registry: Registry | undefined;
  #dialPlans: DialPlans | undefined;
  #streams: StreamFlows | undefined;
  #keeper: Keeper | undefined;
  #names: NameService | undefined;
  #namesListening = false;
  #interceptor: Interceptor | undefined;
  #definition: InterceptorDefinition<never> | undefined;
  #selection: SelectionReport = { entries: [], transparent: false };
  #plan: CapturePlan | undefined;
  #drift: DriftWatch | undefined;
  #generation = 0;
  #draining = false;
  #hurry = false;

  constructor(configuration: Configuration, directory: string, log: Logger, fatal: (error: Error) => void) {
    this.#configuration = configuration;
    this.#directory = directory;
    this.#log = log;
    this.#fatal = fatal;
    this.flowLog = new FlowLog(log, configuration.log.flows !== 'off');
    this.#journal = new HostChangeJournal(join(directory, 'journal'), log);
    this.#numbers = claimNumbers(configuration.owner, configuration.capture);
    const { bypassMark } = this.#numbers.numbers;
    this.#mark = mayMark(bypassMark) ? bypassMark : 0;
    this.#facts = hostFacts();
    this.#binding = new NameBinding(configuration.limits.names);
    this.dataPlane = new DataPlane(
      {
        workers: configuration.workers,
        mark: this.#mark,
        flowLimit: configuration.limits.flows,
        sessionLimit: configuration.limits.udpSessions,
        pendingDials: configuration.limits.pendingDials,
        services: configuration.services.length,
        timeouts: configuration.timeouts,
        log,
      },
      {
        resolve: (key) => this.#binding.resolve(key, this.#families, (name, family) => this.#lookUp(name, family)),
        findName: (address) => this.#findName(address),
        canary: (arrival) => this.#canaryWatch.arrived(arrival),
        ended: (record) => this.flowLog.ended(record),
        serviceName: (id) => this.#serviceTexts.get(id),
        nameText: (index) => this.#binding.textOf(index),
        dialerName: (index) => this.#dialPlans?.nameOf(index),
        interceptorName: () => this.#selection.selected ?? 'none',
        rebound: (points) => {
          this.#interceptor?.rebind?.(points).catch((error: unknown) => fatal(asError(error)));
        },
        fatal,
        stream: (flow) => this.#streams?.take(flow),
      },
    );
  }

  get configuration(): Configuration {
    return this.#configuration;
  }

  get #families(): readonly Family[] {
    return this.#facts.ipv6 ? [4, 6] : [4];
  }

  /** Starts all parts; the caller calls `stop` when it throws. */
  async start(signal: AbortSignal): Promise<void> {
    const configuration = this.#configuration;
    const { numbers } = this.#numbers;
    const workers = this.dataPlane.start();
    // Not awaited yet: threads start while packages load. A failure must not be an unhandled one.
    workers.catch(() => undefined);
    this.#registry = await loadPlugins(configuration.plugins);
    const built = this.#registry.interceptors().filter((definition) => definition.built !== false);
    const transparent = candidatesOf(configuration, this.#registry.interceptors()).some(
      ({ capabilities }) => capabilities.transparent,
    );
    // Who may not set a mark may not change routes or rules either, so that a run before could not have.
    if (this.#mark !== 0) {
      const removed = await removeLeftovers(configuration.owner, built, this.#log);
      if (removed.length > 0) this.#log.warn({ removed }, 'a run before this one had left something behind');
    }
    signal.throwIfAborted();
    if (transparent && this.#mark !== 0 && configuration.capture.onCrash === 'open') {
      const cleanUp = [...process.execArgv, fileURLToPath(CLEANUP_PROCESS), configuration.owner];
      this.#keeper = await startKeeper([process.execPath, ...cleanUp], this.#directory);
    }

    this.#dialPlans = new DialPlans(this.#registry.dialerTypes, this.#log, (service, steps) =>
      this.dataPlane.setPlan(service, steps),
    );
    this.#streams = new StreamFlows(this.#dialPlans, () => this.#configuration.timeouts, this.#log);
    this.#dialPlans.configure(configuration.dialers);
    const canaries = canariesFor(configuration, this.#facts, numbers.slot);
    const plan = this.#compile(configuration, canaries);
    this.#plan = plan;
    this.#names = this.#makeNameService(plan);
    await workers;
    await this.dataPlane.install(this.#table(plan, 0));
    signal.throwIfAborted();

    const trial = new InterceptorTrial({
      owner: configuration.owner,
      numbers,
      journal: this.#journal,
      dataPlane: this.dataPlane,
      canaryWatch: this.#canaryWatch,
      canaries,
      marked: this.#mark !== 0,
      listeners: serviceListeners(configuration, this.#serviceNumbers),
      options: configuration.interceptors,
      planInput: (points) => this.#planInput(plan, points),
      log: this.#log,
      signal,
      fatal: this.#fatal,
    });
    const selected = await select(configuration, this.#registry.interceptors(), trial, this.#log, signal);
    this.#interceptor = selected.interceptor;
    this.#definition = selected.definition;
    this.#selection = selected.report;
    // Listeners are all there is then: no keeper has anything to put back.
    if (!selected.report.transparent) await this.#keeper?.dismiss();
    if (canaries.length > 0) await this.#change(this.#compile(configuration, []));
    signal.throwIfAborted();
    await this.#startNames(signal);
    this.#drift = new DriftWatch({
      interceptor: selected.interceptor,
      policy: configuration.capture.onDrift,
      log: this.#log,
      fatal: this.#fatal,
    });
    this.#drift.start();
  }

  async reload(next: Configuration): Promise<ReloadReport> {
    const { definition, dialPlans, names, plan: before } = this.#running();
    const fixed = fixedKeys(this.#configuration, next);
    const configuration: Configuration = { ...next, ...fixed.kept };
    if (fixed.changed.length > 0) {
      this.#log.warn({ keys: fixed.changed }, 'these keys changed and take effect at the next start');
    }
    if (this.#serviceNumbers.next + configuration.services.length > this.dataPlane.serviceCapacity) {
      throw new UnsupportedError({
        problem: 'This run has no numbers left for so many new services.',
        remedy: 'Restart Weir.',
      });
    }
    const obstacle = unsuitable(definition, configuration);
    if (obstacle !== undefined) {
      throw new UnsupportedError({
        problem: `The interceptor ${definition.id} runs, and cannot run the new configuration: ${obstacle}.`,
        remedy: 'Mend the configuration, or restart Weir with another interceptor.',
      });
    }
    dialPlans.configure(configuration.dialers);
    this.#facts = hostFacts();
    const plan = this.#compile(configuration, []);
    const exact = exactNames(configuration);
    // Remove: names stop first. Add: names answer last. Names in both are answered all the time.
    await names.replaceMatcher(commonNames(before.names, plan.names), []);
    this.#configuration = configuration;
    try {
      await this.#change(plan);
    } catch (error) {
      await names.replaceMatcher(before.names, exactNames(before.configuration));
      this.#configuration = before.configuration;
      throw error;
    }
    this.#binding.rematch((name) => plan.names.match(name));
    await names.replaceMatcher(plan.names, exact);
    if (capturesNames(configuration)) await this.#startNames(this.#abort.signal);
    this.flowLog.enabled = configuration.log.flows !== 'off';
    for (const id of before.services.keys()) if (!plan.services.has(id)) dialPlans.forget(id);
    return { ...difference(before.configuration, configuration), generation: plan.set.generation };
  }

  /** Stops steering and waits for living flows. Returns how many are left. */
  async drain(): Promise<number> {
    this.#running();
    this.#draining = true;
    // What a drain takes away is no drift.
    await this.#drift?.stop();
    await this.#names?.releaseSystem();
    await this.#stopSteering(this.#abort.signal);
    return this.#drained(this.#configuration.timeouts.drain);
  }

  /** Ends the wait of a drain that is under way. */
  hurry(): void {
    this.#hurry = true;
  }

  /**
   * Takes everything apart that was put together, also after a failed start. Goes on after a failure and throws the
   * first one at the end.
   */
  async stop(options: { readonly now: boolean; readonly drainMs: number }): Promise<void> {
    const failures: unknown[] = [];
    const attempt = async (what: () => Promise<unknown> | undefined): Promise<void> => {
      try {
        await what();
      } catch (error) {
        failures.push(error);
      }
    };
    this.#abort.abort();
    await attempt(() => this.#drift?.stop());
    await attempt(() => this.#names?.releaseSystem());
    await attempt(() => this.#names?.stop());
    if (!this.#draining) await attempt(() => this.#stopSteering(new AbortController().signal));
    if (options.now) this.#hurry = true;
    const left = this.#interceptor === undefined ? 0 : await this.#drained(options.drainMs);
    if (left > 0) this.#log.warn({ flows: left }, 'flows were still open when the drain ended; they are reset');
    this.dataPlane.stopAccepting();
    this.dataPlane.resetAll('drained');
    await attempt(() => this.#streams?.close());
    // Flows first, rules last: the packets that end a flow must take the way the flow took.
    await attempt(() => this.dataPlane.drained(1000));
    await attempt(() => this.#interceptor?.stop());
    await attempt(() => this.dataPlane.stop());
    await attempt(() => this.#dialPlans?.close());
    await attempt(() => this.#journal.undoAll());
    await attempt(() => this.#keeper?.dismiss());
    this.#numbers.release();
    const [first] = failures;
    if (first !== undefined) throw first;
  }

  status(): Omit<StatusReport, 'state'> {
    return statusOf({
      configuration: this.#configuration,
      startedAt: this.#startedAt,
      generation: this.#plan?.set.generation ?? 0,
      selection: this.#selection,
      dataPlane: this.dataPlane,
      interceptorCounters: this.#interceptor?.counters?.() ?? {},
      plan: this.#plan,
      serviceTexts: this.#serviceTexts,
      names: this.#names?.status(),
      hostSteps: this.#journal.steps,
      drift: this.#drift?.report() ?? { repaired: 0, last: [] },
    });
  }

  #running(): Started {
    const [dialPlans, names, plan, interceptor] = [this.#dialPlans, this.#names, this.#plan, this.#interceptor];
    const definition = this.#definition;
    if (!dialPlans || !names || !plan || !interceptor || !definition) {
      throw new SelectionError({ problem: 'Weir has not started.', remedy: 'Wait until it is ready.' });
    }
    return { dialPlans, names, plan, interceptor, definition };
  }

  #compile(configuration: Configuration, canaries: CapturePlan['set']['canaries']): CapturePlan {
    const plan = makeCapturePlan({
      configuration,
      facts: this.#facts,
      generation: ++this.#generation,
      numbers: this.#serviceNumbers,
      canaries,
      ...(this.#plan === undefined ? {} : { previousNames: this.#plan.names }),
    });
    for (const [id, name] of plan.serviceNames) this.#serviceTexts.set(id, name);
    return plan;
  }

  /** Table first, then the kernel: a flow that is steered must find its service. */
  async #change(plan: CapturePlan): Promise<void> {
    const { interceptor, definition, plan: before } = this.#running();
    await this.dataPlane.install(this.#table(plan, RETIRING_GRACE));
    const pointsBefore = this.dataPlane.points;
    try {
      if (definition.capabilities.scopes.includes('explicit') && !this.#draining) {
        const listeners = serviceListeners(plan.configuration, this.#serviceNumbers);
        await this.dataPlane.replacePoints(definition.points(this.#facts, listeners));
      }
      const input = this.#planInput(plan, this.dataPlane.points);
      const update = (): Promise<void> => interceptor.update(input, this.#abort.signal);
      await (this.#drift === undefined ? update() : this.#drift.paused(update));
    } catch (error) {
      if (this.dataPlane.points !== pointsBefore) await this.dataPlane.replacePoints(pointsBefore);
      await this.dataPlane.install(
        this.#table({ ...before, set: { ...before.set, generation: ++this.#generation } }, 0),
      );
      throw error;
    }
    this.#plan = plan;
  }

  #table(plan: CapturePlan, graceMs: number): TableMessage {
    const { unmatched, timeouts } = plan.configuration;
    const dialPlans = this.#dialPlans as DialPlans;
    return {
      type: 'table',
      generation: plan.set.generation,
      lookup: plan.lookup,
      names: this.#binding.data,
      nameTexts: this.#binding.texts,
      serviceNames: [...plan.serviceNames],
      dialers: dialPlans.handshakeDialers,
      plans: [...plan.services].map(([id, service]) => [id, dialPlans.plan(id, service)] as const),
      unmatched: [builtInStep(unmatched)],
      graceMs,
      timeouts,
    };
  }

  #planInput(plan: CapturePlan, points: readonly BoundPoint[]): PlanInput {
    return {
      owner: plan.configuration.owner,
      set: plan.set,
      points,
      numbers: this.#numbers.numbers,
      facts: this.#facts,
      onCrash: plan.configuration.capture.onCrash,
      serviceNames: plan.serviceNames,
    };
  }

  #makeNameService(plan: CapturePlan): NameService {
    const { configuration } = plan;
    return new NameService({
      resolver: configuration.resolver,
      limits: configuration.limits,
      matcher: plan.names,
      configuredNames: exactNames(configuration),
      mark: this.#mark,
      families: this.#families,
      owner: configuration.owner,
      stateDirectory: this.#directory,
      log: this.#log,
      host: this.#journal,
      onAssign: (assignment) => this.#binding.enter(assignment),
    });
  }

  /** The DNS server runs only for configurations that capture names. */
  async #startNames(signal: AbortSignal): Promise<void> {
    const { names } = this.#running();
    const configuration = this.#configuration;
    // Without capture an assigned address leads nowhere.
    if (!this.#selection.transparent) return;
    if (this.#namesListening || !capturesNames(configuration)) return;
    await names.start(signal);
    this.#namesListening = true;
    await names.claimSystem(signal);
    if (configuration.resolver.test === 'off') return;
    try {
      await names.selfTest(signal);
    } catch (error) {
      if (!(error instanceof SelfTestError) || configuration.resolver.test === 'fatal') throw error;
      this.#log.warn({ reason: error.problem, remedy: error.remedy }, 'the resolver self-test failed');
    }
  }

  /** New flows go elsewhere from now on; where nothing is captured, they are refused. */
  async #stopSteering(signal: AbortSignal): Promise<void> {
    await this.#interceptor?.drain(signal);
    this.dataPlane.drain();
    if (this.#definition?.capabilities.scopes.includes('explicit')) await this.dataPlane.replacePoints([]);
  }

  async #drained(timeoutMs: number): Promise<number> {
    const deadline = Date.now() + timeoutMs;
    while (this.dataPlane.activeFlows > 0 && Date.now() < deadline && !this.#hurry) await this.dataPlane.drained(50);
    return this.dataPlane.activeFlows;
  }

  #lookUp(name: string, family: Family): ReturnType<NameService['lookup']> {
    const signal = AbortSignal.timeout(this.#configuration.timeouts.connect);
    return this.#running().names.lookup(name, family, { signal });
  }

  async #findName(address: string): Promise<boolean> {
    const known = this.#names?.nameOf(address);
    if (known === undefined) return false;
    await this.#names?.assign(known.name);
    return true;
  }
}

function asError(error: unknown): Error {
  if (error instanceof Error) return error;
  return new WeirError('WEIR_UNKNOWN', { problem: String(error), remedy: 'Report this.' });
}
