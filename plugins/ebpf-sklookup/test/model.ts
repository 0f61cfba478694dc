/** The program's maps as they answer, in a few lines, for comparison with `decide`. */
import { type FlowKey, prefixContains } from '@weir/core';
import type { MapContent, PrefixEntry } from '../src/map-content.ts';

/** Whether the class of the destination wants the flow. */
export function wantedByMaps({ prefixes }: MapContent, flow: FlowKey): boolean {
  let entry: PrefixEntry | undefined;
  for (const each of prefixes.values()) {
    if (!prefixContains(each.prefix, flow.family, flow.destination)) continue;
    if (!entry || each.prefix.length > entry.prefix.length) entry = each;
  }
  const ranges = entry?.class[flow.protocol] ?? [];
  const range = ranges.find(({ first, last }) => first <= flow.port && flow.port <= last);
  if (!range) return false;
  const { sources } = range;
  return sources.length === 0 || sources.some((source) => prefixContains(source, flow.family, flow.source));
}
