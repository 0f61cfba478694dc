/** Which names have which addresses, over crashes and restarts, and for how long names keep them that nobody uses. */
import type { Family, Prefix } from '../api/flow.ts';
import type { Logger } from '../api/logger.ts';
import { AddressPool, type Assignment } from '../dns/address-pool.ts';
import type { DnsCounters } from '../dns/counters.ts';
import { NameMap } from '../dns/name-map.ts';

export interface NameStoreOptions {
  readonly ranges: readonly Prefix[];
  readonly families: readonly Family[];
  readonly names: number;
  readonly secret: string;
  /** Where assignments are written down; absent: nowhere. */
  readonly map?: { readonly path: string; readonly durable: boolean };
  /** Milliseconds without use after which a name that is not configured gives its addresses back. */
  readonly keepMs: number;
  readonly counters: DnsCounters;
  readonly log: Logger;
  /** Monotonic milliseconds, for tests. */
  readonly now?: () => number;
}

export class NameStore {
  readonly pool: AddressPool;
  readonly #options: NameStoreOptions;
  readonly #now: () => number;
  #map: NameMap | undefined;

  constructor(options: NameStoreOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    const { ranges, families, names, secret } = options;
    this.pool = new AddressPool({
      ranges,
      families,
      names,
      secret,
      now: this.#now,
      onAssign: (assignment, configured) => this.#map?.assigned({ ...assignment, configured }),
      onRelease: (name) => this.#map?.released(name),
    });
  }

  /**
   * Opens the map and gives names the addresses that it says they had.
   * @returns these names with their addresses; they have to be announced.
   * @throws WeirError WEIR_NAME_MAP.
   */
  open(): readonly Assignment[] {
    const { map, ranges, secret, counters, log } = this.#options;
    if (map === undefined || this.#map !== undefined) return [];
    const { path } = map;
    const opened = new NameMap({
      ...map,
      ranges,
      secret,
      onError: (error) => {
        counters.mapErrors++;
        log.error(
          { path, reason: String(error) },
          'assigned addresses cannot be written down; a crash would lose them',
        );
      },
    });
    if (opened.begunAnew) {
      log.warn({ path }, 'the ranges or the secret have changed, so that names get other addresses than before');
    }
    const restored: Assignment[] = [];
    for (const { configured, ...assignment } of opened.restored) {
      if (!this.pool.restore(assignment, configured)) continue;
      restored.push(assignment);
    }
    counters.restored += restored.length;
    this.#map = opened;
    // What could not be restored is history.
    if (restored.length < opened.restored.length) this.#compact();
    return restored;
  }

  /** Where assignments are written down now. */
  get mapPath(): string | undefined {
    return this.#map === undefined ? undefined : this.#options.map?.path;
  }

  /**
   * Takes the addresses back of names that only a pattern wants and that nobody used for long.
   * @param inUse names of flows that live
   * @returns the names.
   */
  sweep(inUse: Iterable<string>): readonly string[] {
    for (const name of inUse) this.pool.touch(name);
    const before = this.#now() - this.#options.keepMs;
    const old = [...this.pool.assignments()].filter(
      ({ name, usedAt }) => usedAt < before && !this.pool.isConfigured(name),
    );
    for (const { name } of old) this.pool.release(name);
    this.#options.counters.released += old.length;
    if (this.#map?.isMostlyHistory(this.pool.size) === true) this.#compact();
    return old.map(({ name }) => name);
  }

  close(): void {
    this.#map?.close();
    this.#map = undefined;
  }

  #compact(): void {
    this.#map?.compact([...this.pool.assignments()]);
  }
}
