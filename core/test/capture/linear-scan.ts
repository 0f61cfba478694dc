/**
 * What the documentation says about precedence, written down a second time and as plainly as possible: all entries of a
 * configuration in one list, a scan over all of them for each flow. Shares nothing with the compiler but the types.
 */
import { CANARY_SERVICE, NAMES_SERVICE } from '../../src/api/capture.ts';
import type { FlowKey, Prefix } from '../../src/api/flow.ts';
import { addressToNumber } from '../../src/capture/address.ts';
import type { CaptureInput, NumberedService } from '../../src/capture/index.ts';

export type Answer = number | 'spare' | 'none';

interface Entry {
  readonly answer: Answer;
  /** Length of the prefix, or how specific the name pattern is. */
  readonly specificity: number;
  /** 0 canary, 1 user exclusion, 2 service or range, 3 built-in exclusion. */
  readonly kind: number;
  readonly width: number;
  readonly protocols: number;
  readonly source: number;
  readonly order: number;
}

/** How two entries that both match compare: the documented list, one line per rule. */
function better(a: Entry, b: Entry): boolean {
  if (a.specificity !== b.specificity) return a.specificity > b.specificity;
  if (a.kind !== b.kind) return a.kind < b.kind;
  if (a.width !== b.width) return a.width < b.width;
  if (a.protocols !== b.protocols) return a.protocols < b.protocols;
  if (a.source !== b.source) return a.source > b.source;
  return a.order < b.order;
}

function best(entries: readonly Entry[]): Answer {
  let winner: Entry | undefined;
  for (const entry of entries) if (!winner || better(entry, winner)) winner = entry;
  return winner ? winner.answer : 'none';
}

export function scanCapture(input: CaptureInput, flow: FlowKey): Answer {
  const entries: Entry[] = [];
  const whole = { width: 65_536, protocols: 2, source: -1 };
  for (const [order, canary] of input.canaries.entries()) {
    const here = canary.family === flow.family && addressToNumber(canary.address) === flow.destination;
    if (!here || canary.protocol !== flow.protocol || canary.port !== flow.port) continue;
    const specificity = canary.family === 4 ? 32 : 128;
    entries.push({ answer: CANARY_SERVICE, specificity, kind: 0, width: 1, protocols: 1, source: -1, order });
  }
  for (const prefix of input.exclude) {
    if (!holds(prefix, flow.family, flow.destination)) continue;
    entries.push({ answer: 'spare', specificity: prefix.length, kind: 1, order: 0, ...whole });
  }
  for (const prefix of input.builtins) {
    if (!holds(prefix, flow.family, flow.destination)) continue;
    entries.push({ answer: 'spare', specificity: prefix.length, kind: 3, order: 0, ...whole });
  }
  for (const prefix of input.ranges) {
    if (!holds(prefix, flow.family, flow.destination) || !input.rangeProtocols.includes(flow.protocol)) continue;
    const protocols = input.rangeProtocols.length;
    entries.push({
      answer: NAMES_SERVICE,
      specificity: prefix.length,
      kind: 2,
      width: 65_536,
      protocols,
      source: -1,
      order: -1,
    });
  }
  for (const [order, numbered] of input.services.entries()) {
    for (const prefix of numbered.service.prefixes) {
      if (holds(prefix, flow.family, flow.destination)) entries.push(...matching(numbered, order, prefix.length, flow));
    }
  }
  return best(entries);
}

export function scanNames(services: readonly NumberedService[], name: string, flow: FlowKey): Answer {
  const entries: Entry[] = [];
  for (const [order, numbered] of services.entries()) {
    let most = 0;
    let excluded = false;
    for (const written of numbered.service.names) {
      const specificity = namePattern(written.replace('!', ''), name);
      const out = written.startsWith('!');
      if (specificity === 0 || specificity < most || (specificity === most && !out)) continue;
      most = specificity;
      excluded = out;
    }
    if (most > 0 && !excluded) entries.push(...matching(numbered, order, most, flow));
  }
  return best(entries);
}

/** 0: the pattern does not have the name. Otherwise a number whose digits are the labels from the end, base 128. */
export function namePattern(pattern: string, name: string): number {
  const labels = pattern.split('.');
  if (!labelsMatch(labels, name.split('.'), true)) return 0;
  let specificity = 1;
  for (let fromEnd = 0; fromEnd < 6; fromEnd++) {
    const label = labels[labels.length - 1 - fromEnd];
    let digit = 0;
    if (label !== undefined && !(label === '*' && fromEnd === labels.length - 1)) {
      const plain = label.split('').filter((c) => c !== '*' && c !== '?').length;
      digit = plain === label.length ? 127 : label === '*' ? 1 : 2 + plain;
    }
    specificity = specificity * 128 + digit;
  }
  return specificity;
}

function labelsMatch(pattern: readonly string[], labels: readonly string[], first: boolean): boolean {
  const [head, ...rest] = pattern;
  if (head === undefined) return labels.length === 0;
  if (labels.length === 0) return false;
  if (first && head === '*') {
    return labels.some((_, taken) => labelsMatch(rest, labels.slice(taken + 1), false));
  }
  return charactersMatch(head, labels[0] as string) && labelsMatch(rest, labels.slice(1), false);
}

function charactersMatch(pattern: string, text: string): boolean {
  if (pattern === '') return text === '';
  if (pattern[0] === '*') {
    return charactersMatch(pattern.slice(1), text) || (text !== '' && charactersMatch(pattern, text.slice(1)));
  }
  return (
    text !== '' && (pattern[0] === '?' || pattern[0] === text[0]) && charactersMatch(pattern.slice(1), text.slice(1))
  );
}

function matching({ id, service }: NumberedService, order: number, specificity: number, flow: FlowKey): Entry[] {
  if (!service.protocols.includes(flow.protocol)) return [];
  const source = sourceSpecificity(service.sources, flow);
  if (source === undefined) return [];
  return service.ports
    .filter(({ first, last }) => first <= flow.port && flow.port <= last)
    .map(({ first, last }) => ({
      answer: id,
      specificity,
      kind: 2,
      width: last - first + 1,
      protocols: service.protocols.length,
      source,
      order,
    }));
}

/** The longest source prefix that has the source; -1 for any source; undefined when the source is not allowed. */
function sourceSpecificity(sources: readonly Prefix[], flow: FlowKey): number | undefined {
  if (sources.length === 0) return -1;
  const lengths = sources.filter((source) => holds(source, flow.family, flow.source)).map((source) => source.length);
  if (lengths.length === 0) return undefined;
  const longest = Math.max(...lengths);
  return longest === 0 ? -1 : longest;
}

/** By comparing bits as text, so that no arithmetic is shared with what is tested. */
export function holds(prefix: Prefix, family: number, address: bigint): boolean {
  const width = prefix.family === 4 ? 32 : 128;
  const bits = (value: bigint) => value.toString(2).padStart(width, '0').slice(0, prefix.length);
  return prefix.family === family && bits(prefix.address) === bits(address);
}
