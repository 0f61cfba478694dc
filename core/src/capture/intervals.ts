/**
 * The steered part of a capture set as disjoint boxes, which is what kernels can hold: with these there is no
 * precedence left to evaluate, and the order in which elements are inserted does not matter.
 */
import type { CapturePorts, CaptureSet } from '../api/capture.ts';
import type { Family, Prefix, Protocol } from '../api/flow.ts';
import { prefixesBetween, widthOf } from './address.ts';
import type { Choices } from './choices.ts';
import { type Region, RegionMemo, regionsOf } from './regions.ts';
import {
  cutDestinations,
  destinationSegments,
  masked,
  NO_PORTS,
  prefixSegments,
  type Segment,
  sourceSegments,
} from './segments.ts';
import { type Decision, decisionOf, isSteered } from './verdict.ts';

/** Destinations × one protocol × ports, and sources where they are limited. All bounds are inclusive. */
export interface Box {
  readonly firstAddress: bigint;
  readonly lastAddress: bigint;
  readonly protocol: Protocol;
  readonly firstPort: number;
  readonly lastPort: number;
  /** The first and the last source; absent: any source. */
  readonly sources?: readonly [bigint, bigint];
  /** With {@link BoxOptions.perDecision}: what `decide` answers for every flow of the box, a service or `deny`. */
  readonly decision?: Decision;
}

export interface BoxOptions {
  /** Only destinations within these prefixes. */
  readonly inside?: readonly Prefix[];
  /** Only destinations outside of these prefixes. */
  readonly outside?: readonly Prefix[];
  /** Boxes of different services stay apart, so that each can say whose it is. */
  readonly perDecision?: boolean;
}

/**
 * Boxes that together hold exactly the flows of one family that `decide` steers to a service or denies. No two boxes
 * overlap; those with sources are apart from those without too, so that they may be kept in a set of their own.
 * Sorted by first address; neighbours in addresses, ports or sources are one box where they can be.
 */
export function steeredBoxes(set: CaptureSet, family: Family, options: BoxOptions = {}): readonly Box[] {
  const { inside, outside, perDecision = false } = options;
  const faces = new FaceTable(family, perDecision);
  const whole = knownBoxes(faces);
  const within = inside && new Mask(inside, family);
  const without = outside && new Mask(outside, family);
  const all = regionsOf(set, family);
  const boxes: Box[] = [];
  for (const region of within ? within.touched(all) : all) {
    const own =
      within || without?.touches(region)
        ? boxesOf(cutOut(cutDestinations(region.rows, family), within, without), faces)
        : whole(region);
    for (const box of own) boxes.push(box);
  }
  return boxes;
}

/**
 * {@link steeredBoxes} region by region: together, those of all regions of a set are those of the set. Boxes of a region
 * that is kept are the same objects.
 */
export function boxesByRegion(family: Family): (region: Region) => readonly Box[] {
  return knownBoxes(new FaceTable(family));
}

function knownBoxes(faces: FaceTable): (region: Region) => readonly Box[] {
  const { family, perDecision } = faces;
  return KNOWN.under(`${family}${perDecision}`, ({ rows, first, last }) => {
    const [only] = rows;
    if (only !== undefined && rows.length === 1) return faces.boxesOn(first, last, only.ports);
    return boxesOf(cutDestinations(rows, family), faces);
  });
}

/** Boxes of whole regions. */
const KNOWN = new RegionMemo<readonly Box[]>();

/** The boxes of one region. */
function boxesOf(segments: Segments, faces: FaceTable): readonly Box[] {
  const boxes: Array<{ -readonly [Key in keyof Box]: Box[Key] }> = [];
  /** Place in `boxes` of each face that goes on at the address reached. */
  const standing = new Map<number, number>();
  const close = (face: number, lastAddress: bigint) => {
    const box = boxes[standing.get(face) as number];
    if (box) box.lastAddress = lastAddress;
    standing.delete(face);
  };
  let before = NO_FACES;
  for (const { first, value } of segments) {
    const now = faces.of(value);
    if (now === before) continue;
    const { ended, begun } = faces.difference(before, now);
    for (const face of ended) close(face, first - 1n);
    for (const face of begun) {
      standing.set(face, boxes.length);
      boxes.push({ firstAddress: first, lastAddress: faces.lastOfSpace, ...(faces.faces[face] as Face) });
    }
    before = now;
  }
  return boxes;
}

/**
 * The fewest prefixes that hold every destination of one family with at least one steered port: what needs a route
 * for captured flows to leave the socket at all.
 */
export function steeredPrefixes(set: CaptureSet, family: Family, options: BoxOptions = {}): readonly Prefix[] {
  const faces = new FaceTable(family);
  const segments = selected(set, family, options);
  const prefixes: Prefix[] = [];
  let from: bigint | undefined;
  const finish = (end: bigint) => {
    if (from !== undefined) prefixes.push(...prefixesBetween(family, from, end - 1n));
    from = undefined;
  };
  for (const { first, value } of segments) {
    if (faces.of(value).length === 0) finish(first);
    else from ??= first;
  }
  finish(1n << BigInt(widthOf(family)));
  return prefixes;
}

function selected(set: CaptureSet, family: Family, { inside, outside }: BoxOptions): Segments {
  const segments = destinationSegments(set.rows, family);
  return cutOut(segments, inside && new Mask(inside, family), outside && new Mask(outside, family));
}

type Segments = ReadonlyArray<Segment<readonly CapturePorts[]>>;

function cutOut(segments: Segments, within: Mask | undefined, without: Mask | undefined): Segments {
  const inner = within ? masked(segments, within.segments, true, NO_PORTS) : segments;
  return without ? masked(inner, without.segments, false, NO_PORTS) : inner;
}

/** The place of the last one that begins at or before an address; 0 where there is none. */
function lastAtOrBefore(all: ReadonlyArray<{ readonly first: bigint }>, address: bigint): number {
  let low = 0;
  let high = all.length;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if ((all[middle] as { readonly first: bigint }).first <= address) low = middle;
    else high = middle;
  }
  return low;
}

/** Prefixes of one family as a mask. */
class Mask {
  readonly segments: ReadonlyArray<Segment<boolean>>;

  constructor(prefixes: readonly Prefix[], family: Family) {
    this.segments = prefixSegments(prefixes, family);
  }

  /** Those that have any address in it, ascending. */
  touched(regions: readonly Region[]): readonly Region[] {
    const found = new Set<Region>();
    for (const [place, { first, value }] of this.segments.entries()) {
      if (!value) continue;
      const end = this.segments[place + 1]?.first;
      for (let at = lastAtOrBefore(regions, first); at < regions.length; at++) {
        const region = regions[at] as Region;
        if (end !== undefined && region.first >= end) break;
        if (region.last >= first) found.add(region);
      }
    }
    return [...found];
  }

  /** Whether any address of the region is in it. */
  touches({ first, last }: Region): boolean {
    const low = lastAtOrBefore(this.segments, first);
    if (this.segments[low]?.value === true) return true;
    const next = this.segments[low + 1];
    return next !== undefined && next.first <= last;
  }
}

/** One array, so that it can be compared. */
const NO_FACES: readonly number[] = [];

/** A box without its addresses. */
type Face = Omit<Box, 'firstAddress' | 'lastAddress'>;

/** Faces by number. The same stretches give the same list of numbers, as the same array. */
class FaceTable {
  readonly faces: Face[] = [];
  readonly lastOfSpace: bigint;
  readonly family: Family;
  readonly perDecision: boolean;
  readonly #byKey = new Map<string, number>();
  readonly #lists = new Map<readonly CapturePorts[], readonly number[]>();
  readonly #sources = new Map<Choices, SourceSet>();
  readonly #sourceSets = new Map<string, SourceSet>();
  readonly #differences = new Map<readonly number[], Map<readonly number[], Difference>>();

  constructor(family: Family, perDecision = false) {
    this.family = family;
    this.lastOfSpace = (1n << BigInt(widthOf(family))) - 1n;
    this.perDecision = perDecision;
    this.#lists.set(NO_PORTS, NO_FACES);
  }

  /** Ascending. */
  of(stretches: readonly CapturePorts[]): readonly number[] {
    const known = this.#lists.get(stretches);
    if (known) return known;
    const list: number[] = [];
    for (let at = 0; at < stretches.length; at++) {
      const { protocol, first, last, choices } = stretches[at] as CapturePorts;
      const sources = this.#sourcesOf(choices);
      if (sources.intervals.length === 0) continue;
      let lastPort = last;
      // What different services take is one box when it lies side by side, unless the source sets tell them apart.
      for (let next = stretches[at + 1]; next; next = stretches[at + 1]) {
        if (next.protocol !== protocol || next.first !== lastPort + 1) break;
        if (this.#sourcesOf(next.choices) !== sources) break;
        lastPort = next.last;
        at++;
      }
      for (const interval of sources.intervals) {
        list.push(this.#number(protocol, first, lastPort, sources.any, interval));
      }
    }
    list.sort((a, b) => a - b);
    this.#lists.set(stretches, list);
    return list;
  }

  /** One row's boxes. */
  boxesOn(firstAddress: bigint, lastAddress: bigint, ports: readonly CapturePorts[]): readonly Box[] {
    return this.difference(NO_FACES, this.of(ports)).begun.map((face) => ({
      firstAddress,
      lastAddress,
      ...(this.faces[face] as Face),
    }));
  }

  difference(before: readonly number[], now: readonly number[]): Difference {
    let after = this.#differences.get(before);
    if (!after) this.#differences.set(before, (after = new Map()));
    let difference = after.get(now);
    if (!difference) {
      const { ended, begun } = differenceOf(before, now);
      // Numbers depend on what was looked at before; what is kept of a region must not.
      difference = { ended, begun: begun.toSorted((a, b) => this.#compare(a, b)) };
      after.set(now, difference);
    }
    return difference;
  }

  #compare(a: number, b: number): number {
    const [one, other] = [this.faces[a] as Face, this.faces[b] as Face];
    if (one.protocol !== other.protocol) return one.protocol < other.protocol ? -1 : 1;
    if (one.firstPort !== other.firstPort) return one.firstPort - other.firstPort;
    return (one.sources?.[0] ?? 0n) < (other.sources?.[0] ?? 0n) ? -1 : 1;
  }

  #number(protocol: Protocol, firstPort: number, lastPort: number, any: boolean, interval: SourceInterval): number {
    const { first, last, decision } = interval;
    const key = `${protocol}${firstPort}-${lastPort}${any ? '' : `@${first}-${last}`}>${decision ?? ''}`;
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    const face: Face = {
      protocol,
      firstPort,
      lastPort,
      ...(any ? {} : { sources: [first, last] }),
      ...(decision === undefined ? {} : { decision }),
    };
    const number = this.faces.push(face) - 1;
    this.#byKey.set(key, number);
    return number;
  }

  #sourcesOf(choices: Choices): SourceSet {
    const known = this.#sources.get(choices);
    if (known) return known;
    const intervals = steeredSources(choices, this.family, this.perDecision);
    const key = intervals.map(({ first, last, decision = '' }) => `${first}-${last}>${decision}`).join(' ');
    let sources = this.#sourceSets.get(key);
    if (!sources) {
      const all = (1n << BigInt(widthOf(this.family))) - 1n;
      const any = intervals[0]?.first === 0n && intervals[0].last === all;
      this.#sourceSets.set(key, (sources = { intervals, any }));
    }
    this.#sources.set(choices, sources);
    return sources;
  }
}

interface SourceInterval {
  readonly first: bigint;
  readonly last: bigint;
  /** Only where decisions are kept apart. */
  readonly decision?: Decision;
}

interface SourceSet {
  /** Ascending, disjoint; adjacent ones differ in their decision. */
  readonly intervals: readonly SourceInterval[];
  /** True when the one interval is every source. */
  readonly any: boolean;
}

interface Difference {
  readonly ended: readonly number[];
  readonly begun: readonly number[];
}

function steeredSources(choices: Choices, family: Family, perDecision: boolean): readonly SourceInterval[] {
  const intervals: SourceInterval[] = [];
  let from: { readonly first: bigint; readonly code: number } | undefined;
  const finish = (end: bigint) => {
    if (from === undefined) return;
    const { first, code } = from;
    intervals.push({ first, last: end - 1n, ...(perDecision ? { decision: decisionOf(code) } : {}) });
    from = undefined;
  };
  for (const { first, value } of sourceSegments(choices, family)) {
    const goesOn = isSteered(value) && from !== undefined && (!perDecision || from.code === value);
    if (goesOn) continue;
    finish(first);
    if (isSteered(value)) from = { first, code: value };
  }
  finish(1n << BigInt(widthOf(family)));
  return intervals;
}

/** Both lists are ascending. */
function differenceOf(before: readonly number[], now: readonly number[]): Difference {
  const ended: number[] = [];
  const begun: number[] = [];
  let b = 0;
  let n = 0;
  while (b < before.length || n < now.length) {
    const old = before[b] ?? Infinity;
    const next = now[n] ?? Infinity;
    if (old === next) {
      b++;
      n++;
    } else if (old < next) {
      ended.push(old);
      b++;
    } else {
      begun.push(next);
      n++;
    }
  }
  return { ended, begun };
}
