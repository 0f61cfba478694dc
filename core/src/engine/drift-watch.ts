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

type Subject = DriftWatchParts['subjects'][number];

/** What was said last of what could not be mended, as text to compare. It is looked at every second and a half. */
interface Said {
  readonly drift: string;
  readonly reason: string;
}

export class DriftWatch {
  readonly #parts: DriftWatchParts;
  /** Of each subject that could not be looked at, or not be mended. */
  readonly #said = new Map<Subject, Said>();
  #found = 0;
  #repaired = 0;
  #last: readonly Drift[] = [];

  constructor(parts: DriftWatchParts) {
    this.#parts = parts;
  }

  /**
   * Objects that differed and that were mended since the start, and what differed last. What cannot be mended counts at
   * every look.
   */
  report(): { readonly found: number; readonly repaired: number; readonly last: readonly Drift[] } {
    return { found: this.#found, repaired: this.#repaired, last: this.#last };
  }

  /**
   * Looks once, and does what the policy says. Never in the middle of an update. Throws nothing; failures are logged, and
   * told, once until they change.
   */
  async look(signal: AbortSignal): Promise<void> {
    if (this.#parts.policy === 'ignore') return;
    for (const subject of this.#parts.subjects) await this.#lookAt(subject, signal);
  }

  async #lookAt(subject: Subject, signal: AbortSignal): Promise<void> {
    const { policy, log, told, fatal } = this.#parts;
    const said = this.#said.get(subject);
    let drift: readonly Drift[] = [];
    try {
      drift = await subject.verify(signal);
      if (signal.aborted) return;
      if (drift.length === 0) {
        if (this.#said.delete(subject)) log.info({}, 'what Weir had set is there again');
        return;
      }
      this.#last = drift;
      this.#found += drift.length;
      if (said?.drift !== JSON.stringify(drift)) log.warn({ drift }, 'somebody changed what Weir had set');
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
      this.#said.delete(subject);
      this.#repaired += drift.length;
      log.info({ objects: drift.map(({ object }) => object) }, 'drift repaired');
      told({ drift, outcome: 'repaired' });
    } catch (error) {
      if (signal.aborted) return;
      const reason = error instanceof Error ? error.message : String(error);
      const saying: Said = { drift: JSON.stringify(drift), reason };
      if (said?.drift === saying.drift && said.reason === reason) return;
      this.#said.set(subject, saying);
      log.error({ reason }, 'looking for drift failed');
      if (drift.length > 0) told({ drift, outcome: 'repair-failed' });
    }
  }
}
