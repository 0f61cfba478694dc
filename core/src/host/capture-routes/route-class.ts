/**
 * The routing side of a capture set, as data: pure. All local flows get Weir's source address, so sources are settled
 * beforehand, and a destination has nothing but ports. A rule chooses the ports, a table or the rule itself the prefixes.
 */
import type { CaptureRow } from '../../api/capture.ts';
import type { Prefix, Protocol } from '../../api/flow.ts';
import { comparePrefixes, prefixBounds, prefixesBetween } from '../../capture/address.ts';
import { NOTHING, type PortClass, type PortClasses, type PortRange } from './port-class.ts';

/** `steered`: by way of our device. Otherwise an exception inside such a prefix: the look-up goes on (`throw`). */
export interface ClassRoute {
  readonly prefix: Prefix;
  readonly steered: boolean;
}

/** Destinations that share one set of ports. What is steered in a class is so on all its ports. */
export interface RouteClass {
  /** What tells it from the others: `tcp 80-90,443`. */
  readonly text: string;
  readonly protocol: Protocol;
  readonly ranges: readonly PortRange[];
  /** Sorted as rows are; an exception stands behind what it is an exception to. */
  readonly routes: readonly ClassRoute[];
}

/**
 * Classes of the rows of one family and one protocol. A destination is steered on a port exactly when some class that has
 * the port steers it.
 * @param rows sorted as in a capture set.
 */
export function routeClassesOf(
  rows: readonly CaptureRow[],
  classes: Pick<PortClasses, 'of'>,
  protocol: Protocol,
): readonly RouteClass[] {
  const routes = new Map<PortClass, ClassRoute[]>();
  const covers = coverTest(protocol);
  const add = (each: PortClass, route: ClassRoute) => {
    const known = routes.get(each);
    if (known) known.push(route);
    else routes.set(each, [route]);
  };
  /** Rows around the one that is looked at, each with the classes that steer it. */
  const around: Array<{ readonly last: bigint; readonly own: PortClass; readonly steering: ReadonlySet<PortClass> }> =
    [];
  for (const { prefix, ports } of rows) {
    const [first, last] = prefixBounds(prefix);
    while ((around.at(-1)?.last ?? last) < first) around.pop();
    const own = classes.of(ports);
    const outer = around.at(-1) ?? { own: NOTHING, steering: new Set<PortClass>() };
    if (outer.own === own) {
      around.push({ last, own, steering: outer.steering });
      continue;
    }
    const steering = new Set<PortClass>();
    for (const each of outer.steering) {
      if (covers(own, each)) steering.add(each);
      else add(each, { prefix, steered: false });
    }
    if (own !== NOTHING && !steering.has(own)) {
      steering.add(own);
      add(own, { prefix, steered: true });
    }
    around.push({ last, own, steering });
  }
  return [...routes].map(([each, list]) => ({ text: each.text, protocol, ranges: each[protocol], routes: list }));
}

/** Whether every port of `inner` is one of `outer`. */
function coverTest(protocol: Protocol): (outer: PortClass, inner: PortClass) => boolean {
  const known = new Map<PortClass, Map<PortClass, boolean>>();
  return (outer, inner) => {
    if (outer === inner) return true;
    let answers = known.get(outer);
    if (!answers) known.set(outer, (answers = new Map()));
    let answer = answers.get(inner);
    if (answer === undefined) answers.set(inner, (answer = coversPorts(outer[protocol], inner[protocol])));
    return answer;
  };
}

function coversPorts(outer: readonly PortRange[], inner: readonly PortRange[]): boolean {
  let at = 0;
  for (const { first, last } of inner) {
    while ((outer[at]?.last ?? Infinity) < first) at++;
    const range = outer[at];
    // Ranges without sources are never adjacent, so one of them must hold it whole.
    if (!range || range.first > first || range.last < last) return false;
  }
  return true;
}

/** How many {@link steeredPrefixesOf} gives. */
export function steeredCount(each: Pick<RouteClass, 'routes'>): number {
  const { routes } = each;
  return routes.every(({ steered }) => steered) ? routes.length : steeredPrefixesOf(each).length;
}

/** The fewest prefixes that hold exactly what is steered in a class. */
export function steeredPrefixesOf({ routes }: Pick<RouteClass, 'routes'>): readonly Prefix[] {
  if (routes.every(({ steered }) => steered)) return routes.map(({ prefix }) => prefix);
  const pieces: Prefix[] = [];
  const around: Array<{ readonly last: bigint; readonly steered: boolean }> = [];
  let next = 0n;
  const upTo = (end: bigint, family: Prefix['family']) => {
    if (around.at(-1)?.steered && next < end) pieces.push(...prefixesBetween(family, next, end - 1n));
    next = end;
  };
  const leave = (family: Prefix['family']) => {
    upTo((around.at(-1)?.last ?? 0n) + 1n, family);
    around.pop();
  };
  for (const { prefix, steered } of routes.toSorted((a, b) => comparePrefixes(a.prefix, b.prefix))) {
    const [first, last] = prefixBounds(prefix);
    while ((around.at(-1)?.last ?? last) < first) leave(prefix.family);
    upTo(first, prefix.family);
    around.push({ last, steered });
  }
  const family = routes[0]?.prefix.family ?? 4;
  while (around.length > 0) leave(family);
  return pieces;
}
