/**
 * The capture set as a worker asks it: once per flow, on plain numbers, without an allocation. The arrays lie in shared
 * memory, so that a table is built once and handed to every worker by postMessage without a copy.
 */
import { NONE } from './verdict.ts';

/** What IP headers and sockets call the protocols (netinet/in.h). */
const IPPROTO_TCP = 6;
const IPPROTO_UDP = 17;

/**
 * A look-up table at rest: what `buildLookupTable` makes, `postMessage` carries and {@link LookupTable} reads.
 *
 * Everything is a sorted list of starts with one value each, and a look-up is "the last start at or below this".
 * Destinations give a port list, a port list gives for each protocol a value, and a value below `SOURCES_BELOW` is
 * a source list, which gives a value for the source. IPv6 addresses are four words each, the most significant first.
 */
export interface LookupTableData {
  readonly generation: number;
  readonly starts4: Uint32Array;
  readonly ports4: Int32Array;
  readonly starts6: Uint32Array;
  readonly ports6: Int32Array;
  /** Port lists of name patterns, for flows of either family. */
  readonly namePorts4: Int32Array;
  readonly namePorts6: Int32Array;
  /** Where the TCP (2n) and UDP (2n+1) part of port list n begin; one more entry ends the last. */
  readonly portIndex: Int32Array;
  readonly portStarts: Uint16Array;
  readonly portValues: Int32Array;
  readonly sourceIndex4: Int32Array;
  readonly sourceStarts4: Uint32Array;
  readonly sourceValues4: Int32Array;
  readonly sourceIndex6: Int32Array;
  readonly sourceStarts6: Uint32Array;
  readonly sourceValues6: Int32Array;
}

/** Values of ports below this are `SOURCES_BELOW - 1 - n` for source list n; others are the decision itself. */
export const SOURCES_BELOW = -16;

/**
 * Answers exactly as `decide` does, with numbers: a service id, or `NONE` (-1), `SPARE` (-2), `DENY` (-3).
 * Addresses are unsigned 32-bit words in the order of the text; protocols are IPPROTO_TCP (6) and IPPROTO_UDP (17), and
 * nothing is ever decided for another one.
 */
export class LookupTable {
  readonly generation: number;
  readonly #data: LookupTableData;

  constructor(data: LookupTableData) {
    this.generation = data.generation;
    this.#data = data;
  }

  decide4(destination: number, port: number, protocol: number, source: number): number {
    const { starts4, ports4 } = this.#data;
    const at = find(starts4, 0, starts4.length, destination >>> 0);
    return this.#decidePorts4(ports4[at] as number, port, protocol, source);
  }

  decide6(
    d0: number,
    d1: number,
    d2: number,
    d3: number,
    port: number,
    protocol: number,
    s0: number,
    s1: number,
    s2: number,
    s3: number,
  ): number {
    const { starts6, ports6 } = this.#data;
    const at = find6(starts6, 0, ports6.length, d0 >>> 0, d1 >>> 0, d2 >>> 0, d3 >>> 0);
    return this.#decidePorts6(ports6[at] as number, port, protocol, s0, s1, s2, s3);
  }

  /**
   * For a destination that was assigned to a name of this pattern. An IPv4 source is `s0`, and the others are ignored.
   * A pattern that the table does not have takes nothing.
   */
  decideName(
    pattern: number,
    port: number,
    protocol: number,
    family: number,
    s0: number,
    s1: number,
    s2: number,
    s3: number,
  ): number {
    const { namePorts4, namePorts6 } = this.#data;
    if (pattern < 0 || pattern >= namePorts4.length) return NONE;
    if (family === 4) return this.#decidePorts4(namePorts4[pattern] as number, port, protocol, s0);
    return this.#decidePorts6(namePorts6[pattern] as number, port, protocol, s0, s1, s2, s3);
  }

  #decidePorts4(list: number, port: number, protocol: number, source: number): number {
    const value = this.#portValue(list, port, protocol);
    if (value >= SOURCES_BELOW) return value;
    const { sourceIndex4, sourceStarts4, sourceValues4 } = this.#data;
    const sources = SOURCES_BELOW - 1 - value;
    const begin = sourceIndex4[sources] as number;
    const end = sourceIndex4[sources + 1] as number;
    return sourceValues4[find(sourceStarts4, begin, end, source >>> 0)] as number;
  }

  #decidePorts6(list: number, port: number, protocol: number, s0: number, s1: number, s2: number, s3: number): number {
    const value = this.#portValue(list, port, protocol);
    if (value >= SOURCES_BELOW) return value;
    const { sourceIndex6, sourceStarts6, sourceValues6 } = this.#data;
    const sources = SOURCES_BELOW - 1 - value;
    const begin = sourceIndex6[sources] as number;
    const end = sourceIndex6[sources + 1] as number;
    return sourceValues6[find6(sourceStarts6, begin, end, s0 >>> 0, s1 >>> 0, s2 >>> 0, s3 >>> 0)] as number;
  }

  #portValue(list: number, port: number, protocol: number): number {
    if (protocol !== IPPROTO_TCP && protocol !== IPPROTO_UDP) return NONE;
    const { portIndex, portStarts, portValues } = this.#data;
    const part = 2 * list + (protocol === IPPROTO_UDP ? 1 : 0);
    const begin = portIndex[part] as number;
    const end = portIndex[part + 1] as number;
    return portValues[find(portStarts, begin, end, port)] as number;
  }
}

/** The last place in `[begin, end)` whose start is at or below `value`. The first start is 0, so there is one. */
function find(starts: Uint32Array | Uint16Array, begin: number, end: number, value: number): number {
  let low = begin;
  let high = end;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if ((starts[middle] as number) <= value) low = middle;
    else high = middle;
  }
  return low;
}

/** As {@link find}, for starts of four words. */
function find6(
  starts: Uint32Array,
  begin: number,
  end: number,
  w0: number,
  w1: number,
  w2: number,
  w3: number,
): number {
  let low = begin;
  let high = end;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (startsBelow(starts, 4 * middle, w0, w1, w2, w3)) low = middle;
    else high = middle;
  }
  return low;
}

function startsBelow(starts: Uint32Array, at: number, w0: number, w1: number, w2: number, w3: number): boolean {
  const a0 = starts[at] as number;
  if (a0 !== w0) return a0 < w0;
  const a1 = starts[at + 1] as number;
  if (a1 !== w1) return a1 < w1;
  const a2 = starts[at + 2] as number;
  if (a2 !== w2) return a2 < w2;
  return (starts[at + 3] as number) <= w3;
}
