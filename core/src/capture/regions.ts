/**
 * A capture set in parts that have nothing to do with each other: between two of them is an address that no row holds. What
 * is made of a region depends on its rows alone, so that a change of one prefix among thousands costs one region.
 */
import type { CaptureRow, CaptureSet } from '../api/capture.ts';
import type { Family } from '../api/flow.ts';
import { prefixBounds } from './address.ts';

/** Regions of equal rows are the same object as long as somebody has it; see {@link RegionMemo}. */
export interface Region {
  readonly family: Family;
  /** Inclusive. */
  readonly first: bigint;
  readonly last: bigint;
  /** Sorted as in the set. */
  readonly rows: readonly CaptureRow[];
}

/** By the rows of a set, which never change: one update asks for the same several times. */
const byRows: Readonly<Record<Family, WeakMap<readonly CaptureRow[], readonly Region[]>>> = {
  4: new WeakMap(),
  6: new WeakMap(),
};
const byFirstRow = new WeakMap<CaptureRow, Region>();

/** The regions of one family, ascending. */
export function regionsOf({ rows }: Pick<CaptureSet, 'rows'>, family: Family): readonly Region[] {
  let regions = byRows[family].get(rows);
  if (regions === undefined) byRows[family].set(rows, (regions = cut(rows, family)));
  return regions;
}

function cut(rows: readonly CaptureRow[], family: Family): readonly Region[] {
  const regions: Region[] = [];
  for (let at = 0; at < rows.length;) {
    const row = rows[at] as CaptureRow;
    if (row.prefix.family !== family) {
      at++;
      continue;
    }
    let region = byFirstRow.get(row);
    if (region === undefined || !isThere(region, rows, at)) {
      region = regionFrom(rows, at);
      byFirstRow.set(row, region);
    }
    regions.push(region);
    at += region.rows.length;
  }
  return regions;
}

/** Whether the rows from `at` on are the region's, and the one behind them is of another region. */
function isThere({ rows: own, family, last }: Region, rows: readonly CaptureRow[], at: number): boolean {
  for (let index = 1; index < own.length; index++) if (rows[at + index] !== own[index]) return false;
  const next = rows[at + own.length];
  return next === undefined || next.prefix.family !== family || next.prefix.address > last + 1n;
}

function regionFrom(rows: readonly CaptureRow[], at: number): Region {
  const { family } = (rows[at] as CaptureRow).prefix;
  let [first, last] = prefixBounds((rows[at] as CaptureRow).prefix);
  let end = at + 1;
  for (let next = rows[end]; next?.prefix.family === family; next = rows[++end]) {
    if (next.prefix.address > last + 1n) break;
    const [, nextLast] = prefixBounds(next.prefix);
    if (nextLast > last) last = nextLast;
  }
  return { family, first, last, rows: rows.slice(at, end) };
}

/** Circumstances whose answers are kept: two families, two protocols, and what changed with the host a moment ago. */
const CIRCUMSTANCES = 16;

/** What was made of regions, kept while the region is. */
export class RegionMemo<Value> {
  readonly #byCircumstances = new Map<string, WeakMap<Region, Value>>();

  /**
   * @param circumstances everything but the region that the answer depends on
   * @returns gives what is known of a region, or else makes it
   */
  under(circumstances: string, make: (region: Region) => Value): (region: Region) => Value {
    const values = this.#byCircumstances.get(circumstances) ?? new WeakMap<Region, Value>();
    // The last one asked for stands last; the first one is the one to forget.
    this.#byCircumstances.delete(circumstances);
    this.#byCircumstances.set(circumstances, values);
    if (this.#byCircumstances.size > CIRCUMSTANCES) {
      for (const oldest of this.#byCircumstances.keys()) {
        this.#byCircumstances.delete(oldest);
        break;
      }
    }
    return (region) => {
      let value = values.get(region);
      if (value === undefined) values.set(region, (value = make(region)));
      return value;
    };
  }
}
