/** Looks whether the kernel still has what the plan says, and mends it when somebody changed it. */
import { DriftError } from '../api/errors.ts';
import type { Drift, Interceptor } from '../api/interceptor.ts';
import type { Logger } from '../api/logger.ts';
import type { CaptureConfiguration } from '../config/model.ts';

/** Between two looks. Milliseconds. */
const INTERVAL = 1500;

export interface DriftWatchParts {
  readonly interceptor: Interceptor;
  readonly policy: CaptureConfiguration['onDrift'];
  readonly log: Logger;
  readonly fatal: (error: Error) => void;
}

export class DriftWatch {
  readonly #parts: DriftWatchParts;
  readonly #abort = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();
  #repaired = 0;
  #last: readonly Drift[] = [];

  constructor(parts: DriftWatchParts) {
    this.#parts = parts;
  }

  start(): void {
    if (this.#parts.policy === 'ignore' || this.#abort.signal.aborted) return;
    this.#timer = setTimeout(() => {
      this.#looking = this.#look().finally(() => this.start());
    }, INTERVAL);
    this.#timer.unref();
  }

  report(): { readonly repaired: number; readonly last: readonly Drift[] } {
    return { repaired: this.#repaired, last: this.#last };
  }

  /** Runs `change` while nobody looks: in the middle of an update the kernel differs from every plan. */
  async paused<T>(change: () => Promise<T>): Promise<T> {
    clearTimeout(this.#timer);
    await this.#looking;
    clearTimeout(this.#timer);
    try {
      return await change();
    } finally {
      this.start();
    }
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    clearTimeout(this.#timer);
    await this.#looking;
  }

  async #look(): Promise<void> {
    const { interceptor, policy, log, fatal } = this.#parts;
    const { signal } = this.#abort;
    try {
      const drift = await interceptor.verify(signal);
      if (drift.length === 0 || signal.aborted) return;
      this.#last = drift;
      log.warn({ drift }, 'somebody changed what Weir had set in the kernel');
      if (policy === 'fail') {
        fatal(
          new DriftError({
            problem: `The kernel no longer has what was set: ${drift.map(({ object }) => object).join(', ')}.`,
            remedy: 'Find out who changed it, or set capture.on-drift: repair.',
          }),
        );
        return;
      }
      await interceptor.repair(drift, signal);
      this.#repaired += drift.length;
      log.info({ objects: drift.map(({ object }) => object) }, 'drift repaired');
    } catch (error) {
      if (!signal.aborted) {
        log.error({ reason: error instanceof Error ? error.message : String(error) }, 'looking for drift failed');
      }
    }
  }
}
