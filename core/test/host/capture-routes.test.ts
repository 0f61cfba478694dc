import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Family, FlowKey } from '../../src/api/flow.ts';
import type { PlanInput } from '../../src/api/interceptor.ts';
import { addressToNumber, parsePrefix, prefixContains } from '../../src/capture/address.ts';
import { compileCaptureSet, decide, STATIC_EXCLUSIONS } from '../../src/capture/index.ts';
import type { Placement } from '../../src/host/capture-routes/placement.ts';
import { keyOf } from '../../src/host/capture-routes/prefix-key.ts';
import { retire } from '../../src/host/capture-routes/retired-routes.ts';
import { type FamilyRouting, livingTable, routingOf, type TableRoutes } from '../../src/host/capture-routes/routing.ts';
import { tableChanges, type TableStep } from '../../src/host/capture-routes/table-changes.ts';
import { TEST_FACTS, testPlanInput, testPoint } from '../../src/testing/index.ts';
import { captureInput, flowsAt } from '../capture/arbitraries.ts';
import { type RoutingState, steeredByRules } from './routing-model.ts';

const SOURCES = { 4: '10.0.0.1', 6: '2001:db8::1' } as const;
const MECHANISM = { id: 'ebpf-sklookup', sources: SOURCES };
/** Own addresses of the host in random worlds. */
const OWN = ['10.0.0.3/32', '127.0.0.1/32', '2001:db8::3/128', '::1/128'];
const FAMILIES = [4, 6] as const;
const OWN_PREFIXES = [...OWN, '127.0.0.0/8'].map((text) => parsePrefix(text));

const world = captureInput.map((given) => {
  const input = { ...given, builtins: [...STATIC_EXCLUSIONS, ...OWN.map((text) => parsePrefix(text))], canaries: [] };
  return { input, set: compileCaptureSet(input) };
});
type World = typeof world extends fc.Arbitrary<infer Value> ? Value : never;

const flowsOf = ({ input }: World) => fc.array(flowsAt(input), { minLength: 20, maxLength: 40 });
const worldAndFlows = world.chain((given) => fc.tuple(fc.constant(given), flowsOf(given)));
const worldsAndFlows = fc.tuple(world, world).chain(([a, b]) =>
  fc.tuple(
    fc.constant(a),
    fc.constant(b),
    fc.tuple(flowsOf(a), flowsOf(b)).map(([one, other]) => [...one, ...other]),
  ),
);

function inputOf({ set }: World): PlanInput {
  const points = FAMILIES.flatMap((family) =>
    (['tcp', 'udp'] as const).map((protocol) => testPoint(family, 15001, -1, protocol)),
  );
  return { ...testPlanInput([]), set, points, facts: { ...TEST_FACTS, ownAddresses: OWN, connectedNetworks: [] } };
}

function byFamily(routing: readonly FamilyRouting[]): ReadonlyMap<Family, FamilyRouting> {
  return new Map(routing.map((each) => [each.family, each]));
}

/** The table `local` has the own addresses and is asked before ours; port 0 is no port to connect to. */
function isAsked({ family, destination, port }: FlowKey): boolean {
  return port !== 0 && !OWN_PREFIXES.some((own) => prefixContains(own, family, destination));
}

function isWanted({ set }: World, flow: FlowKey): boolean {
  const decision = decide(set, { ...flow, source: addressToNumber(SOURCES[flow.family]) });
  return decision === 'deny' || typeof decision === 'number';
}

describe('rules and tables', () => {
  test('bring exactly those unbound flows to this host that decide steers when they come from our address', () => {
    expect(() =>
      fc.assert(
        fc.property(worldAndFlows, ([given, asked]) => {
          const routing = byFamily(routingOf(inputOf(given), MECHANISM));
          for (const flow of asked.filter(isAsked)) {
            const state = routing.get(flow.family) as FamilyRouting;
            const unbound = { ...flow, source: undefined } as never;
            expect(steeredByRules(state, unbound)).toBe(isWanted(given, flow));
          }
        }),
        { numRuns: 300 },
      ),
    ).not.toThrow();
  });

  test('leave marked sockets and sockets with a source of their own alone', () => {
    const input = testPlanInput([{ prefixes: ['0.0.0.0/0', '::/0'] }]);
    const routing = byFamily(routingOf(input, MECHANISM));
    const four = routing.get(4) as FamilyRouting;
    const six = routing.get(6) as FamilyRouting;
    const to4 = { family: 4, protocol: 'tcp', destination: addressToNumber('203.0.113.7'), port: 80 } as const;
    const to6 = { family: 6, protocol: 'tcp', destination: addressToNumber('2001:db8:7::1'), port: 80 } as const;
    expect(steeredByRules(four, to4)).toBe(true);
    expect(steeredByRules(six, to6)).toBe(true);
    expect(steeredByRules(four, { ...to4, mark: 0x2000_0000 })).toBe(false);
    expect(steeredByRules(six, { ...to6, mark: 0x2000_0000 })).toBe(false);
    expect(steeredByRules(four, { ...to4, source: addressToNumber('10.1.0.2') })).toBe(false);
    expect(steeredByRules(six, { ...to6, source: addressToNumber('2001:db8:1::2') })).toBe(false);
    expect(steeredByRules(six, { ...to6, source: addressToNumber('fe80::1') })).toBe(false);
  });

  test('our source address alone brings nothing here', () => {
    const routing = byFamily(
      routingOf(testPlanInput([{ prefixes: ['203.0.113.0/24', '2001:db8:7::/48'], ports: [[443, 443]] }]), MECHANISM),
    );
    for (const family of FAMILIES) {
      const state = routing.get(family) as FamilyRouting;
      const source = addressToNumber(SOURCES[family]);
      const inside = addressToNumber(family === 4 ? '203.0.113.7' : '2001:db8:7::1');
      const flow = { family, protocol: 'tcp', destination: inside, port: 443, source } as const;
      expect(steeredByRules(state, flow)).toBe(true);
      expect(steeredByRules(state, { ...flow, port: 444 })).toBe(false);
      expect(steeredByRules(state, { ...flow, destination: inside ^ (family === 4 ? 1n << 20n : 1n << 100n) })).toBe(
        false,
      );
      expect(steeredByRules(state, { ...flow, mark: 0x2000_0000 })).toBe(false);
    }
  });

  test('choose users, and take canaries from all of them', () => {
    const input = testPlanInput(
      [{ prefixes: ['203.0.113.0/24'] }],
      {},
      {
        owners: {
          only: [{ kind: 'uid', first: 1000, last: 1999 }],
          except: [{ kind: 'uid', first: 1042, last: 1042 }],
        },
      },
    );
    const [four] = routingOf(input, MECHANISM) as [FamilyRouting];
    const flow = { family: 4, protocol: 'tcp', destination: addressToNumber('203.0.113.7'), port: 80 } as const;
    const canary = { ...flow, destination: addressToNumber('192.0.2.1'), port: 4711 };
    const answers = [0, 999, 1000, 1041, 1042, 1043, 1999, 2000].map((uid) => steeredByRules(four, { ...flow, uid }));
    expect(answers).toEqual([false, false, true, true, false, true, true, false]);
    expect(steeredByRules(four, { ...canary, uid: 0 })).toBe(true);
  });

  test('groups and control groups are refused by name', () => {
    for (const [owner, word] of [
      [{ kind: 'gid', first: 1, last: 1 }, /by group/],
      [{ kind: 'cgroup', path: 'x' }, /control group/],
    ] as const) {
      const input = testPlanInput([{ prefixes: ['203.0.113.0/24'] }], {}, { owners: { only: [owner], except: [] } });
      expect(() => routingOf(input, MECHANISM)).toThrow(word);
    }
  });

  test('rules never have a port that the kernel refuses', () => {
    expect(() =>
      fc.assert(
        fc.property(world, (given) => {
          for (const { rules } of routingOf(inputOf(given), MECHANISM)) {
            for (const { ports } of rules) {
              if (ports) expect(ports.first >= 1 && ports.last <= 65_534 && ports.first <= ports.last).toBe(true);
            }
          }
        }),
      ),
    ).not.toThrow();
  });
});

describe('the places of classes', () => {
  const many = (count: number, prefixes: number, ports: number) =>
    Array.from({ length: count }, (_, i) => ({
      prefixes: Array.from({ length: prefixes }, (_each, j) => `20.${i >> 4}.${((i & 15) << 4) | j}.0/24`),
      ports: [[1000 + (i % ports), 1000 + (i % ports)]] as const,
    }));

  test('many prefixes with few sets of ports are tables', () => {
    const [four] = routingOf(testPlanInput(many(600, 16, 10)), MECHANISM) as [FamilyRouting];
    expect(four.placement.size).toBe(10);
    expect(four.rules.length).toBeLessThan(20);
  });

  test('single prefixes with many sets of ports are rules', () => {
    const [four] = routingOf(testPlanInput(many(2000, 1, 2000)), MECHANISM) as [FamilyRouting];
    expect(four.placement.size).toBe(0);
    expect(four.rules.length).toBeGreaterThan(2000);
    expect([...four.tables.keys()]).toEqual([22497]);
  });

  test('what saves most rules gets the tables', () => {
    const [four] = routingOf(testPlanInput([...many(40, 2, 40), ...many(0, 0, 1)]), MECHANISM) as [FamilyRouting];
    expect(four.placement.size).toBe(14);
    expect(four.tables.size).toBe(15);
    const wide = Array.from({ length: 100 }, (_, i) => `21.0.${i}.0/24`);
    const [more] = routingOf(testPlanInput([...many(40, 2, 40), { prefixes: wide, ports: [[7, 7]] }]), MECHANISM) as [
      FamilyRouting,
    ];
    expect(more.placement.get('tcp 7')).toBe(2);
  });

  test('more than the limit is refused with both numbers', () => {
    expect(() => routingOf(testPlanInput(many(3000, 2, 3000)), MECHANISM)).toThrow(
      /3001 different sets of ports.*rules.*4096/,
    );
    expect(() => routingOf(testPlanInput(many(3000, 2, 3000)), MECHANISM)).toThrow(/interceptor nft/);
  });

  test('a class keeps its table, and a table in use is given to no other', () => {
    const first = routingOf(testPlanInput(many(32, 2, 14)), MECHANISM);
    const placements = new Map(first.map((each) => [each.family, each.placement]));
    const next = routingOf(testPlanInput(many(32, 2, 30)), MECHANISM, { placements })[0] as FamilyRouting;
    const before = placements.get(4) as Placement;
    for (const [text, table] of next.placement) {
      if (before.has(text)) expect(before.get(text)).toBe(table);
      else expect([...before.values()]).not.toContain(table);
    }
  });
});

/** One step of an update in the model. */
type Step =
  | { readonly kind: 'rule'; readonly add: boolean; readonly text: string }
  | { readonly kind: 'route'; readonly table: number; readonly step: TableStep };

const LIVING = livingTable({ table: 22497 });

function ruleText(rule: unknown): string {
  return JSON.stringify(rule, (_key, value: unknown) => (typeof value === 'bigint' ? `${value}` : value));
}

describe('updates', () => {
  /** The order of LiveRouting: gains of all tables, rules in, rules out, losses of all tables. */
  function stepsBetween(old: RoutingState, now: RoutingState): readonly Step[] {
    const [have, wanted] = [old.rules.map(ruleText), now.rules.map(ruleText)];
    const tables = [...new Set([...old.tables.keys(), ...now.tables.keys()])].map((table) => ({
      table,
      changes: tableChanges(old.tables.get(table) ?? new Map(), now.tables.get(table) ?? new Map()),
    }));
    const routes = (part: 'gains' | 'losses') =>
      tables.flatMap(({ table, changes }) => changes[part].map((step): Step => ({ kind: 'route', table, step })));
    const gone = have.filter((each) => !wanted.includes(each)).toReversed();
    return [
      ...routes('gains'),
      ...wanted.filter((each) => !have.includes(each)).map((text): Step => ({ kind: 'rule', add: true, text })),
      ...gone.map((text): Step => ({ kind: 'rule', add: false, text })),
      ...routes('losses'),
    ];
  }

  function* states(old: RoutingState, now: RoutingState): Generator<RoutingState> {
    const rules = new Map(old.rules.map((rule) => [ruleText(rule), rule]));
    const known = new Map([...old.rules, ...now.rules].map((rule) => [ruleText(rule), rule]));
    const tables = new Map([...old.tables].map(([table, routes]) => [table, new Map(routes)]));
    for (const step of stepsBetween(old, now)) {
      if (step.kind === 'rule') {
        if (step.add) rules.set(step.text, known.get(step.text) as never);
        else rules.delete(step.text);
      } else {
        const table = tables.get(step.table) ?? new Map();
        tables.set(step.table, table);
        if (step.step.kind === 'put') table.set(keyOf(step.step.route.prefix), step.step.route);
        else table.delete(keyOf(step.step.route.prefix));
      }
      yield { rules: [...rules.values()], tables };
    }
  }

  /** What the kernel holds after a start with `a` and an update to `b`; `drained`: and then a drain. */
  function history(
    a: World,
    b: World,
  ): Map<Family, readonly [old: RoutingState, now: RoutingState, end: RoutingState]> {
    const old = routingOf(inputOf(a), MECHANISM);
    const placements = new Map(old.map((each) => [each.family, each.placement]));
    const now = byFamily(routingOf(inputOf(b), MECHANISM, { placements }));
    const drained = byFamily(routingOf(inputOf(b), MECHANISM, { draining: true }));
    const withLiving = ({ rules, tables }: FamilyRouting, retired: TableRoutes) => ({
      rules,
      tables: new Map([...tables, [LIVING, retired]]),
    });
    return new Map(
      old.map((before) => {
        const after = now.get(before.family) as FamilyRouting;
        const end = drained.get(before.family) as FamilyRouting;
        const first = retire(new Map(), before, after);
        const states_ = [
          withLiving(before, new Map()),
          withLiving(after, first),
          withLiving(end, retire(first, after, end)),
        ] as const;
        return [before.family, states_] as const;
      }),
    );
  }

  test('between any two steps every destination is answered as before or as after, and living flows go on', () => {
    expect(() =>
      fc.assert(
        fc.property(worldsAndFlows, ([a, b, asked]) => {
          for (const [family, [before, after, end]] of history(a, b)) {
            const mine = asked.filter((flow) => isAsked(flow) && flow.family === family);
            const unbound = mine.map((flow) => ({ ...flow, source: undefined }) as never);
            const living = mine.map((flow) => ({ ...flow, source: addressToNumber(SOURCES[family]) }));
            const allowed = unbound.map((flow) => [steeredByRules(before, flow), steeredByRules(after, flow)]);
            let last = before;
            for (const state of states(before, after)) {
              for (const [index, flow] of unbound.entries()) {
                expect(allowed[index]).toContain(steeredByRules(state, flow));
                if (allowed[index]?.[0]) expect(steeredByRules(state, living[index] as never)).toBe(true);
              }
              last = state;
            }
            for (const [index, flow] of unbound.entries()) expect(steeredByRules(last, flow)).toBe(allowed[index]?.[1]);
            for (const state of states(after, end)) {
              for (const [index, flow] of living.entries()) {
                if (allowed[index]?.includes(true)) expect(steeredByRules(state, flow)).toBe(true);
              }
              last = state;
            }
            for (const flow of unbound) expect(steeredByRules(last, flow)).toBe(false);
          }
        }),
        { numRuns: 60 },
      ),
    ).not.toThrow();
  });

  test('equal tables need no step', () => {
    const table: TableRoutes = new Map([
      [keyOf(parsePrefix('10.0.0.0/8')), { prefix: parsePrefix('10.0.0.0/8'), steered: true }],
    ]);
    expect(tableChanges(table, new Map(table))).toEqual({ gains: [], losses: [] });
  });
});
