/**
 * When to look at the host: soon after the kernel has told of a change of links, addresses, routes, rules or nftables, and
 * every so often for what it does not tell.
 */
import { statSync } from 'node:fs';
import type { Logger } from '../api/logger.ts';
import { RouteMonitor } from '../sys/netlink/monitor.ts';
import { NftablesMonitor } from '../sys/netlink/nftables-monitor.ts';

/** Between two looks when nothing was told. Milliseconds. */
const INTERVAL = 1500;
/** Between two polls for notices. */
const POLL = 250;
/** After a notice, since changes come in groups. */
const SETTLE = 100;
/** Between the end of a look and the next one, also when the kernel tells of changes all the time. */
const GAP = 500;

export interface HostWatchParts {
  /** Looks, at most one at a time. Rejections are logged. */
  readonly look: (signal: AbortSignal) => Promise<void>;
  readonly log: Logger;
  /** Files at which a change is a reason to look. */
  readonly files: readonly string[];
}

export class HostWatch {
  readonly #parts: HostWatchParts;
  readonly #abort = new AbortController();
  readonly #monitors: Array<{ poll(): boolean; close(): void }> = [];
  #poll: NodeJS.Timeout | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** When the timer goes off, and when the last look ended; performance.now(). */
  #due = Infinity;
  #ended = 0;
  #looking: Promise<void> | undefined;
  #noticed = false;

  constructor(parts: HostWatchParts) {
    this.#parts = parts;
  }

  start(): void {
    if (this.#abort.signal.aborted) return;
    this.#open(() => {
      const monitor = new RouteMonitor();
      return { poll: () => monitor.poll().size > 0, close: () => monitor.close() };
    });
    this.#open(() => new NftablesMonitor());
    this.#monitors.push(...this.#parts.files.map((path) => new FileMonitor(path)));
    this.#poll = setInterval(() => {
      // Both, so that neither runs full.
      const told = this.#monitors.filter((monitor) => monitor.poll());
      if (told.length > 0) this.#notice();
    }, POLL);
    this.#poll.unref();
    this.#schedule(INTERVAL);
  }

  /** No look begins after this; one that is under way sees the abort of its signal. */
  close(): void {
    this.#abort.abort();
    clearTimeout(this.#timer);
    clearInterval(this.#poll);
    for (const monitor of this.#monitors.splice(0)) monitor.close();
  }

  /** Closes, and waits for the look that is under way. */
  async stop(): Promise<void> {
    this.close();
    await this.#looking;
  }

  /** The timer does what notices cannot tell, so a monitor that the kernel refuses is not missed. */
  #open(make: () => { poll(): boolean; close(): void }): void {
    try {
      this.#monitors.push(make());
    } catch (error) {
      this.#parts.log.debug({ reason: error instanceof Error ? error.message : String(error) }, 'no kernel notices');
    }
  }

  #notice(): void {
    this.#noticed = true;
    if (this.#looking !== undefined) return;
    const wait = Math.max(SETTLE, this.#ended + GAP - performance.now());
    if (performance.now() + wait < this.#due) this.#schedule(wait);
  }

  #schedule(wait: number): void {
    if (this.#abort.signal.aborted) return;
    clearTimeout(this.#timer);
    this.#due = performance.now() + wait;
    this.#timer = setTimeout(() => this.#look(), wait);
    this.#timer.unref();
  }

  #look(): void {
    this.#noticed = false;
    this.#due = Infinity;
    const { look, log } = this.#parts;
    const { signal } = this.#abort;
    this.#looking = look(signal)
      .catch((error: unknown) => {
        if (signal.aborted) return;
        log.error({ reason: error instanceof Error ? error.message : String(error) }, 'looking at the host failed');
      })
      .finally(() => {
        this.#looking = undefined;
        this.#ended = performance.now();
        this.#schedule(this.#noticed ? GAP : INTERVAL);
      });
  }
}

/** A file of which others write what Weir goes by. */
class FileMonitor {
  readonly #path: string;
  #seen: string;

  constructor(path: string) {
    this.#path = path;
    this.#seen = this.#stamp();
  }

  poll(): boolean {
    const seen = this.#stamp();
    const changed = seen !== this.#seen;
    this.#seen = seen;
    return changed;
  }

  close(): void {}

  #stamp(): string {
    const stat = statSync(this.#path, { throwIfNoEntry: false });
    return stat === undefined ? '' : `${stat.ino} ${stat.size} ${stat.mtimeMs} ${stat.ctimeMs}`;
  }
}
