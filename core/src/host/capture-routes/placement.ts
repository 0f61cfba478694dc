/**
 * Which classes have a routing table of their own, and which are rules with the prefix in them: pure. An owner has 14
 * tables for classes; a rule for each prefix needs none, and costs every unconnected look-up about 10 ns.
 */
import { UnsupportedError } from '../../api/errors.ts';
import { type RouteClass, steeredCount } from './route-class.ts';

/** The first two of an owner's 16 tables are for everything and for living flows. */
const FIRST_TABLE = 2;
export const CLASS_TABLES = 14;

/** Rules of one family: 4,096 of them add about 40 µs to the route look-up of an unconnected socket of this host. */
export const MOST_RULES = 4096;

/** Rules choose ports between these; the kernel refuses ranges with 0 or 65535 in them. */
const FIRST_PORT = 1;
const LAST_PORT = 65_534;

/** The ports of a class as rules can say them. */
export interface RulePorts {
  /** Every port but 0: no selector at all. */
  readonly all: boolean;
  readonly ranges: ReadonlyArray<{ readonly first: number; readonly last: number }>;
  /** Port 65535 as well, which is told by not being any other. */
  readonly highest: boolean;
}

export function rulePorts({ ranges }: Pick<RouteClass, 'ranges'>): RulePorts {
  const [only] = ranges;
  if (ranges.length === 1 && only && only.first <= FIRST_PORT && only.last > LAST_PORT) {
    return { all: true, ranges: [], highest: false };
  }
  return {
    all: false,
    ranges: ranges
      .map(({ first, last }) => ({ first: Math.max(first, FIRST_PORT), last: Math.min(last, LAST_PORT) }))
      .filter(({ first, last }) => first <= last),
    highest: ranges.some(({ last }) => last > LAST_PORT),
  };
}

/** A class, and how often its rules are there: once for each interface and source that they name. */
export type PlacedClass = RouteClass & { readonly times?: number };

/** How many rules it takes to name the ports. */
function ruleCount(each: PlacedClass): number {
  const { all, ranges, highest } = rulePorts(each);
  return (all ? 1 : ranges.length + (highest ? 1 : 0)) * (each.times ?? 1);
}

/** Numbers of tables, 2 to 15, by the text of their class. Classes that are not in it are rules with prefixes. */
export type Placement = ReadonlyMap<string, number>;

/**
 * The classes that save the most rules get the tables. A class that has one keeps it; a table that was in use before is
 * not given to another class, so that the next content can be built beside the one that is in force.
 * @throws UnsupportedError when it takes too many rules.
 */
export function placeClasses(classes: readonly PlacedClass[], before: Placement = new Map()): Placement {
  const costs = classes.map((each) => {
    const inTable = ruleCount(each);
    const byPrefix = inTable * steeredCount(each);
    return { text: each.text, inTable, byPrefix, saved: byPrefix - inTable };
  });
  const placement = new Map<string, number>();
  for (const { text, saved } of costs) {
    const table = before.get(text);
    if (table !== undefined && saved > 0) placement.set(text, table);
  }
  const taken = new Set(before.values());
  const free = Array.from({ length: CLASS_TABLES }, (_, index) => index + FIRST_TABLE).filter(
    (table) => !taken.has(table),
  );
  const candidates = costs.filter(({ text, saved }) => saved > 0 && !placement.has(text));
  for (const { text } of candidates.toSorted((a, b) => b.saved - a.saved || (a.text < b.text ? -1 : 1))) {
    const table = free.shift();
    if (table === undefined) break;
    placement.set(text, table);
  }
  const rules = costs.reduce((sum, cost) => sum + (placement.has(cost.text) ? cost.inTable : cost.byPrefix), 0);
  if (rules <= MOST_RULES) return placement;
  throw new UnsupportedError({
    problem:
      `The services have ${classes.length} different sets of ports, ${CLASS_TABLES} of which can have a routing table; ` +
      `with the others it takes ${rules} policy routing rules, and more than ${MOST_RULES} would slow the host down.`,
    remedy:
      before.size === 0
        ? 'Give services the same ports, or use the interceptor nft or tproxy-iptables.'
        : 'Restart Weir, so that the tables are given out anew; or give services the same ports.',
  });
}
