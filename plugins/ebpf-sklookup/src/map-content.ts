/** What the maps of the program hold, as data: pure. */
import {
  type CaptureRow,
  comparePrefixes,
  familiesOf,
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
  type Region,
  RegionMemo,
  regionsOf,
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
  const { facts, set } = input;
  const prefixes = new Map<PrefixKey, PrefixEntry>();
  let named = false;
  for (const family of familiesOf(input)) {
    const protocols = protocolsOf(input, family);
    const circumstances = [family, draining, ...protocols, ...facts.ownAddresses].join(' ');
    const isOwn = ownAddressTest(facts);
    const classes = new PortClasses(family, protocols);
    const own = ownPrefixes(facts)
      .filter((prefix) => prefix.family === family)
      .toSorted(comparePrefixes);
    const entriesOf = KNOWN.under(circumstances, (region) => [
      ...distinctEntries(withOwnAddresses(region, own), classes, (prefix) => isOwn(prefix) && !draining),
    ]);
    for (const region of regionsOf(set, family)) {
      for (const entry of entriesOf(region)) {
        prefixes.set(keyOf(entry.prefix), entry);
        if (entry.own) named ||= isNamedOwn(entry);
      }
    }
  }
  return {
    prefixes,
    ownAddresses: named ? ownPrefixes(facts) : [],
    forwarded: set.scopes.forward !== undefined,
  };
}

/** Entries of whole regions: what is the same as before are the same objects. */
const KNOWN = new RegionMemo<readonly PrefixEntry[]>();

/** A row that says the same as the one around it is not in the set; for own addresses it makes a difference here. */
type MaybeRow = Pick<CaptureRow, 'prefix'> & Partial<CaptureRow>;

/**
 * The region's rows with the host's own addresses inside it. Where there is no row nothing is steered, and an own address
 * around the region says nothing that its rows do not say themselves.
 * @param own sorted as rows are
 */
function withOwnAddresses({ rows, first, last }: Region, own: readonly Prefix[]): readonly MaybeRow[] {
  const inside = own.filter(({ address }) => first <= address && address <= last);
  if (inside.length === 0) return rows;
  const present = new Set(rows.map(({ prefix }) => keyOf(prefix)));
  const rest = inside.filter((prefix) => !present.has(keyOf(prefix))).map((prefix): MaybeRow => ({ prefix }));
  return [...rows, ...rest].toSorted((a, b) => comparePrefixes(a.prefix, b.prefix));
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
