/** Our rules and routing tables in the kernel: made, changed, looked at, mended, removed. */
import type { Family } from '../../api/flow.ts';
import type { HostChange, HostNumbers } from '../../api/host.ts';
import type { Drift } from '../../api/interceptor.ts';
import { formatPrefix } from '../../capture/address.ts';
import { ENOENT } from '../../sys/errno.ts';
import {
  type ListedRoute,
  listRoutes,
  type Route,
  routeAddition,
  routeRemoval,
  routeReplacement,
} from '../../sys/netlink/route.ts';
import { formatRule, listRules, type RoutingRule, ruleRemoval } from '../../sys/netlink/rule.ts';
import { type NetlinkSocket, settleAll, withRouteSocket } from '../../sys/netlink/socket.ts';
import { type ClassRouteStyle, classRoute } from './class-routes.ts';
import type { Placement } from './placement.ts';
import { keyOf, type PrefixKey } from './prefix-key.ts';
import type { ClassRoute } from './route-class.ts';
import { retire } from './retired-routes.ts';
import { addRules, dropRules } from './rule-changes.ts';
import { BLOCK, type FamilyRouting, livingTable, type TableRoutes } from './routing.ts';
import { tableChanges, type TableStep } from './table-changes.ts';

/** asm-generic/errno.h: there is no such route. */
const ESRCH = 3;

function ip(family: Family): string {
  return family === 6 ? 'ip -6' : 'ip';
}

/** `ip rules 9500-9515`, `ip -6 rules 9500-9515`. */
export function rulesName(family: Family, { preference }: Pick<HostNumbers, 'preference'>): string {
  return `${ip(family)} rules ${preference}-${preference + BLOCK - 1}`;
}

/** `ip route tables 22497-22512`. */
export function tablesName(family: Family, { table }: Pick<HostNumbers, 'table'>): string {
  return `${ip(family)} route tables ${table}-${table + BLOCK - 1}`;
}

function tableName(family: Family, table: number): string {
  return `${ip(family)} route table ${table}`;
}

/** Rules of Weir with preferences of this owner. */
export function ownRules(family: Family, numbers: HostNumbers): readonly RoutingRule[] {
  return withRouteSocket((socket) =>
    listRules(socket, family).filter(
      ({ preference, protocol }) =>
        protocol === numbers.protocolId && preference >= numbers.preference && preference < numbers.preference + BLOCK,
    ),
  );
}

/** Removes all of them, those that steer first. @returns how many there were. */
export function removeRules(family: Family, numbers: HostNumbers): number {
  const rules = ownRules(family, numbers);
  const inOrder = rules.toSorted((a, b) => steers(b) - steers(a));
  withRouteSocket((socket) => settleAll(socket, inOrder.map(ruleRemoval), [ENOENT]));
  return rules.length;
}

/** Rules for flows without a source must go before the one that such flows need later, and jumps after what they skip. */
function steers(rule: RoutingRule): number {
  if (rule.action !== undefined) return 0;
  return rule.ipProtocol === undefined ? 1 : 2;
}

/** Removes the routes of Weir from the owner's tables. @returns how many there were. */
export function emptyTables(family: Family, numbers: HostNumbers): number {
  return withRouteSocket((socket) => {
    const routes = listRoutes(socket, family).filter(
      ({ table, protocol }) =>
        protocol === numbers.protocolId && table >= numbers.table && table < numbers.table + BLOCK,
    );
    settleAll(
      socket,
      routes.map((route) => routeRemoval(route)),
      [ESRCH, ENOENT],
    );
    return routes.length;
  });
}

type Block = Pick<FamilyRouting, 'rules' | 'tables'>;

const EMPTY: TableRoutes = new Map();

/** The rules and tables of one family. */
export class LiveRouting {
  readonly family: Family;
  readonly #numbers: HostNumbers;
  readonly #style: () => ClassRouteStyle;
  #current: FamilyRouting;
  /** The routes of the table of living flows, oldest first. */
  #retired: TableRoutes = EMPTY;

  /**
   * Makes nothing yet.
   * @param style says how routes are made, and over which device, which may become another one.
   */
  constructor(routing: FamilyRouting, numbers: HostNumbers, style: () => ClassRouteStyle) {
    this.family = routing.family;
    this.#numbers = numbers;
    this.#style = style;
    this.#current = routing;
  }

  get current(): FamilyRouting {
    return this.#current;
  }

  /** What `start` makes, in order: nothing is steered before it can arrive. */
  changes(): { readonly tables: HostChange; readonly rules: HostChange } {
    const { family } = this;
    const numbers = this.#numbers;
    const protocol = numbers.protocolId;
    return {
      tables: {
        id: tablesName(family, numbers),
        describe: `add IPv${family} routes to ${this.#current.tables.size} tables from ${numbers.table} on`,
        undoData: { kind: 'routes', family, table: numbers.table, protocol },
        do: () => this.addTables(),
        undo: () => void emptyTables(family, numbers),
      },
      rules: {
        id: rulesName(family, numbers),
        describe: `add ${this.#current.rules.length} IPv${family} rules from preference ${numbers.preference} on`,
        undoData: { kind: 'rules', family, preference: numbers.preference, protocol },
        do: () => this.addRules(),
        undo: () => void removeRules(family, numbers),
      },
    };
  }

  /** Takes back what it added when it throws. */
  addTables(): void {
    withRouteSocket((socket) => {
      const routes = [...this.#current.tables].flatMap(([table, entries]) =>
        [...entries.values()].map((entry) => this.#route(table, entry)),
      );
      const outcome = socket.settle(routes.map((route) => routeAddition(route)));
      const refused = outcome.find((error) => error !== undefined);
      if (!refused) return;
      socket.settle(routes.filter((_, index) => !outcome[index]).map((route) => routeRemoval(route)));
      throw refused;
    });
  }

  /** Takes back what it added when it throws. */
  addRules(): void {
    try {
      withRouteSocket((socket) => addRules(socket, this.family, this.#current.rules));
    } catch (error) {
      removeRules(this.family, this.#numbers);
      throw error;
    }
  }

  /**
   * From what is there to `next`: what steers more first, in all tables and rules, then what steers less.
   * @throws NetlinkError; the kernel then has what it had before, as far as it lets us.
   */
  update(next: FamilyRouting): void {
    const before = this.#block(this.#current, this.#retired);
    const retired = retire(this.#retired, this.#current, next);
    try {
      this.#change(before, this.#block(next, retired));
    } catch (error) {
      this.#change(this.#listed(), before);
      throw error;
    }
    this.#current = next;
    this.#retired = retired;
  }

  verify(): readonly Drift[] {
    return [...this.#ruleDrift(), ...this.#routeDrift()];
  }

  /** Makes the kernel have what it should, without touching what is right. */
  repair(): void {
    this.#change(this.#listed(), this.#block(this.#current, this.#retired));
  }

  #block({ rules, tables }: FamilyRouting, retired: TableRoutes): Block {
    return { rules, tables: new Map([...tables, [livingTable(this.#numbers), retired]]) };
  }

  #change(old: Block, now: Block): void {
    const have = new Map(old.rules.map((rule) => [formatRule(rule), rule]));
    const wanted = new Map(now.rules.map((rule) => [formatRule(rule), rule]));
    const added = [...wanted].filter(([text]) => !have.has(text)).map(([, rule]) => rule);
    const removed = [...have].filter(([text]) => !wanted.has(text)).map(([, rule]) => rule);
    const numbers = [...new Set([...old.tables.keys(), ...now.tables.keys()])];
    const tables = numbers.map((table) => ({
      table,
      changes: tableChanges(old.tables.get(table) ?? EMPTY, now.tables.get(table) ?? EMPTY),
    }));
    withRouteSocket((socket) => {
      for (const { table, changes } of tables) this.#take(socket, table, changes.gains);
      addRules(socket, this.family, added);
      dropRules(socket, this.family, removed.toReversed(), now.rules);
      for (const { table, changes } of tables) this.#take(socket, table, changes.losses);
    });
  }

  #take(socket: NetlinkSocket, table: number, steps: readonly TableStep[]): void {
    const requests = steps.map(({ kind, route }) =>
      kind === 'put' ? routeReplacement(this.#route(table, route)) : routeRemoval(this.#route(table, route)),
    );
    settleAll(socket, requests, [ESRCH, ENOENT]);
  }

  #route(table: number, entry: ClassRoute): Route {
    return classRoute(table, entry, this.#numbers.protocolId, this.#style());
  }

  /** What the kernel has in the owner's block. Routes that cannot be ours are none: they get replaced. */
  #listed(): Block {
    const rules = ownRules(this.family, this.#numbers);
    const { type: steering } = this.#style();
    const tables = withRouteSocket((socket) =>
      [...this.#block(this.#current, EMPTY).tables.keys()].map((table) => {
        const routes = listRoutes(socket, this.family, table).filter((route) => this.#isOurs(route));
        const entries = routes.map(({ destination, type }): [PrefixKey, ClassRoute] => [
          keyOf(destination),
          { prefix: destination, steered: type === steering },
        ]);
        return [table, new Map(entries)] as const;
      }),
    );
    return { rules, tables: new Map(tables) };
  }

  #isOurs(route: ListedRoute): boolean {
    const { type, device, source } = this.#style();
    if (route.protocol !== this.#numbers.protocolId) return false;
    if (route.type === 'throw') return true;
    return route.type === type && route.device === device && route.source === source[this.family];
  }

  #ruleDrift(): readonly Drift[] {
    const count = (rules: readonly RoutingRule[]) => {
      const counts = new Map<string, number>();
      for (const rule of rules) counts.set(formatRule(rule), (counts.get(formatRule(rule)) ?? 0) + 1);
      return counts;
    };
    const wanted = count(this.#current.rules);
    const found = count(ownRules(this.family, this.#numbers));
    const lost = [...wanted.keys()].filter((text) => !found.has(text));
    const extra = [...found].filter(([text, times]) => times > (wanted.get(text) ?? 0)).map(([text]) => text);
    if (lost.length === 0 && extra.length === 0) return [];
    return [
      {
        object: rulesName(this.family, this.#numbers),
        expected: `${wanted.size} rules`,
        found: sample(lost, extra),
      },
    ];
  }

  #routeDrift(): readonly Drift[] {
    const { tables } = this.#listed();
    return [...this.#block(this.#current, this.#retired).tables].flatMap(([table, wanted]): readonly Drift[] => {
      const { gains, losses } = tableChanges(tables.get(table) ?? EMPTY, wanted);
      const text = ({ route }: TableStep) => `${route.steered ? '' : 'throw '}${formatPrefix(route.prefix)}`;
      const steps = [...gains, ...losses];
      if (steps.length === 0) return [];
      const lost = steps.filter(({ kind }) => kind === 'put').map(text);
      const extra = steps.filter(({ kind }) => kind === 'remove').map(text);
      return [{ object: tableName(this.family, table), expected: `${wanted.size} routes`, found: sample(lost, extra) }];
    });
  }
}

function sample(lost: readonly string[], extra: readonly string[]): string {
  const some = [...lost.map((text) => `without ${text}`), ...extra.map((text) => `with ${text}`)];
  return some.length > 3 ? `${some.slice(0, 3).join(', ')} and ${some.length - 3} more differences` : some.join(', ');
}

/**
 * Makes all families have what `next` says, or none.
 * @throws NetlinkError
 */
export function updateRouting(routing: readonly LiveRouting[], next: readonly FamilyRouting[]): void {
  const before = routing.map((each) => ({ each, current: each.current }));
  try {
    for (const each of routing) {
      const wanted = next.find(({ family }) => family === each.family);
      // A family that was switched off on the host has lost its routes by that.
      if (wanted) each.update(wanted);
    }
  } catch (error) {
    for (const { each, current } of before) if (each.current !== current) each.update(current);
    throw error;
  }
}

/** What has a table now, by family. */
export function placementsOf(routing: readonly LiveRouting[]): ReadonlyMap<Family, Placement> {
  return new Map(routing.map((each) => [each.family, each.current.placement]));
}
