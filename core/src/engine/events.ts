/** What a running instance tells whoever embeds it. */
import type { FlowRecord } from '../api/flow.ts';
import type { Drift } from '../api/interceptor.ts';
import type { Logger } from '../api/logger.ts';
import type { ReloadReport, SelectionReport, StatusReport } from './report.ts';

/** Every event by its name, with what its listeners get. */
export interface WeirEvents {
  /** An interceptor was chosen; before `ready`, and only a listener given to `Weir.start` hears it. */
  readonly selection: SelectionReport;
  /** Traffic is captured; just before `Weir.start` resolves, and only a listener given to it hears it. */
  readonly ready: StatusReport;
  /**
   * A flow has begun: told within 100 ms, or just before `flow-closed` for one that ended sooner. Flows that live already
   * when the first listener comes are told to it. Exactly one `flow-closed` follows, unless `counters.recordsLost` grew.
   */
  readonly 'flow-opened': FlowRecord;
  /** A flow has ended, also one that was refused. `outcome` says how. */
  readonly 'flow-closed': FlowRecord;
  /** Somebody changed what Weir had set in the kernel. */
  readonly drift: DriftEvent;
  /** Addresses, routes or the like of the host changed, and what is captured followed; one line for each change. */
  readonly 'host-changed': readonly string[];
  /** A new configuration was taken. */
  readonly reload: ReloadReport;
  /** No new flow is taken any more; so many live. */
  readonly draining: { readonly flows: number };
  /** It begins to stop: somebody called `stop`, or, with `error`, because it cannot go on. */
  readonly stopping: { readonly now: boolean; readonly error?: Error };
  /** The host is as it was, unless `error` says what could not be put back. The last event. */
  readonly stopped: { readonly error?: Error };
}

export interface DriftEvent {
  readonly drift: readonly Drift[];
  /** `found`: left as it is, because `capture.on-drift` is `fail`, and Weir stops. */
  readonly outcome: 'repaired' | 'found' | 'repair-failed';
}

/** What it returns is not used; a promise that rejects is logged as a throw is. */
export type WeirListener<Name extends keyof WeirEvents> = (event: WeirEvents[Name]) => unknown;

export type WeirListeners = { readonly [Name in keyof WeirEvents]?: WeirListener<Name> };

type Listener = (event: never) => unknown;

export class Events {
  readonly #listeners = new Map<keyof WeirEvents, Set<Listener>>();
  readonly #log: Logger;

  constructor(log: Logger, listeners: WeirListeners = {}) {
    this.#log = log;
    for (const [name, listener] of Object.entries(listeners)) {
      if (listener !== undefined) this.#add(name as keyof WeirEvents, listener);
    }
  }

  /** @returns removes the listener; more than once does no harm. */
  on<Name extends keyof WeirEvents>(name: Name, listener: WeirListener<Name>): () => void {
    return this.#add(name, listener);
  }

  has(name: keyof WeirEvents): boolean {
    return (this.#listeners.get(name)?.size ?? 0) > 0;
  }

  #add(name: keyof WeirEvents, listener: Listener): () => void {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners);
    // A function of its own, so that the same listener twice is two.
    const own: Listener = (event) => listener(event);
    listeners.add(own);
    return () => listeners.delete(own);
  }

  /** Calls the listeners, one after the other. One that throws is logged: it must not take the data plane down. */
  emit<Name extends keyof WeirEvents>(name: Name, event: WeirEvents[Name]): void {
    const failed = (error: unknown): void => {
      this.#log.error(
        { event: name, reason: error instanceof Error ? error.message : String(error) },
        'a listener failed',
      );
    };
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        const result = listener(event as never);
        if (result instanceof Promise) result.catch(failed);
      } catch (error) {
        failed(error);
      }
    }
  }
}
