/** The rules and routes of a TPROXY mechanism in the kernel: made, changed, looked at, mended, removed. */
import type { Family } from '../api/flow.ts';
import type { HostChange, HostNumbers } from '../api/host.ts';
import type { Drift, PlanInput } from '../api/interceptor.ts';
import { formatPrefix, prefixContains } from '../capture/address.ts';
import { type ListedRoute, listRoutes, type Route, routeAddition, routeRemoval } from '../sys/netlink/route.ts';
import { formatRule, listRules, type RoutingRule, ruleAddition, ruleRemoval } from '../sys/netlink/rule.ts';
import { type NetlinkRequest, settleAll, withRouteSocket } from '../sys/netlink/socket.ts';
import {
  deliveryTable,
  describeRoute,
  fallbackRoutes,
  fallbackTable,
  routeKey,
  tproxyFamilies,
  tproxyRouting,
} from './tproxy-routing.ts';

/** asm-generic/errno-base.h, errno.h: no such rule; no such route; there already. */
const ENOENT = 2;
const ESRCH = 3;
const EEXIST = 17;

/**
 * Routes of prefixes that are not captured any more and may still carry living flows: without a route their next packet
 * would fail before any rule of ours. The oldest go first.
 */
const RETIRED_ROUTES = 1024;

/** `ip rule 9500`, `ip -6 rule 9500`. */
function ruleName({ family, preference }: Pick<RoutingRule, 'family' | 'preference'>): string {
  return `ip ${family === 6 ? '-6 ' : ''}rule ${preference}`;
}

/** `ip route table 22497`, `ip -6 route table 22497`. */
function tableNameOf(family: Family, table: number): string {
  return `ip ${family === 6 ? '-6 ' : ''}route table ${table}`;
}

/** Adds routes; takes back what it added when it throws. */
function addRoutes(routes: readonly Route[]): void {
  withRouteSocket((socket) => {
    const outcome = socket.settle(routes.map(addition));
    const refused = outcome.find((error) => error !== undefined);
    if (!refused) return;
    socket.settle(routes.filter((_, index) => !outcome[index]).map(removal));
    throw refused;
  });
}

function addRule(rule: RoutingRule): void {
  withRouteSocket((socket) => settleAll(socket, [ruleAddition(rule)]));
}

/** No error when it is not there. */
function removeRule(rule: RoutingRule): void {
  withRouteSocket((socket) => settleAll(socket, [ruleRemoval(rule)], [ENOENT]));
}

/** Removes the routes of Weir from one table. @returns how many there were. */
function emptyTable(family: Family, table: number, protocol: number): number {
  return withRouteSocket((socket) => {
    const routes = listRoutes(socket, family, table).filter((route) => route.protocol === protocol);
    const removals = routes.map((route) => routeRemoval(route, 'lo'));
    settleAll(socket, removals, [ESRCH, ENOENT]);
    return routes.length;
  });
}

/** Rules of Weir with numbers of this owner. */
function ownRules(family: Family, numbers: HostNumbers): readonly RoutingRule[] {
  const inBlock = (value: number, first: number) => value >= first && value < first + 16;
  return withRouteSocket((socket) =>
    listRules(socket, family).filter(
      (rule) =>
        rule.protocol === numbers.protocolId &&
        (inBlock(rule.preference, numbers.preference) ||
          rule.preference === numbers.preferenceBehindMain ||
          inBlock(rule.table, numbers.table)),
    ),
  );
}

/** Numbers of this owner's tables that hold routes of Weir. */
function ownTables(family: Family, numbers: HostNumbers): readonly number[] {
  return withRouteSocket((socket) => {
    const tables = listRoutes(socket, family)
      .filter((route) => route.protocol === numbers.protocolId)
      .map((route) => route.table)
      .filter((table) => table >= numbers.table && table < numbers.table + 16);
    return [...new Set(tables)].toSorted((a, b) => a - b);
  });
}

/**
 * Removes the rules and routes that a dead instance left: found by the protocol id and the owner's numbers. Rules first.
 * @param note gets one line for each thing that was removed.
 */
export function cleanUpTproxyRouting(numbers: HostNumbers, note: (what: string) => void): void {
  for (const family of [4, 6] as const) {
    for (const rule of ownRules(family, numbers)) {
      removeRule(rule);
      note(`${ruleName(rule)} (${formatRule(rule)})`);
    }
    for (const number of ownTables(family, numbers)) {
      const count = emptyTable(family, number, numbers.protocolId);
      note(`${tableNameOf(family, number)} (${count} routes)`);
    }
  }
}

export class LiveTproxyRouting {
  #input: PlanInput;
  readonly #rules: readonly RoutingRule[];
  readonly #delivery: ReadonlyMap<string, Route>;
  /** What is wanted in the second table, by key. */
  #fallback: ReadonlyMap<string, Route>;
  /** What is still there and no longer wanted, oldest first; of other keys. */
  readonly #retired = new Map<string, Route>();

  /** Makes nothing yet. */
  constructor(input: PlanInput) {
    const { rules, delivery } = tproxyRouting(input);
    this.#input = input;
    this.#rules = rules;
    this.#delivery = new Map(delivery.map((route) => [routeKey(route), route]));
    this.#fallback = fallbackRoutes(input);
  }

  /** What `start` makes, in order: routes, then rules, so that nothing is sent where it cannot arrive. */
  changes(): readonly HostChange[] {
    const protocol = this.#input.numbers.protocolId;
    const routes = this.#tables().map((part): HostChange => ({
      id: tableNameOf(part.family, part.table),
      describe: `add ${part.routes.length} IPv${part.family} routes to table ${part.table}`,
      undoData: { kind: 'routes', family: part.family, table: part.table, protocol },
      do: () => addRoutes(part.routes),
      undo: () => void emptyTable(part.family, part.table, protocol),
    }));
    const rules = this.#rules.map((rule): HostChange => ({
      id: ruleName(rule),
      describe: `add the IPv${rule.family} rule ${formatRule(rule)}`,
      undoData: { kind: 'rule', rule },
      do: () => addRule(rule),
      undo: () => removeRule(rule),
    }));
    return [...routes, ...rules];
  }

  /**
   * Adds the routes that a changed capture set needs, before it is steered.
   * @returns the way back, for when steering it failed, and the way on, for when it worked.
   */
  prepare(input: PlanInput): { undo(): void; commit(): void } {
    const wanted = fallbackRoutes(input);
    const have = this.#fallback;
    const news = difference(wanted, have).filter(([key]) => !this.#retired.has(key));
    const living = news.some(([, route]) => route.type === 'throw')
      ? [...this.#retired.values(), ...have.values()].filter((route) => route.type === 'unicast')
      : [];
    const added = news.filter(([, route]) => !cutsLiving(route, living));
    // Another source, or `throw` before: the kernel has one route to a destination, so the old one must go first.
    const destinations = new Set(added.map(([, route]) => destinationKey(route)));
    const unwanted = [...difference(this.#retired, wanted), ...difference(have, wanted)];
    const isInTheWay = (route: Route) => route.type === 'throw' || destinations.has(destinationKey(route));
    const inTheWay = unwanted.filter(([, route]) => isInTheWay(route));
    const gone = inTheWay.map(([, route]) => route);
    withRouteSocket((socket) => settleAll(socket, gone.map(removal), [ESRCH]));
    try {
      addRoutes(added.map(([, route]) => route));
    } catch (error) {
      withRouteSocket((socket) => settleAll(socket, gone.map(addition), [EEXIST]));
      throw error;
    }
    return {
      undo: () => {
        const fresh = added.map(([, route]) => route);
        withRouteSocket((socket) => {
          settleAll(socket, fresh.map(removal), [ESRCH]);
          settleAll(socket, gone.map(addition), [EEXIST]);
        });
      },
      commit: () => {
        this.#input = input;
        const retired = unwanted.filter(([, route]) => !isInTheWay(route));
        const dropped = retired.slice(0, Math.max(0, retired.length - RETIRED_ROUTES));
        withRouteSocket((socket) =>
          settleAll(
            socket,
            dropped.map(([, route]) => removal(route)),
            [ESRCH],
          ),
        );
        this.#retired.clear();
        for (const [key, route] of retired.slice(dropped.length)) this.#retired.set(key, route);
        const left = new Set(added);
        for (const entry of news) if (!left.has(entry)) wanted.delete(entry[0]);
        this.#fallback = wanted;
      },
    };
  }

  verify(): readonly Drift[] {
    return [...this.#ruleDrift(), ...this.#routeDrift()];
  }

  /** Puts the named rules and tables back. */
  repair(objects: ReadonlySet<string>): void {
    for (const { family, table } of this.#scopes()) {
      if (objects.has(tableNameOf(family, table))) this.#repairTable(family, table);
    }
    withRouteSocket((socket) => {
      for (const rule of this.#rules) {
        if (!objects.has(ruleName(rule))) continue;
        const wrong = listRules(socket, rule.family).filter(
          (each) => each.preference === rule.preference && each.protocol === rule.protocol,
        );
        settleAll(socket, wrong.map(ruleRemoval), [ENOENT]);
        settleAll(socket, [ruleAddition(rule)]);
      }
    });
  }

  /** The routes to make at start, one entry per family and table that has any. */
  #tables(): ReadonlyArray<{ readonly family: Family; readonly table: number; readonly routes: readonly Route[] }> {
    return this.#scopes().map(({ family, table }) => ({
      family,
      table,
      routes: Array.from(this.#expected(family, table), ([, route]) => route),
    }));
  }

  #scopes(): ReadonlyArray<{ readonly family: Family; readonly table: number }> {
    return tproxyFamilies(this.#input).flatMap((family) =>
      [deliveryTable(this.#input), fallbackTable(this.#input)].map((table) => ({ family, table })),
    );
  }

  /** Delivery, retired and wanted routes of one table, by key. Not copied: there can be a hundred thousand. */
  *#expected(family: Family, table: number): Generator<readonly [key: string, route: Route]> {
    for (const routes of this.#byKey()) {
      for (const entry of routes) {
        if (entry[1].destination.family === family && entry[1].table === table) yield entry;
      }
    }
  }

  #isExpected(key: string): boolean {
    return this.#byKey().some((routes) => routes.has(key));
  }

  #byKey(): ReadonlyArray<ReadonlyMap<string, Route>> {
    return [this.#delivery, this.#retired, this.#fallback];
  }

  #ruleDrift(): readonly Drift[] {
    const drifts: Drift[] = [];
    const numbers = this.#input.numbers;
    for (const family of tproxyFamilies(this.#input)) {
      const found = ownRules(family, numbers).map(formatRule);
      for (const rule of this.#rules.filter((each) => each.family === family)) {
        const expected = formatRule(rule);
        const count = found.filter((text) => text === expected).length;
        if (count === 1) continue;
        drifts.push({ object: ruleName(rule), expected, found: count === 0 ? 'missing' : `${count} times` });
      }
    }
    return drifts;
  }

  #routeDrift(): readonly Drift[] {
    return withRouteSocket((socket) =>
      this.#scopes().flatMap(({ family, table }): readonly Drift[] => {
        const found = new Map<string, ListedRoute>();
        for (const route of listRoutes(socket, family, table)) found.set(routeKey(route), route);
        let expected = 0;
        const lost: Route[] = [];
        for (const [key, route] of this.#expected(family, table)) {
          expected++;
          if (!found.has(key)) lost.push(route);
        }
        const extra: ListedRoute[] = [];
        for (const [key, route] of found) if (!this.#isExpected(key)) extra.push(route);
        if (lost.length === 0 && extra.length === 0) return [];
        const sample = [
          ...lost.map((route) => `without ${describeRoute(route)}`),
          ...extra.map(({ type, destination }) => `with ${type} ${formatPrefix(destination)}`),
        ].slice(0, 3);
        return [
          {
            object: tableNameOf(family, table),
            expected: `${expected} routes`,
            found: `${found.size} routes (${sample.join(', ')})`,
          },
        ];
      }),
    );
  }

  #repairTable(family: Family, table: number): void {
    withRouteSocket((socket) => {
      const found = listRoutes(socket, family, table);
      const extra = found.filter((route) => !this.#isExpected(routeKey(route)));
      const removals = extra.map((route) => routeRemoval(route, 'lo'));
      settleAll(socket, removals, [ESRCH]);
      const keys = new Set(found.map(routeKey));
      const lost = [...this.#expected(family, table)].filter(([key]) => !keys.has(key)).map(([, route]) => route);
      settleAll(socket, lost.map(addition), [EEXIST]);
    });
  }
}

/** What `a` has and `b` has not. */
function difference(
  a: ReadonlyMap<string, Route>,
  b: ReadonlyMap<string, Route>,
): ReadonlyArray<readonly [string, Route]> {
  const only: Array<readonly [string, Route]> = [];
  for (const entry of a) if (!b.has(entry[0])) only.push(entry);
  return only;
}

function addition(route: Route): NetlinkRequest {
  return routeAddition(route, 'lo');
}

function removal(route: Route): NetlinkRequest {
  return routeRemoval(route, 'lo');
}

/**
 * A `throw` inside a prefix that was captured would cut flows that live by its route. It can be left out: what has no
 * route but ours and is not claimed is refused by the chain `unrouted`.
 */
function cutsLiving(route: Route, living: readonly Route[]): boolean {
  if (route.type !== 'throw') return false;
  const { family, address, length } = route.destination;
  return living.some(({ destination }) => destination.length <= length && prefixContains(destination, family, address));
}

function destinationKey(route: Route): string {
  return routeKey({ destination: route.destination, table: route.table, type: '' });
}
