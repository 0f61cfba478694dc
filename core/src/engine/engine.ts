/**
 * A running Weir: everything from the lock to the last flow, in the order that design and docs/architecture.md give.
 *
 * Start: lock, leftovers, keeper, workers, provision, steering, canary, resolver, self-test, system resolver, admin, ready.
 * Stop: not ready, system resolver back, resolver, steering, flows until the deadline, interceptor, workers, journal.
 */
import { join } from 'node:path';
import { NotRunningError, UsageError, WeirError } from '../api/errors.ts';
import type { FlowRecord } from '../api/flow.ts';
import type { Logger } from '../api/logger.ts';
import { startAdminServer } from '../admin/server.ts';
import type { Configuration } from '../config/model.ts';
import { tryLock, readHolder, waitForLock, type HeldLock } from '../host/lock.ts';
import { makeStateDirectory, stateDirectory } from '../host/state-directory.ts';
import { createLogger } from '../observe/logger.ts';
import { alreadyRunning, removeStateFiles } from './cleanup.ts';
import { Events, type WeirEvents, type WeirListener, type WeirListeners } from './events.ts';
import type { AdminTarget, ReloadReport, ServedName, ServedQuery, StatusReport } from './report.ts';
import { Run } from './run.ts';

export interface StartOptions {
  /** Reads the configuration anew; what `reload` without an argument uses. */
  readonly reload?: () => Promise<Configuration>;
  readonly log?: Logger;
  /** An abort ends the start; everything is rolled back then. Once it has started, `stop` ends it. */
  readonly signal?: AbortSignal;
  /** Listeners that hear everything from the beginning; `on` of the instance adds others. */
  readonly on?: WeirListeners;
}

/** How long a keeper or clean-up of the same owner may still be at work when a new run starts. Milliseconds. */
const PREDECESSOR_TIMEOUT = 10_000;

type State = StatusReport['state'];

export class Weir implements AdminTarget, AsyncDisposable {
  readonly #run: Run;
  readonly #lock: HeldLock;
  readonly #directory: string;
  readonly #log: Logger;
  readonly #events: Events;
  readonly #reload: (() => Promise<Configuration>) | undefined;
  readonly #ended = Promise.withResolvers<{ readonly error?: Error }>();
  #admin: { close(): Promise<void> } | undefined;
  #state: State = 'starting';
  #stopping: Promise<void> | undefined;
  #changing: Promise<unknown> = Promise.resolve();
  #error: Error | undefined;

  private constructor(run: Run, lock: HeldLock, directory: string, log: Logger, events: Events, options: StartOptions) {
    this.#run = run;
    this.#lock = lock;
    this.#directory = directory;
    this.#log = log;
    this.#events = events;
    this.#reload = options.reload;
  }

  /**
   * Starts; resolves when traffic is captured and everything is ready.
   * @throws AlreadyRunningError, NoInterceptorError, NotPermittedError, SelfTestError and other WeirErrors. The host is
   * then as it was before.
   */
  static async start(configuration: Configuration, options: StartOptions = {}): Promise<Weir> {
    const log = options.log ?? createLogger(configuration.log);
    const events = new Events(log, options.on);
    const signal = options.signal ?? new AbortController().signal;
    const directory = stateDirectory(configuration.owner);
    makeStateDirectory(directory);
    const lock = await takeLock(configuration.owner, directory);
    let run: Run | undefined;
    let weir: Weir | undefined;
    try {
      run = new Run(configuration, {
        directory,
        log,
        fatal: (error) => {
          if (weir !== undefined) weir.#fail(error);
        },
        events,
        exclusively: (change) => (weir === undefined ? change() : weir.#exclusively(change)),
      });
      weir = new Weir(run, lock, directory, log, events, options);
      await run.start(signal);
      await weir.#openAdmin(configuration.admin);
      signal.throwIfAborted();
      weir.#state = 'running';
      events.emit('ready', weir.status());
      return weir;
    } catch (error) {
      try {
        if (weir !== undefined) await weir.#admin?.close();
        await run?.stop({ now: true, drainMs: 0 });
        removeStateFiles(directory);
      } finally {
        lock.release();
      }
      throw error;
    }
  }

  /** Resolves when it has stopped, with the error that made it stop, if any. */
  get stopped(): Promise<{ readonly error?: Error }> {
    return this.#ended.promise;
  }

  status(): StatusReport {
    return { ...this.#run.status(), state: this.#state };
  }

  flows(limit: number): readonly FlowRecord[] {
    return this.#run.dataPlane.flows(limit);
  }

  recentFlows(limit: number): readonly FlowRecord[] {
    this.#run.dataPlane.collectRecords();
    return this.#run.flowLog.recent(limit);
  }

  names(limit: number): readonly ServedName[] {
    return this.#run.servedNames(limit);
  }

  query(name: string, type: string): Promise<ServedQuery> {
    return this.#run.query(name, type);
  }

  /**
   * Hears an event from now on; `selection` and `ready` are over by now, see `StartOptions.on`. Listeners are called one
   * after the other and should return soon; one that throws is logged.
   * @returns removes the listener
   */
  on<Name extends keyof WeirEvents>(name: Name, listener: WeirListener<Name>): () => void {
    const off = this.#events.on(name, listener);
    if (name === 'flow-opened') this.#run.flowLog.watch();
    return off;
  }

  onFlowEnd(listener: (record: FlowRecord) => void): () => void {
    return this.on('flow-closed', listener);
  }

  /**
   * Takes a new configuration, or reads it again. Living flows go on. What cannot change while it runs keeps its old
   * value and is named in the log.
   * @throws ConfigurationError and others; the old state then holds.
   */
  reload(configuration?: Configuration): Promise<ReloadReport> {
    return this.#exclusively(async () => {
      const next = configuration ?? (await this.#readAgain());
      const report = await this.#run.reload(next);
      this.#log.info({ ...report }, 'configuration reloaded');
      this.#events.emit('reload', report);
      return report;
    });
  }

  /** Stops taking new flows and waits for the living ones, at most `timeouts.drain`. */
  drain(): Promise<{ readonly remaining: number }> {
    return this.#exclusively(async () => {
      this.#state = 'draining';
      this.#events.emit('draining', { flows: this.#run.dataPlane.activeFlows });
      return { remaining: await this.#run.drain() };
    });
  }

  /** Tests: the worker of that index throws as a bug would. */
  crashWorker(index: number): void {
    this.#run.dataPlane.crashWorker(index);
  }

  /**
   * Stops and puts the host back. `now` resets living flows at once instead of waiting for them; also when an orderly
   * stop is already under way.
   * @throws HostChangeError when something could not be put back; `stopped` resolves with the same error.
   */
  stop(options: { readonly now?: boolean } = {}): Promise<void> {
    if (options.now === true) this.#run.hurry();
    this.#stopping ??= this.#stop(options.now === true);
    return this.#stopping;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop({ now: true });
  }

  async #stop(now: boolean): Promise<void> {
    this.#state = 'stopping';
    this.#events.emit('stopping', { now, ...(this.#error === undefined ? {} : { error: this.#error }) });
    let failure: unknown;
    try {
      await this.#changing.catch(() => undefined);
      await this.#run.stop({ now, drainMs: this.#run.configuration.timeouts.drain });
    } catch (error) {
      failure = error;
    }
    await this.#admin?.close();
    if (failure === undefined) removeStateFiles(this.#directory);
    this.#lock.release();
    this.#state = this.#error === undefined && failure === undefined ? 'stopped' : 'failed';
    const error = this.#error ?? (failure instanceof Error ? failure : undefined);
    const ended = error === undefined ? {} : { error };
    this.#events.emit('stopped', ended);
    this.#ended.resolve(ended);
    if (failure !== undefined) throw failure;
  }

  /** The data plane or the interceptor cannot go on. */
  #fail(error: Error): void {
    if (this.#error !== undefined || this.#stopping !== undefined) return;
    this.#error = error;
    this.#log.error({ reason: error.message }, 'Weir cannot go on and stops');
    this.stop({ now: true }).catch((failure: unknown) => {
      this.#log.error({ reason: failure instanceof Error ? failure.message : String(failure) }, 'the stop failed');
    });
  }

  /** One change at a time: reloads, drains and the stop never overlap. */
  #exclusively<T>(change: () => Promise<T>): Promise<T> {
    if (this.#stopping !== undefined) {
      const problem = 'Weir is stopping.';
      return Promise.reject(new NotRunningError({ problem, remedy: 'Start it again.' }));
    }
    const next = this.#changing.catch(() => undefined).then(change);
    this.#changing = next;
    return next;
  }

  #readAgain(): Promise<Configuration> {
    if (this.#reload !== undefined) return this.#reload();
    throw new UsageError({
      problem: 'This instance was started without a file, so there is nothing to read again.',
      remedy: 'Call reload with a configuration.',
    });
  }

  async #openAdmin(admin: string): Promise<void> {
    if (admin === 'off') return;
    const path = admin === 'unix' ? join(this.#directory, 'admin.sock') : admin;
    this.#admin = await startAdminServer(this, path, this.#log);
  }
}

/** A living run refuses at once; a keeper or a clean-up is waited for, because it ends in a moment. */
async function takeLock(owner: string, directory: string): Promise<HeldLock> {
  const path = join(directory, 'lock');
  const lock = tryLock(path, 'run');
  if (lock !== undefined) return lock;
  if (readHolder(path)?.role !== 'run') {
    // Its clean-up removes the directory that the lock is in.
    const deadline = Date.now() + PREDECESSOR_TIMEOUT;
    while (Date.now() < deadline) {
      makeStateDirectory(directory);
      const later = await waitForLock(path, 'run', 100).catch((error: unknown) => {
        if (error instanceof WeirError) throw error;
        return undefined;
      });
      if (later !== undefined) return later;
    }
  }
  throw alreadyRunning(owner, readHolder(path));
}
