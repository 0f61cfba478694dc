/** The parts of one run, put together in order and taken apart in reverse. `Weir` in engine.ts is its public face. */
import { join } from 'node:path';
import { SelectionError, UnsupportedError, WeirError } from '../api/errors.ts';
import type { Family } from '../api/flow.ts';
import type { Interceptor, InterceptorDefinition } from '../api/interceptor.ts';
import type { Logger } from '../api/logger.ts';
import type { Configuration } from '../config/model.ts';
import { DataPlane } from '../dataplane/data-plane.ts';
import { RESOLVED_UPLINKS } from '../dns/resolved.ts';
import { RESOLV_CONF } from '../dns/resolv-conf-claim.ts';
import { HostChangeJournal } from '../host/change.ts';
import type { Keeper } from '../host/keeper.ts';
import { claimNumbers, type ClaimedNumbers } from '../host/numbers.ts';
import { loadPlugins } from '../registry/load.ts';
import type { Registry } from '../registry/registry.ts';
import type { NameService } from '../resolvers/name-service.ts';
import { mayMark } from '../sys/sockets.ts';
import { CanaryWatch } from './canary.ts';
import { canariesFor, commonNames, type CapturePlan } from './capture-plan.ts';
import { removeFormerRun } from './cleanup.ts';
import { startCrashKeeper } from './crash-keeper.ts';
import { DialPlans } from './dial-plans.ts';
import { DriftWatch } from './drift-watch.ts';
import type { Events } from './events.ts';
import { FlowLog } from './flow-log.ts';
import { HostWatch } from './host-watch.ts';
import { InterceptorTrial } from './interceptor-trial.ts';
import { NameBinding } from './name-binding.ts';
import { makeNameService } from './run-names.ts';
import { recordPlugins } from './run-plugins.ts';
import { pointHost } from './point-host.ts';
import { servedNames, servedQuery } from './served-names.ts';
import { capturesNames, difference, exactNames, fixedKeys } from './reload-scope.ts';
import type { ReloadReport, SelectionReport, ServedName, ServedQuery, StatusReport } from './report.ts';
import { candidatesOf, select, unsuitable } from './selection.ts';
import { serviceListeners } from './service-listeners.ts';
import { statusOf } from './status.ts';
import { lookAtHost, RESOLVER_TEXT, Steering } from './steering.ts';
import { StreamFlows } from './stream-flows.ts';
import { workerProcessors } from './worker-placement.ts';

/** What is there once a start has come so far that it can be changed. */
interface Started {
  readonly dialPlans: DialPlans;
  readonly names: NameService;
  readonly plan: CapturePlan;
  readonly interceptor: Interceptor;
  readonly definition: InterceptorDefinition<never>;
}

/** Runs a change when no other one is under way: reloads, drains and looks at the host never overlap. */
export type Exclusively = <T>(change: () => Promise<T>) => Promise<T>;

export interface RunContext {
  /** The owner's state directory. */
  readonly directory: string;
  readonly log: Logger;
  /** The run cannot go on. */
  readonly fatal: (error: Error) => void;
  readonly exclusively: Exclusively;
  readonly events: Events;
}

export class Run {
  readonly flowLog: FlowLog;
  readonly #directory: string;
  readonly #log: Logger;
  readonly #fatal: (error: Error) => void;
  readonly #exclusively: Exclusively;
  readonly #events: Events;
  readonly #journal: HostChangeJournal;
  readonly #numbers: ClaimedNumbers;
  readonly #binding: NameBinding;
  readonly #steering: Steering;
  readonly #canaryWatch = new CanaryWatch();
  readonly #abort = new AbortController();
  readonly #startedAt = Date.now();
  readonly dataPlane: DataPlane;
  /** fwmark of all our sockets; 0 where this process may not set any, and then nothing can be captured. */
  readonly #mark: number;
  #configuration: Configuration;
  #registry: Registry | undefined;
  #dialPlans: DialPlans | undefined;
  #streams: StreamFlows | undefined;
  #keeper: Keeper | undefined;
  #names: NameService | undefined;
  #namesListening = false;
  #interceptor: Interceptor | undefined;
  #definition: InterceptorDefinition<never> | undefined;
  #selection: SelectionReport = { entries: [], transparent: false };
  #drift: DriftWatch | undefined;
  #watch: HostWatch | undefined;
  /** How often what is captured has followed a change of the host. */
  #followed = 0;
  #draining = false;
  #hurry = false;

  constructor(configuration: Configuration, { directory, log, fatal, exclusively, events }: RunContext) {
    this.#configuration = configuration;
    this.#directory = directory;
    this.#log = log;
    this.#fatal = fatal;
    this.#exclusively = exclusively;
    this.#events = events;
    this.flowLog = new FlowLog(log, events, configuration.log.flows, () => this.dataPlane);
    this.#journal = new HostChangeJournal(join(directory, 'journal'), log);
    this.#numbers = claimNumbers(configuration.owner, configuration.capture);
    const { bypassMark } = this.#numbers.numbers;
    this.#mark = mayMark(bypassMark) ? bypassMark : 0;
    this.#binding = new NameBinding(configuration.limits.names, {
      realAddresses: configuration.limits.realAddresses,
      onReplaced: () => this.#steering.refreshNames(),
    });
    this.dataPlane = new DataPlane(
      {
        workers: configuration.workers,
        processors: workerProcessors(configuration.workerCpus),
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
        ended: (record) => {
          if (record.service === RESOLVER_TEXT) return;
          if (record.name !== undefined) this.#names?.touch(record.name);
          this.flowLog.ended(record);
        },
        serviceName: (id) => this.#steering.serviceTexts.get(id),
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
    this.#steering = new Steering(
      {
        dataPlane: this.dataPlane,
        numbers: this.#numbers.numbers,
        binding: this.#binding,
        signal: this.#abort.signal,
      },
      lookAtHost(configuration.capture),
    );
  }

  get configuration(): Configuration {
    return this.#configuration;
  }

  get #families(): readonly Family[] {
    return this.#steering.facts.ipv6 ? [4, 6] : [4];
  }

  /** Starts all parts; the caller calls `stop` when it throws. */
  async start(signal: AbortSignal): Promise<void> {
    const configuration = this.#configuration;
    const { numbers } = this.#numbers;
    const workers = this.dataPlane.start();
    // Not awaited yet: threads start while packages load. A failure must not be an unhandled one.
    workers.catch(() => undefined);
    this.#registry = await loadPlugins(configuration.plugins);
    const transparent = candidatesOf(configuration, this.#registry.interceptors()).some(
      ({ capabilities }) => capabilities.transparent,
    );
    // Who may not set a mark may not change routes or rules either, so that a run before could not have.
    if (this.#mark !== 0) await removeFormerRun(configuration.owner, this.#directory, this.#log);
    recordPlugins(this.#directory, configuration.plugins);
    signal.throwIfAborted();
    if (transparent && this.#mark !== 0 && configuration.capture.onCrash === 'open') {
      this.#keeper = await startCrashKeeper(configuration.owner, this.#directory);
    }

    this.#dialPlans = new DialPlans(this.#registry.dialerTypes, this.#log, this.#mark, (service, steps) =>
      this.dataPlane.setPlan(service, steps),
    );
    this.#streams = new StreamFlows(this.#dialPlans, () => this.#configuration.timeouts, this.#log);
    this.#dialPlans.configure(configuration.dialers);
    const canaries = canariesFor(configuration, this.#steering.facts, numbers.slot);
    const plan = this.#steering.compile(configuration, canaries);
    await workers;
    await this.#steering.install(plan, this.#dialPlans);
    signal.throwIfAborted();

    const trial = new InterceptorTrial({
      owner: configuration.owner,
      numbers,
      journal: this.#journal,
      dataPlane: this.dataPlane,
      canaryWatch: this.#canaryWatch,
      canaries,
      marked: this.#mark !== 0,
      listeners: serviceListeners(configuration, this.#steering.serviceNumbers),
      options: configuration.interceptors,
      planInput: (points) => this.#steering.planInput(plan, points),
      log: this.#log,
      signal,
      fatal: this.#fatal,
    });
    const selected = await select(configuration, this.#registry.interceptors(), trial, this.#log, signal);
    this.#steering.adopt(selected);
    this.#interceptor = selected.interceptor;
    this.#definition = selected.definition;
    this.#names = this.#makeNameService(plan, selected.definition);
    this.#selection = selected.report;
    this.#events.emit('selection', selected.report);
    // Listeners are all there is then: no keeper has anything to put back.
    if (!selected.report.transparent) await this.#keeper?.dismiss();
    if (canaries.length > 0) await this.#steering.change(this.#steering.compile(configuration, []));
    signal.throwIfAborted();
    // Names that keep their real addresses change what is steered as soon as they are answered.
    await this.#exclusively(() => this.#startNames(signal));
    this.#drift = new DriftWatch({
      subjects: [selected.interceptor, this.#names.claim],
      policy: configuration.capture.onDrift,
      log: this.#log,
      told: (event) => this.#events.emit('drift', event),
      fatal: this.#fatal,
    });
    this.flowLog.watch();
    const look = (stop: AbortSignal): Promise<void> => this.#exclusively(() => this.#look(stop));
    this.#watch = new HostWatch({ look, log: this.#log, files: [RESOLV_CONF, RESOLVED_UPLINKS] });
    this.#watch.start();
  }

  async reload(next: Configuration): Promise<ReloadReport> {
    const { definition, dialPlans, names, plan: before } = this.#running();
    const fixed = fixedKeys(this.#configuration, next);
    const configuration: Configuration = { ...next, ...fixed.kept };
    if (fixed.changed.length > 0) {
      this.#log.warn({ keys: fixed.changed }, 'these keys changed and take effect at the next start');
    }
    if (this.#steering.serviceNumbers.next + configuration.services.length > this.dataPlane.serviceCapacity) {
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
    const factsBefore = this.#steering.facts;
    this.#steering.learn(lookAtHost(configuration.capture));
    const plan = this.#steering.compile(configuration, []);
    const exact = exactNames(configuration);
    // Remove: names stop first. Add: names answer last. Names in both are answered all the time.
    await names.replaceMatcher(commonNames(before.names, plan.names));
    this.#configuration = configuration;
    try {
      await this.#steering.change(plan);
    } catch (error) {
      this.#steering.learn(factsBefore);
      this.#binding.rematch((name) => before.names.match(name));
      await names.replaceMatcher(before.names, exactNames(before.configuration));
      this.#configuration = before.configuration;
      throw error;
    }
    this.#binding.rematch((name) => plan.names.match(name));
    await names.replaceMatcher(plan.names, exact);
    if (capturesNames(configuration)) await this.#startNames(this.#abort.signal);
    this.flowLog.lines = configuration.log.flows;
    for (const id of before.services.keys()) if (!plan.services.has(id)) dialPlans.forget(id);
    return { ...difference(before.configuration, configuration), generation: plan.set.generation };
  }

  /** Stops steering and waits for living flows. Returns how many are left. */
  async drain(): Promise<number> {
    this.#running();
    this.#draining = true;
    // What a drain takes away is no drift.
    this.#watch?.close();
    await this.#names?.releaseSystem();
    await this.#steering.end(this.#abort.signal);
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
    await attempt(() => this.#watch?.stop());
    await attempt(() => this.#names?.releaseSystem());
    await attempt(() => this.#names?.stop());
    if (!this.#draining) await attempt(() => this.#steering.end(new AbortController().signal));
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
    this.flowLog.close();
    await attempt(() => this.#dialPlans?.close());
    await attempt(() => this.#journal.undoAll());
    await attempt(() => this.#keeper?.dismiss());
    this.#numbers.release();
    const [first] = failures;
    if (first !== undefined) throw first;
  }

  servedNames(limit: number): readonly ServedName[] {
    return servedNames(this.#names, this.#steering.plan, limit);
  }

  query(name: string, type: string): Promise<ServedQuery> {
    const { names, plan } = this.#running();
    return servedQuery(names, plan, this.#namesListening, name, type);
  }

  status(): Omit<StatusReport, 'state'> {
    return statusOf({
      configuration: this.#configuration,
      startedAt: this.#startedAt,
      generation: this.#steering.plan?.set.generation ?? 0,
      selection: this.#selection,
      dataPlane: this.dataPlane,
      interceptorCounters: this.#interceptor?.counters?.() ?? {},
      plan: this.#steering.plan,
      serviceTexts: this.#steering.serviceTexts,
      names: this.#names?.status(),
      hostSteps: this.#journal.steps,
      drift: this.#drift?.report() ?? { found: 0, repaired: 0, last: [] },
      hostChanges: this.#followed,
    });
  }

  #running(): Started {
    const [dialPlans, names, plan] = [this.#dialPlans, this.#names, this.#steering.plan];
    const [interceptor, definition] = [this.#interceptor, this.#definition];
    if (!dialPlans || !names || !plan || !interceptor || !definition) {
      throw new SelectionError({ problem: 'Weir has not started.', remedy: 'Wait until it is ready.' });
    }
    return { dialPlans, names, plan, interceptor, definition };
  }

  /** What changed at the host is followed before drift is looked for: it may be the reason of it. */
  async #look(signal: AbortSignal): Promise<void> {
    if (this.#draining || signal.aborted) return;
    const changes = await this.#steering.follow(this.#configuration);
    if (changes.length > 0) {
      this.#followed++;
      this.#log.info({ changes }, 'the host has changed, and what is captured with it');
      this.#events.emit('host-changed', changes);
    }
    await this.#names?.claim.follow();
    await this.#drift?.look(signal);
  }

  #makeNameService(plan: CapturePlan, interceptor: InterceptorDefinition<never>): NameService {
    // A name must not get an address of a family that nothing captures.
    const captured = this.#families.filter((family) =>
      interceptor.capabilities.networks.some((one) => one.family === family),
    );
    return makeNameService({
      plan,
      families: captured,
      interceptor,
      mark: this.#mark,
      directory: this.#directory,
      log: this.#log,
      host: this.#journal,
      binding: this.#binding,
      steering: this.#steering,
      exclusively: this.#exclusively,
      dataPlane: this.dataPlane,
      dialer: (name) => this.#dialPlans?.dialer(name),
      resolvers: this.#registry?.resolvers() ?? [],
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
    await pointHost(names, configuration.resolver.test, this.#log, signal);
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
