/**
 * Classes of forwarded traffic, as data: pure. Its flows keep their sources, so each set of sources that a service names is
 * looked at by itself: rules choose the interface, the source and the ports, a table or the rule itself the prefixes.
 */
import type { CapturePorts, CaptureRow } from '../../api/capture.ts';
import type { Family, Prefix, Protocol } from '../../api/flow.ts';
import { formatPrefix } from '../../capture/address.ts';
import { NOTHING, type PortClass, PortClasses, type PortRange } from './port-class.ts';
import { type RouteClass, routeClassesOf } from './route-class.ts';

export interface ForwardClass extends RouteClass {
  /** Empty: any source. */
  readonly sources: readonly Prefix[];
}

/** Sees only the ports of one set of sources. */
class PortsOfSources {
  readonly #classes: PortClasses;
  readonly #sources: string;
  readonly #protocol: Protocol;
  readonly #byText = new Map<string, PortClass>();

  constructor(classes: PortClasses, sources: string, protocol: Protocol) {
    this.#classes = classes;
    this.#sources = sources;
    this.#protocol = protocol;
  }

  of(ports: readonly CapturePorts[]): PortClass {
    const ranges = this.#classes.of(ports)[this.#protocol].filter((range) => textOf(range) === this.#sources);
    if (ranges.length === 0) return NOTHING;
    const text = ranges.map(({ first, last }) => (first === last ? first : `${first}-${last}`)).join(',');
    let found = this.#byText.get(text);
    if (!found) {
      const bare = ranges.map(({ first, last }): PortRange => ({ first, last, sources: [] }));
      const from = this.#sources === '' ? '' : ` from ${this.#sources}`;
      found = { text: `forward ${this.#protocol} ${text}${from}`, tcp: [], udp: [], [this.#protocol]: bare };
      this.#byText.set(text, found);
    }
    return found;
  }
}

function textOf({ sources }: PortRange): string {
  return sources.map(formatPrefix).join(' ');
}

/** @param rows of that family, sorted as in a capture set. */
export function forwardClassesOf(
  rows: readonly CaptureRow[],
  family: Family,
  protocol: Protocol,
): readonly ForwardClass[] {
  const classes = new PortClasses(family, new Set([protocol]));
  const sources = new Map<string, readonly Prefix[]>();
  for (const { ports } of rows) {
    for (const range of classes.of(ports)[protocol]) sources.set(textOf(range), range.sources);
  }
  return [...sources].flatMap(([text, prefixes]) =>
    routeClassesOf(rows, new PortsOfSources(classes, text, protocol), protocol).map((each) => ({
      ...each,
      sources: prefixes,
    })),
  );
}
