/** Lists of port stretches: sorted by protocol and first port, disjoint, neighbours with equal choices made one. */
import type { CapturePorts } from '../api/capture.ts';
import type { Protocol } from '../api/flow.ts';
import type { Choices, ChoiceTable } from './choices.ts';
import { OpenCells } from './open-cells.ts';
import { compareRules, type Rule } from './rules.ts';

export type Stretches = readonly CapturePorts[];

const PROTOCOLS: readonly Protocol[] = ['tcp', 'udp'];

/** What rules of one prefix, or of one name pattern, say together. */
export function stretchesOf(rules: readonly Rule[], choices: ChoiceTable): Stretches {
  const ordered = rules.toSorted(compareRules);
  return PROTOCOLS.flatMap((protocol) =>
    paint(
      ordered.filter((rule) => rule.protocol === protocol),
      protocol,
      choices,
    ),
  );
}

/** Each rule, the first in precedence first, colours what is still open of its ports. */
function paint(rules: readonly Rule[], protocol: Protocol, choices: ChoiceTable): CapturePorts[] {
  const [only] = rules;
  if (only === undefined) return [];
  if (rules.length === 1) return [{ protocol, first: only.first, last: only.last, choices: choices.of(rules) }];
  const bounds = [...new Set(rules.flatMap((rule) => [rule.first, rule.last + 1]))].toSorted((a, b) => a - b);
  const cellOf = new Map(bounds.map((bound, cell) => [bound, cell]));
  const open = new OpenCells(bounds.length);
  const painted: Rule[][] = bounds.map(() => []);
  for (const rule of rules) {
    const end = cellOf.get(rule.last + 1) as number;
    for (let cell = open.from(cellOf.get(rule.first) as number); cell < end; cell = open.from(cell + 1)) {
      (painted[cell] as Rule[]).push(rule);
      if (rule.sources.length === 0) open.close(cell);
    }
  }
  const stretches: CapturePorts[] = [];
  for (const [cell, inCell] of painted.entries()) {
    if (inCell.length === 0) continue;
    const first = bounds[cell] as number;
    append(stretches, protocol, first, (bounds[cell + 1] as number) - 1, choices.of(inCell));
  }
  return stretches;
}

/**
 * `own` over `inherited`: what a prefix says, completed by what the shorter one around it says. Stretches that do not
 * change are shared with `inherited`, and the answer is `inherited` itself when nothing does.
 */
export function overlay(own: Stretches, inherited: Stretches, choices: ChoiceTable): Stretches {
  if (own.length === 0) return inherited;
  if (inherited.length === 0) return own;
  const result: CapturePorts[] = [];
  for (const protocol of PROTOCOLS) {
    const upper = partOf(own, protocol);
    const lower = partOf(inherited, protocol);
    const from = upper[0];
    const to = upper.at(-1);
    if (!from || !to) {
      for (const stretch of lower) result.push(stretch);
      continue;
    }
    // Only the stretches between the first and the last own port can change; the rest is taken over as it is.
    const begin = indexOfPort(lower, from.first);
    const end = indexOfPort(lower, to.last + 1);
    const touched = lower.slice(begin, end + 1);
    for (let i = 0; i < begin; i++) result.push(lower[i] as CapturePorts);
    merge(result, upper, touched, protocol, choices);
    for (let i = end + 1; i < lower.length; i++) pushShared(result, lower[i] as CapturePorts);
  }
  return same(result, inherited) ? inherited : result;
}

function merge(
  result: CapturePorts[],
  upper: Stretches,
  lower: Stretches,
  protocol: Protocol,
  choices: ChoiceTable,
): void {
  let u = 0;
  let l = 0;
  let port = 0;
  while (u < upper.length || l < lower.length) {
    const above = upper[u];
    const below = lower[l];
    const aboveFirst = above ? Math.max(above.first, port) : Infinity;
    const belowFirst = below ? Math.max(below.first, port) : Infinity;
    const first = Math.min(aboveFirst, belowFirst);
    const inAbove = aboveFirst === first;
    const inBelow = belowFirst === first;
    const last = Math.min(
      inAbove ? (above as CapturePorts).last : aboveFirst - 1,
      inBelow ? (below as CapturePorts).last : belowFirst - 1,
    );
    const own: Choices = inAbove ? (above as CapturePorts).choices : [];
    const rest: Choices = inBelow ? (below as CapturePorts).choices : [];
    append(result, protocol, first, last, inAbove && inBelow ? choices.join(own, rest) : inAbove ? own : rest);
    port = last + 1;
    if (above && above.last < port) u++;
    if (below && below.last < port) l++;
  }
}

function append(into: CapturePorts[], protocol: Protocol, first: number, last: number, choices: Choices): void {
  pushShared(into, { protocol, first, last, choices });
}

function pushShared(into: CapturePorts[], stretch: CapturePorts): void {
  const before = into.at(-1);
  if (
    before &&
    before.protocol === stretch.protocol &&
    before.choices === stretch.choices &&
    before.last + 1 === stretch.first
  ) {
    into[into.length - 1] = { ...before, last: stretch.last };
  } else {
    into.push(stretch);
  }
}

function partOf(stretches: Stretches, protocol: Protocol): Stretches {
  const udp = stretches.findIndex((stretch) => stretch.protocol === 'udp');
  if (udp < 0) return protocol === 'tcp' ? stretches : [];
  return protocol === 'tcp' ? stretches.slice(0, udp) : stretches.slice(udp);
}

/** The first stretch that ends at or after `port`. */
function indexOfPort(stretches: Stretches, port: number): number {
  let low = 0;
  let high = stretches.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((stretches[middle] as CapturePorts).last < port) low = middle + 1;
    else high = middle;
  }
  return low;
}

function same(a: Stretches, b: Stretches): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) {
    const x = a[i] as CapturePorts;
    const y = b[i] as CapturePorts;
    if (x === y) continue;
    if (x.protocol !== y.protocol || x.first !== y.first || x.last !== y.last || x.choices !== y.choices) return false;
  }
  return true;
}
