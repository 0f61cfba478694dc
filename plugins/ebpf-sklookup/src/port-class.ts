/**
 * Classes of destinations: which ports of which protocol are steered, and for which sources. Many prefixes share one.
 * Rows of a capture set are complete, so a destination's class is that of its longest prefix and nothing else is asked.
 */
import {
  type CapturePorts,
  type Family,
  formatPrefix,
  isSteered,
  type Prefix,
  prefixesBetween,
  type Protocol,
  sourceSegments,
  widthOf,
} from '@weir/core';

/** Bounds are inclusive. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
  /** Disjoint, in order. Empty: any source. */
  readonly sources: readonly Prefix[];
}

export interface PortClass {
  /** Equal exactly for equal classes, and for people: `tcp 80-90,443 from 10.0.0.0/8`, `nothing`. */
  readonly text: string;
  /** Sorted, disjoint; neighbours differ in their sources. */
  readonly tcp: readonly PortRange[];
  readonly udp: readonly PortRange[];
}

export const NOTHING: PortClass = { text: 'nothing', tcp: [], udp: [] };

function rangeText({ first, last, sources }: PortRange): string {
  const ports = first === last ? `${first}` : `${first}-${last}`;
  return sources.length === 0 ? ports : `${ports} from ${sources.map(formatPrefix).join(' ')}`;
}

function classText(tcp: readonly PortRange[], udp: readonly PortRange[]): string {
  const part = (name: string, ranges: readonly PortRange[]) =>
    ranges.length === 0 ? [] : [`${name} ${ranges.map(rangeText).join(', ')}`];
  return [...part('tcp', tcp), ...part('udp', udp)].join('; ') || NOTHING.text;
}

type Choices = CapturePorts['choices'];

/** Classes of one family and of the protocols that there are points for; equal ones are the same object. */
export class PortClasses {
  readonly #family: Family;
  readonly #protocols: ReadonlySet<Protocol>;
  readonly #source: bigint | undefined;
  readonly #byPorts = new Map<readonly CapturePorts[], PortClass>();
  readonly #byText = new Map<string, PortClass>([[NOTHING.text, NOTHING]]);
  readonly #sources = new Map<Choices, readonly Prefix[] | undefined>();

  /** @param source where all flows come from, if that is known: classes then have no sources left. */
  constructor(family: Family, protocols: ReadonlySet<Protocol>, source?: bigint) {
    this.#family = family;
    this.#protocols = protocols;
    this.#source = source;
  }

  of(ports: readonly CapturePorts[]): PortClass {
    const known = this.#byPorts.get(ports);
    if (known) return known;
    const tcp = this.#ranges(ports, 'tcp');
    const udp = this.#ranges(ports, 'udp');
    const text = classText(tcp, udp);
    let found = this.#byText.get(text);
    if (!found) this.#byText.set(text, (found = { text, tcp, udp }));
    this.#byPorts.set(ports, found);
    return found;
  }

  #ranges(ports: readonly CapturePorts[], protocol: Protocol): readonly PortRange[] {
    const ranges: PortRange[] = [];
    if (!this.#protocols.has(protocol)) return ranges;
    for (const stretch of ports) {
      if (stretch.protocol !== protocol) continue;
      const sources = this.#sourcesOf(stretch.choices);
      if (!sources) continue;
      const before = ranges.at(-1);
      const { first, last } = stretch;
      if (before && before.last + 1 === first && samePrefixes(before.sources, sources)) {
        ranges[ranges.length - 1] = { ...before, last };
      } else ranges.push({ first, last, sources });
    }
    return ranges;
  }

  /** `undefined`: from nowhere. */
  #sourcesOf(choices: Choices): readonly Prefix[] | undefined {
    if (this.#sources.has(choices)) return this.#sources.get(choices);
    const sources =
      this.#source === undefined ? this.#steeredSources(choices) : this.#fromSource(choices, this.#source);
    this.#sources.set(choices, sources);
    return sources;
  }

  #fromSource(choices: Choices, source: bigint): readonly Prefix[] | undefined {
    const segment = sourceSegments(choices, this.#family).findLast(({ first }) => first <= source);
    return segment && isSteered(segment.value) ? [] : undefined;
  }

  #steeredSources(choices: Choices): readonly Prefix[] | undefined {
    const end = 1n << BigInt(widthOf(this.#family));
    const segments = sourceSegments(choices, this.#family);
    const prefixes: Prefix[] = [];
    let from: bigint | undefined;
    const finish = (next: bigint) => {
      if (from !== undefined) prefixes.push(...prefixesBetween(this.#family, from, next - 1n));
      from = undefined;
    };
    for (const { first, value } of segments) {
      if (isSteered(value)) from ??= first;
      else finish(first);
    }
    finish(end);
    if (prefixes.length === 0) return undefined;
    return prefixes[0]?.length === 0 ? [] : prefixes;
  }
}

function samePrefixes(a: readonly Prefix[], b: readonly Prefix[]): boolean {
  if (a === b) return true;
  return a.length === b.length && a.every((prefix, index) => formatPrefix(prefix) === formatPrefix(b[index] as Prefix));
}
