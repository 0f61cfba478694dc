/** What the maps of the program hold, as data: pure. */
import {
  type CaptureRow,
  comparePrefixes,
  familiesOf,
  type Family,
  formatPrefix,
  keyOf,
  NOTHING,
  ownAddressTest,
  parsePrefix,
  type PlanInput,
  type PortClass,
  PortClasses,
  type Prefix,
  prefixBounds,
  type PrefixKey,
  protocolsOf,
} from '@weir/core';

/** One entry of the prefix tries. */
export interface PrefixEntry {
  readonly prefix: Prefix;
  readonly class: PortClass;
  /**
   * A service names an address of this host: what is delivered there from this host is looked at whatever its source.
   * Other local flows have Weir's source address when they were brought here to be captured.
   */
  readonly own: boolean;
}

export interface MapContent {
  /** Of both families. */
  readonly prefixes: ReadonlyMap<PrefixKey, PrefixEntry>;
  /** Where flows of this host to own addresses come from. Empty while no service names one. */
  readonly ownAddresses: readonly Prefix[];
  /** Flows that came in by an interface are brought here too. */
  readonly forwarded: boolean;
}

const LOOPBACK: readonly Prefix[] = [parsePrefix('127.0.0.0/8'), parsePrefix('::1/128')];

/** Whether it steers anything of an address of this host. */
export function isNamedOwn({ own, class: each }: PrefixEntry): boolean {
  return own && each !== NOTHING;
}

function ownPrefixes({ ownAddresses }: Pick<PlanInput['facts'], 'ownAddresses'>): readonly Prefix[] {
  const all = [...LOOPBACK, ...ownAddresses.map(parsePrefix)];
  return [...new Map(all.map((prefix) => [keyOf(prefix), prefix])).values()];
}

/**
 * The entries of a capture set: rows that say something else than the row around them.
 * @param draining flows to own addresses are no longer taken.
 */
export function mapContentOf(input: PlanInput, draining = false): MapContent {
  const isOwn = ownAddressTest(input.facts);
  const prefixes = new Map<PrefixKey, PrefixEntry>();
  for (const family of familiesOf(input)) {
    const classes = new PortClasses(family, protocolsOf(input, family));
    const rows = withOwnAddresses(input, family);
    for (const entry of distinctEntries(rows, classes, (prefix) => isOwn(prefix) && !draining)) {
      prefixes.set(keyOf(entry.prefix), entry);
    }
  }
  const named = [...prefixes.values()].some(isNamedOwn);
  return {
    prefixes,
    ownAddresses: named ? ownPrefixes(input.facts) : [],
    forwarded: input.set.scopes.forward !== undefined,
  };
}

/** A row that says the same as the one around it is not in the set; for own addresses it makes a difference here. */
type MaybeRow = Pick<CaptureRow, 'prefix'> & Partial<CaptureRow>;

function withOwnAddresses({ set, facts }: PlanInput, family: Family): readonly MaybeRow[] {
  const own = new Map(
    ownPrefixes(facts)
      .filter((prefix) => prefix.family === family)
      .toSorted(comparePrefixes)
      .map((prefix) => [keyOf(prefix), { prefix }]),
  );
  const rows = set.rows.filter(({ prefix }) => prefix.family === family);
  for (const { prefix } of rows) own.delete(keyOf(prefix));
  const merged: MaybeRow[] = [];
  const rest = [...own.values()];
  for (const row of rows) {
    while (rest[0] && comparePrefixes(rest[0].prefix, row.prefix) < 0) merged.push(...rest.splice(0, 1));
    merged.push(row);
  }
  return [...merged, ...rest];
}

function* distinctEntries(
  rows: readonly MaybeRow[],
  classes: PortClasses,
  isOwn: (prefix: Prefix) => boolean,
): Generator<PrefixEntry> {
  const around: Array<{ readonly last: bigint; readonly entry: Omit<PrefixEntry, 'prefix'> }> = [];
  for (const { prefix, ports } of rows) {
    const [first, last] = prefixBounds(prefix);
    while ((around.at(-1)?.last ?? last) < first) around.pop();
    const outer = around.at(-1)?.entry ?? { class: NOTHING, own: false };
    const entry = { class: ports ? classes.of(ports) : outer.class, own: isOwn(prefix) };
    const same = outer.class === entry.class && (outer.own === entry.own || entry.class === NOTHING);
    around.push({ last, entry });
    if (!same) yield { prefix, ...entry };
  }
}

/** In the notation of `weir plan`: one line for each class and its prefixes, in the order of the set. */
export function describeContent({ prefixes, ownAddresses }: MapContent): readonly string[] {
  const byClass = new Map<string, string[]>();
  for (const entry of prefixes.values()) {
    const text = formatPrefix(entry.prefix);
    const key = `${entry.class.text}${entry.own ? ' (own address)' : ''}`;
    const members = byClass.get(key);
    if (members) members.push(text);
    else byClass.set(key, [text]);
  }
  return [
    ...(ownAddresses.length === 0 ? [] : [`own addresses: ${ownAddresses.map(formatPrefix).join(' ')}`]),
    ...[...byClass].flatMap(([key, members], index) => [
      `class ${index + 1}: ${key}`,
      ...members.map((prefix) => `  ${prefix}`),
    ]),
  ];
}
