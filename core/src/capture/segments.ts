/**
 * Address spaces cut into disjoint pieces. A list of segments covers its whole space: it begins at 0, each segment
 * goes up to the next one's first address, and neighbours differ.
 */
import type { CapturePorts, CaptureRow } from '../api/capture.ts';
import type { Family, Prefix } from '../api/flow.ts';
import { comparePrefixes, prefixBounds, widthOf } from './address.ts';
import type { Choices } from './choices.ts';
import { OpenCells } from './open-cells.ts';
import { codeOf, NONE } from './verdict.ts';

export interface Segment<Value> {
  readonly first: bigint;
  readonly value: Value;
}

/** The value of destinations for which there is no row. One array, so that it can be compared. */
export const NO_PORTS: readonly CapturePorts[] = [];

type DestinationSegments = ReadonlyArray<Segment<readonly CapturePorts[]>>;

/** By the rows, which never change: one update asks for the same several times. */
const known: Readonly<Record<Family, WeakMap<readonly CaptureRow[], DestinationSegments>>> = {
  4: new WeakMap(),
  6: new WeakMap(),
};

/** Which row's ports hold where. Rows are sorted as in a capture set; those of the other family are left out. */
export function destinationSegments(rows: readonly CaptureRow[], family: Family): DestinationSegments {
  let segments = known[family].get(rows);
  if (segments === undefined) known[family].set(rows, (segments = cutDestinations(rows, family)));
  return segments;
}

/** As {@link destinationSegments}, made anew. */
export function cutDestinations(rows: readonly CaptureRow[], family: Family): DestinationSegments {
  const segments: Array<Segment<readonly CapturePorts[]>> = [];
  const enclosing: Array<{ readonly last: bigint; readonly ports: readonly CapturePorts[] }> = [];
  const leave = () => {
    const { last } = enclosing.pop() as { readonly last: bigint };
    begin(segments, last + 1n, enclosing.at(-1)?.ports ?? NO_PORTS);
  };
  begin(segments, 0n, NO_PORTS);
  for (const { prefix, ports } of rows) {
    if (prefix.family !== family) continue;
    const [first, last] = prefixBounds(prefix);
    while ((enclosing.at(-1)?.last ?? last) < first) leave();
    begin(segments, first, ports);
    enclosing.push({ last, ports });
  }
  while (enclosing.length > 0) leave();
  return withinSpace(segments, family);
}

/** The verdict codes that choices give to sources; `NONE` where no choice has the source. */
export function sourceSegments(choices: Choices, family: Family): ReadonlyArray<Segment<number>> {
  const any = choices[0];
  if (any?.sources.length === 0) return [{ first: 0n, value: codeOf(any.verdict) }];
  const whole = { family, address: 0n, length: 0 };
  const ranges = choices.flatMap(({ sources, verdict }) =>
    (sources.length === 0 ? [whole] : sources)
      .filter((source) => source.family === family)
      .map((source) => ({ bounds: prefixBounds(source), code: codeOf(verdict) })),
  );
  const firsts = sorted(new Set([0n, ...ranges.flatMap(({ bounds: [first, last] }) => [first, last + 1n])]));
  const cellOf = new Map(firsts.map((first, cell) => [first, cell]));
  const open = new OpenCells(firsts.length);
  const codes = firsts.map(() => NONE);
  for (const { bounds, code } of ranges) {
    const end = cellOf.get(bounds[1] + 1n) as number;
    for (let cell = open.from(cellOf.get(bounds[0]) as number); cell < end; cell = open.from(cell + 1)) {
      codes[cell] = code;
      open.close(cell);
    }
  }
  const segments: Segment<number>[] = [];
  for (const [cell, first] of firsts.entries()) begin(segments, first, codes[cell] as number);
  return withinSpace(segments, family);
}

/** True inside any of the prefixes of that family. */
export function prefixSegments(prefixes: readonly Prefix[], family: Family): ReadonlyArray<Segment<boolean>> {
  // A prefix before those inside it, which then add nothing.
  const ordered = prefixes.filter((prefix) => prefix.family === family).toSorted(comparePrefixes);
  const segments: Segment<boolean>[] = [];
  begin(segments, 0n, false);
  let end = 0n;
  for (const prefix of ordered) {
    const [first, last] = prefixBounds(prefix);
    if (last < end) continue;
    begin(segments, first, true);
    end = last + 1n;
    begin(segments, end, false);
  }
  return withinSpace(segments, family);
}

/** `segments` where `mask` has the value `keep`, and `otherwise` elsewhere. */
export function masked<Value>(
  segments: ReadonlyArray<Segment<Value>>,
  mask: ReadonlyArray<Segment<boolean>>,
  keep: boolean,
  otherwise: Value,
): ReadonlyArray<Segment<Value>> {
  const result: Segment<Value>[] = [];
  let m = 0;
  for (const [s, segment] of segments.entries()) {
    const end = segments[s + 1]?.first;
    for (;;) {
      const window = mask[m] as Segment<boolean>;
      const first = window.first > segment.first ? window.first : segment.first;
      begin(result, first, window.value === keep ? segment.value : otherwise);
      const next = mask[m + 1];
      if (!next || (end !== undefined && next.first >= end)) break;
      m++;
    }
  }
  return result;
}

/** From `first` on, `value` holds. Called in the order of addresses; the last word on an address counts. */
function begin<Value>(segments: Segment<Value>[], first: bigint, value: Value): void {
  if (segments.at(-1)?.first === first) segments.pop();
  const before = segments.at(-1);
  if (!before || before.value !== value) segments.push({ first, value });
}

/** Without a segment that would begin behind the last address. */
function withinSpace<Value>(segments: Segment<Value>[], family: Family): ReadonlyArray<Segment<Value>> {
  if (segments.at(-1)?.first === 1n << BigInt(widthOf(family))) segments.pop();
  return segments;
}

function sorted(values: Iterable<bigint>): bigint[] {
  return [...values].toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}
