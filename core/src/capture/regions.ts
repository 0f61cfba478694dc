/**
 * A capture set in parts that have nothing to do with each other: between two of them is an address that no row holds. What
 * is made of a region depends on its rows alone, so that a change of one prefix among thousands costs one region.
 */
import type { CaptureRow, CaptureSet } from '../api/capture.ts';
import type { Family } from '../api/flow.ts';
import { prefixBounds } from './address.ts';

export class Region {
  readonly family: Family;
  /** Inclusive. */
  readonly first: bigint;
  readonly last: bigint;
  /** Sorted as in the set. */
  readonly rows: readonly CaptureRow[];
  /** Answers of {@link RegionMemo}, each behind what it was asked under. */
  readonly #made: unknown[] = [];

  constructor(rows: readonly CaptureRow[], last: bigint) {
    const { family, address } = (rows[0] as CaptureRow).prefix;
    this.family = family;
    this.first = address;
    this.last = last;
    this.rows = rows;
  }

  /** @internal What was kept under this key, or else what `make` gives, which is kept from now on. */
  kept<Value>(key: MemoKey, make: (region: Region) => Value): Value {
    const made = this.#made;
    for (let at = 0; at < made.length; at += 2) if (made[at] === key) return made[at + 1] as Value;
    const value = make(this);
    let at = 0;
    while (at < made.length && !(made[at] as MemoKey).forgotten) at += 2;
    made[at] = key;
    made[at + 1] = value;
    return value;
  }
}

/** By the rows of a set, which never change: one update asks for the same several times. */
const byRows: Readonly<Record<Family, WeakMap<readonly CaptureRow[], readonly Region[]>>> = {
  4: new WeakMap(),
  6: new WeakMap(),
};
/** Those of the set that was last cut: the next one mostly has the same. */
const latest: Record<Family, WeakRef<readonly Region[]>> = { 4: new WeakRef([]), 6: new WeakRef([]) };

/** The regions of one family, ascending. One whose rows are those of the set before is the same object. */
export function regionsOf({ rows }: Pick<CaptureSet, 'rows'>, family: Family): readonly Region[] {
  let regions = byRows[family].get(rows);
  if (regions === undefined) {
    regions = cut(rows, family, latest[family].deref() ?? []);
    byRows[family].set(rows, regions);
    latest[family] = new WeakRef(regions);
  }
  return regions;
}

function cut(rows: readonly CaptureRow[], family: Family, before: readonly Region[]): readonly Region[] {
  const regions: Region[] = [];
  let known = 0;
  for (let at = 0; at < rows.length;) {
    const row = rows[at] as CaptureRow;
    if (row.prefix.family !== family) {
      at++;
      continue;
    }
    while ((before[known]?.first ?? row.prefix.address) < row.prefix.address) known++;
    const old = before[known];
    const region = old !== undefined && isThere(old, rows, at) ? old : regionFrom(rows, at);
    regions.push(region);
    at += region.rows.length;
  }
  return regions;
}

/** Whether the rows from `at` on are the region's, and the one behind them is of another region. */
function isThere({ rows: own, family, last }: Region, rows: readonly CaptureRow[], at: number): boolean {
  for (let index = 0; index < own.length; index++) if (rows[at + index] !== own[index]) return false;
  const next = rows[at + own.length];
  return next === undefined || next.prefix.family !== family || !touches(last, next.prefix.address);
}

/** Whether nothing is between an address and a later one, which may also lie before it. */
function touches(last: bigint, next: bigint): boolean {
  return next <= last || next - last === 1n;
}

function regionFrom(rows: readonly CaptureRow[], at: number): Region {
  const { family } = (rows[at] as CaptureRow).prefix;
  let [, last] = prefixBounds((rows[at] as CaptureRow).prefix);
  let end = at + 1;
  for (let next = rows[end]; next?.prefix.family === family; next = rows[++end]) {
    if (!touches(last, next.prefix.address)) break;
    const [, nextLast] = prefixBounds(next.prefix);
    if (nextLast > last) last = nextLast;
  }
  return new Region(rows.slice(at, end), last);
}

interface MemoKey {
  /** Nobody will ask for it again. */
  forgotten: boolean;
}

/** Circumstances whose answers are kept: two families, two protocols, and what changed with the host a moment ago. */
const CIRCUMSTANCES = 16;

/** What was made of regions, kept while the region is. */
export class RegionMemo<Value> {
  readonly #keys = new Map<string, MemoKey>();

  /**
   * @param circumstances everything but the region that the answer depends on
   * @returns gives what is known of a region, or else makes it
   */
  under(circumstances: string, make: (region: Region) => Value): (region: Region) => Value {
    const key = this.#keys.get(circumstances) ?? { forgotten: false };
    // The one that was last asked for stands last; the first one is the one to forget.
    this.#keys.delete(circumstances);
    this.#keys.set(circumstances, key);
    if (this.#keys.size > CIRCUMSTANCES) {
      const [oldest] = this.#keys;
      if (oldest) {
        oldest[1].forgotten = true;
        this.#keys.delete(oldest[0]);
      }
    }
    return (region) => region.kept(key, make);
  }
}
