/**
 * Policy routing that brings what is to be captured to a device of ours and leaves everything else alone, for mechanisms
 * that see whole prefixes (sk_lookup, tun). As data: pure. In the order in which the kernel asks the rules, by preference:
 *
 *   + 0        what has our source address, from the first look-up of connect() on, goes to + 5; forwarded traffic to + 12
 *   + 1, + 2   packets and sockets that have another source go on behind our rules
 *   + 3, + 4   where users are chosen: canaries are captured for all; the other users go on behind our rules
 *   + 5        landing of + 0
 *   + 6, + 7   ports of classes that have a table; ports and prefixes of classes that have none
 *   + 8        ports that a rule can name go to + 11
 *   + 9, + 10  as + 6 and + 7 for port 65535, which no rule can name
 *   + 11       living flows with our source address to what is no longer captured
 *   + 12       what came in by an interface whose traffic is looked at: sent here by + 0; ports of classes
 *   + 13, + 14 as + 8 to + 10 for it
 *   + 15       behind our rules
 *
 * Tables: everything by way of our device; destinations that are no longer captured; one for each of some classes.
 * Our address alone must not be enough to be brought here: where IPv6 has no route, connect() tries every address of the
 * host as a source, also ours, before it says so.
 */
import type { CaptureRow, OwnerMatch } from '../../api/capture.ts';
import { UnsupportedError } from '../../api/errors.ts';
import type { Family, Prefix, Protocol } from '../../api/flow.ts';
import type { PlanInput } from '../../api/interceptor.ts';
import { addressToNumber, parsePrefix, prefixContains, widthOf } from '../../capture/address.ts';
import { RegionMemo, regionsOf } from '../../capture/regions.ts';
import { IPPROTO_TCP, IPPROTO_UDP } from '../../sys/constants.ts';
import type { RoutingRule } from '../../sys/netlink/rule.ts';
import { type ForwardClass, forwardClassesOf } from './forward-class.ts';
import type { OwnSources } from './own-sources.ts';
import { type Placement, placeClasses, rulePorts } from './placement.ts';
import { PortClasses } from './port-class.ts';
import { keyOf, type PrefixKey } from './prefix-key.ts';
import { type ClassRoute, type RouteClass, routeClassesOf, steeredPrefixesOf } from './route-class.ts';

const AT = {
  own: 0,
  sourced: 1,
  canaries: 3,
  users: 4,
  classes: 5,
  byTable: 6,
  byPrefix: 7,
  named: 8,
  highestByTable: 9,
  highestByPrefix: 10,
  living: 11,
  forwarded: 12,
  forwardNamed: 13,
  forwardHighest: 14,
  end: 15,
} as const;

/** Tables and preferences of one owner. */
export const BLOCK = 16;

/** The mechanism that the routes are for. */
export interface RoutedMechanism {
  /** For error texts. */
  readonly id: string;
  readonly sources: OwnSources;
}

const LOOPBACK: readonly Prefix[] = [parsePrefix('127.0.0.0/8'), parsePrefix('::1/128')];

/** The protocols that a family has capture points for on this host. */
export function protocolsOf(
  { points, facts }: Pick<PlanInput, 'points' | 'facts'>,
  family: Family,
): ReadonlySet<Protocol> {
  if (family === 6 && !facts.ipv6) return new Set();
  return new Set(points.filter(({ network }) => network.family === family).map(({ network }) => network.protocol));
}

/** The families that there is a capture point for. */
export function familiesOf(input: Pick<PlanInput, 'points' | 'facts'>): readonly Family[] {
  return ([4, 6] as const).filter((family) => protocolsOf(input, family).size > 0);
}

/** Tells whether a prefix lies within one of the host's own addresses: those are asked before any rule of ours. */
export function ownAddressTest({
  ownAddresses,
}: Pick<PlanInput['facts'], 'ownAddresses'>): (prefix: Prefix) => boolean {
  const inside = [...LOOPBACK, ...ownAddresses.map(parsePrefix)];
  const single = new Set(inside.map(keyOf));
  const wide = inside.filter(({ family, length }) => length < (family === 4 ? 32 : 128));
  return (prefix) =>
    single.has(keyOf(prefix)) ||
    wide.some((own) => own.length <= prefix.length && prefixContains(own, prefix.family, prefix.address));
}

/** Routes of one table. */
export type TableRoutes = ReadonlyMap<PrefixKey, ClassRoute>;

export interface FamilyRouting {
  readonly family: Family;
  readonly placement: Placement;
  /** By the text of the class, whether it has a table or not. */
  readonly classes: ReadonlyMap<string, TableRoutes>;
  /** By number; without the one of living flows, which depends on what was captured before. */
  readonly tables: ReadonlyMap<number, TableRoutes>;
  /** In an order in which each can be added without steering what the whole would not. */
  readonly rules: readonly RoutingRule[];
}

const EVERYWHERE: Readonly<Record<Family, Prefix>> = { 4: parsePrefix('0.0.0.0/0'), 6: parsePrefix('::/0') };
const NO_SOURCE = parsePrefix('0.0.0.0/32');
const HALVES = [parsePrefix('::/1'), parsePrefix('8000::/1')];

/** linux/uidgid.h: the highest number is no user. */
const LAST_UID = 0xffff_fffe;

/** The table of destinations that were captured and are not any more. */
export function livingTable({ table }: Pick<PlanInput['numbers'], 'table'>): number {
  return table + 1;
}

export interface RoutingOptions {
  /** Nothing new is steered; living flows go on. */
  readonly draining?: boolean;
  /** Forwarded traffic is steered while draining too: the mechanism itself tells living flows from new ones. */
  readonly forwardStays?: boolean;
  /** What has a table now, by family. */
  readonly placements?: ReadonlyMap<Family, Placement>;
}

/** @throws UnsupportedError for what this mechanism cannot do. */
export function routingOf(
  input: PlanInput,
  mechanism: RoutedMechanism,
  options: RoutingOptions = {},
): readonly FamilyRouting[] {
  return familiesOf(input).map((family) => new RulesOf(input, family, mechanism).routing(options));
}

function tableRoutes({ routes }: RouteClass): TableRoutes {
  const table = new Map<PrefixKey, ClassRoute>();
  for (const route of routes) table.set(keyOf(route.prefix), route);
  return table;
}

type JoinedClass = RouteClass & { readonly routes: ClassRoute[] };

/** Classes of whole regions. */
const KNOWN = new RegionMemo<readonly RouteClass[]>();

class RulesOf {
  readonly #input: PlanInput;
  readonly #family: Family;
  readonly #mechanism: RoutedMechanism;
  readonly #source: bigint;

  constructor(input: PlanInput, family: Family, mechanism: RoutedMechanism) {
    this.#input = input;
    this.#family = family;
    this.#mechanism = mechanism;
    this.#source = addressToNumber(mechanism.sources[family]);
  }

  routing({ draining = false, forwardStays = false, placements }: RoutingOptions): FamilyRouting {
    const { numbers, set } = this.#input;
    const family = this.#family;
    const everywhere = EVERYWHERE[family];
    const all: TableRoutes = new Map([[keyOf(everywhere), { prefix: everywhere, steered: true }]]);
    const classes = draining || !set.scopes.output ? [] : this.#classes();
    const interfaces = ((!draining || forwardStays) && set.scopes.forward?.interfaces) || [];
    const forward = interfaces.length === 0 ? [] : this.#forwardClasses();
    const times = ({ sources }: ForwardClass) => interfaces.length * Math.max(1, sources.length);
    const placed = [...classes, ...forward.map((each) => ({ ...each, times: times(each) }))];
    const placement = placeClasses(placed, placements?.get(family));
    const routes = new Map(placed.map((each) => [each.text, tableRoutes(each)] as const));
    const tables = new Map<number, TableRoutes>([[numbers.table, all]]);
    for (const { text } of placed) {
      const number = placement.get(text);
      if (number !== undefined) tables.set(numbers.table + number, routes.get(text) as TableRoutes);
    }
    const rules = [
      ...this.#frame(),
      ...(classes.length === 0 ? [] : this.#canaries()),
      ...classes.flatMap((each) => this.#classRules(each, placement.get(each.text))),
      ...(forward.length === 0 ? [] : this.#forwardFrame()),
      ...forward.flatMap((each) => this.#forwardRules(each, placement.get(each.text), interfaces)),
      ...(forward.length === 0 ? [] : interfaces.map((iif) => this.#goOn(AT.own, { iif }, AT.forwarded))),
    ];
    const local = new Map(classes.map(({ text }) => [text, routes.get(text) as TableRoutes] as const));
    return { family, placement, classes: local, tables, rules };
  }

  /** Rows of other hosts. */
  #rows(): readonly CaptureRow[] {
    const isOwn = ownAddressTest(this.#input.facts);
    return this.#input.set.rows.filter(({ prefix }) => prefix.family === this.#family && !isOwn(prefix));
  }

  #forwardClasses(): readonly ForwardClass[] {
    const rows = this.#rows();
    return [...protocolsOf(this.#input, this.#family)].flatMap((protocol) =>
      forwardClassesOf(rows, this.#family, protocol),
    );
  }

  #classes(): readonly RouteClass[] {
    return [...protocolsOf(this.#input, this.#family)].flatMap((protocol) => this.#classesOf(protocol));
  }

  /** From the classes of each region, most of which are known from the last time. */
  #classesOf(protocol: Protocol): readonly RouteClass[] {
    const { facts, set } = this.#input;
    const isOwn = ownAddressTest(facts);
    const ports = new PortClasses(this.#family, new Set([protocol]), this.#source);
    const circumstances = [this.#family, protocol, this.#source, ...facts.ownAddresses].join(' ');
    const classesOf = KNOWN.under(circumstances, ({ rows }) =>
      routeClassesOf(
        rows.filter(({ prefix }) => !isOwn(prefix)),
        ports,
        protocol,
      ),
    );
    const joined = new Map<string, JoinedClass>();
    let last: JoinedClass | undefined;
    for (const region of regionsOf(set, this.#family)) {
      for (const each of classesOf(region)) {
        // Neighbours mostly are of one class.
        if (each.text !== last?.text) last = joined.get(each.text);
        if (last === undefined) joined.set(each.text, (last = { ...each, routes: [] }));
        for (const route of each.routes) last.routes.push(route);
      }
    }
    return [...joined.values()];
  }

  #rule(at: number, rest: Partial<RoutingRule>): RoutingRule {
    const { preference, protocolId } = this.#input.numbers;
    return { family: this.#family, preference: preference + at, table: 0, protocol: protocolId, ...rest };
  }

  #goOn(at: number, selectors: Partial<RoutingRule>, to: number = AT.end): RoutingRule {
    return this.#rule(at, { ...selectors, action: { goto: this.#input.numbers.preference + to } });
  }

  /** A rule for flows of this host; those with a source of their own never get here. */
  #steer(at: number, selectors: Partial<RoutingRule>): RoutingRule {
    return this.#rule(at, {
      iif: 'lo',
      fwmark: { value: 0, mask: this.#input.numbers.bypassMark },
      ...selectors,
    });
  }

  #frame(): readonly RoutingRule[] {
    const { numbers, set } = this.#input;
    const own = { family: this.#family, address: this.#source, length: widthOf(this.#family) };
    return [
      this.#rule(AT.end, { action: 'nop' }),
      this.#steer(AT.living, { from: own, table: livingTable(numbers) }),
      this.#rule(AT.classes, { action: 'nop' }),
      this.#goOn(AT.own, { from: own }, AT.classes),
      ...(this.#family === 4
        ? [this.#goOn(AT.sourced, { not: true, from: NO_SOURCE })]
        : HALVES.map((from, index) => this.#goOn(AT.sourced + index, { from }))),
      ...otherUsers(set.owners, this.#mechanism.id).map((uids) => this.#goOn(AT.users, { uids })),
      this.#goOn(AT.named, { ports: { first: 1, last: 65_534 } }, AT.living),
    ];
  }

  /** Only where users are chosen: Weir's own user need not be among them. */
  #canaries(): readonly RoutingRule[] {
    const { set, numbers } = this.#input;
    const protocols = protocolsOf(this.#input, this.#family);
    if (otherUsers(set.owners, this.#mechanism.id).length === 0) return [];
    return set.canaries
      .filter((canary) => canary.family === this.#family && protocols.has(canary.protocol))
      .map(({ address, port, protocol }) =>
        this.#steer(AT.canaries, {
          to: parsePrefix(address),
          ipProtocol: numberOf(protocol),
          ports: { first: port, last: port },
          table: numbers.table,
        }),
      );
  }

  /** Jumps and landings of forwarded traffic; without the rules that send it there. */
  #forwardFrame(): readonly RoutingRule[] {
    return [
      this.#rule(AT.forwarded, { action: 'nop' }),
      this.#goOn(AT.forwardNamed, { ports: { first: 1, last: 65_534 } }),
    ];
  }

  #forwardRules(each: ForwardClass, table: number | undefined, interfaces: readonly string[]): readonly RoutingRule[] {
    const { all, ranges, highest } = rulePorts(each);
    const ipProtocol = numberOf(each.protocol);
    const origins: ReadonlyArray<Partial<RoutingRule>> = interfaces.flatMap((iif) =>
      each.sources.length === 0 ? [{ iif }] : each.sources.map((from) => ({ iif, from })),
    );
    return origins.flatMap((origin) =>
      this.#targets(each, table).flatMap((target) => [
        ...(all ? [this.#steer(AT.forwarded, { ipProtocol, ...target, ...origin })] : []),
        ...ranges.map((ports) => this.#steer(AT.forwarded, { ipProtocol, ports, ...target, ...origin })),
        ...(highest ? [this.#steer(AT.forwardHighest, { ipProtocol, ...target, ...origin })] : []),
      ]),
    );
  }

  /** Where the rules of a class lead, and for which destinations. */
  #targets(each: RouteClass, table: number | undefined): ReadonlyArray<Partial<RoutingRule>> {
    const { numbers } = this.#input;
    if (table !== undefined) return [{ table: numbers.table + table }];
    return steeredPrefixesOf(each).map((to) => ({ ...(to.length === 0 ? {} : { to }), table: numbers.table }));
  }

  #classRules(each: RouteClass, table: number | undefined): readonly RoutingRule[] {
    const { all, ranges, highest } = rulePorts(each);
    const ipProtocol = numberOf(each.protocol);
    const targets = this.#targets(each, table);
    const [named, last] = table === undefined ? [AT.byPrefix, AT.highestByPrefix] : [AT.byTable, AT.highestByTable];
    return targets.flatMap((target) => [
      ...(all ? [this.#steer(named, { ipProtocol, ...target })] : []),
      ...ranges.map((ports) => this.#steer(named, { ipProtocol, ports, ...target })),
      ...(highest ? [this.#steer(last, { ipProtocol, ...target })] : []),
    ]);
  }
}

function numberOf(protocol: Protocol): number {
  return protocol === 'tcp' ? IPPROTO_TCP : IPPROTO_UDP;
}

/** Users whose flows are left alone, as ranges. @throws UnsupportedError for groups and control groups. */
function otherUsers(
  { only, except }: PlanInput['set']['owners'],
  mechanism: string,
): ReadonlyArray<{ first: number; last: number }> {
  const ranges = (owners: readonly OwnerMatch[]) =>
    owners.map((owner) => {
      if (owner.kind === 'uid') return { first: owner.first, last: Math.min(owner.last, LAST_UID) };
      throw new UnsupportedError({
        problem: `The interceptor ${mechanism} cannot choose processes by ${owner.kind === 'gid' ? 'group' : 'control group'}.`,
        remedy: `Choose them by uid, or use the interceptor ${owner.kind === 'gid' ? 'nft or tproxy-iptables' : 'nft'}.`,
      });
    });
  const wanted = ranges(only);
  return union([...ranges(except), ...(only.length === 0 ? [] : gaps(union(wanted)))]);
}

type UidRange = { first: number; last: number };

function union(ranges: readonly UidRange[]): UidRange[] {
  const result: UidRange[] = [];
  for (const { first, last } of ranges.toSorted((a, b) => a.first - b.first)) {
    const before = result.at(-1);
    if (before && first <= before.last + 1) before.last = Math.max(before.last, last);
    else result.push({ first, last });
  }
  return result;
}

function gaps(ranges: readonly UidRange[]): UidRange[] {
  const result: UidRange[] = [];
  let next = 0;
  for (const { first, last } of ranges) {
    if (next < first) result.push({ first: next, last: first - 1 });
    next = last + 1;
  }
  if (next <= LAST_UID) result.push({ first: next, last: LAST_UID });
  return result;
}
