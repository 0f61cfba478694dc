/** Bugs of dialers: what they throw that is no DialError. Each dialer's first one is logged, however many flows it ends. */
import type { Logger } from '../api/logger.ts';

export class DialerFaults {
  readonly #log: Logger;
  readonly #told = new Set<string>();

  constructor(log: Logger) {
    this.#log = log;
  }

  /** @param dialer its name in the configuration. */
  report(dialer: string | undefined, reason: string): void {
    const name = dialer ?? 'unknown';
    if (this.#told.has(name)) return;
    this.#told.add(name);
    this.#log.warn({ dialer: name, reason }, 'a dialer failed by a fault of its own; its flows end with dial-error');
  }
}
