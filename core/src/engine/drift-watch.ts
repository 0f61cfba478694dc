/** Whether the host still has what Weir set; mends it when somebody changed it. When to look is HostWatch's affair. */
import { DriftError } from '../api/errors.ts';
import type { Drift, Interceptor } from '../api/interceptor.ts';
import type { Logger } from '../api/logger.ts';
import type { CaptureConfiguration } from '../config/model.ts';
import type { DriftEvent } from './events.ts';

export interface DriftWatchParts {
  /** What Weir has set in the host, each able to tell whether it is still so. */
  readonly subjects: ReadonlyArray<Pick<Interceptor, 'verify' | 'repair'>>;
  readonly policy: CaptureConfiguration['onDrift'];
  readonly log: Logger;
  readonly told: (event: DriftEvent) => void;
  readonly fatal: (error: Error) => void;
}

export class DriftWatch {
  readonly #parts: DriftWatchParts;
  #found = 0;
  #repaired = 0;
  #last: readonly Drift[] = [];

  constructor(parts: DriftWatchParts) {
    this.#parts = parts;
  }

  /** Objects that differed and that were mended since the start, and what differed last. */
  report(): { readonly found: number; readonly repaired: number; readonly last: readonly Drift[] } {
    return { found: this.#found, repaired: this.#repaired, last: this.#last };
  }

  /** Looks once, and does what the policy says. Never in the middle of an update. Throws nothing; failures are logged. */
  async look(signal: AbortSignal): Promise<void> {
    if (this.#parts.policy === 'ignore') return;
    for (const subject of this.#parts.subjects) await this.#lookAt(subject, signal);
  }

  async #lookAt(subject: DriftWatchParts['subjects'][number], signal: AbortSignal): Promise<void> {
    const { policy, log, told, fatal } = this.#parts;
    let drift: readonly Drift[] = [];
    try {
      drift = await subject.verify(signal);
      if (drift.length === 0 || signal.aborted) return;
      this.#last = drift;
      this.#found += drift.length;
      log.warn({ drift }, 'somebody changed what Weir had set');
      if (policy === 'fail') {
        told({ drift, outcome: 'found' });
        fatal(
          new DriftError({
            problem: `The host no longer has what was set: ${drift.map(({ object }) => object).join(', ')}.`,
            remedy: 'Find out who changed it, or set capture.on-drift: repair.',
          }),
        );
        return;
      }
      await subject.repair(drift, signal);
      this.#repaired += drift.length;
      log.info({ objects: drift.map(({ object }) => object) }, 'drift repaired');
      told({ drift, outcome: 'repaired' });
    } catch (error) {
      if (!signal.aborted) {
        log.error({ reason: error instanceof Error ? error.message : String(error) }, 'looking for drift failed');
        if (drift.length > 0) told({ drift, outcome: 'repair-failed' });
      }
    }
  }
}
