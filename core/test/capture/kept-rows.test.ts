import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { CaptureSet } from '../../src/api/capture.ts';
import type { PlanInput } from '../../src/api/interceptor.ts';
import { parsePrefix, prefixBounds } from '../../src/capture/address.ts';
import {
  boxesByRegion,
  buildLookupTable,
  compileCaptureSet,
  compileNames,
  RegionMemo,
  regionsOf,
  steeredBoxes,
} from '../../src/capture/index.ts';
import { routingOf } from '../../src/host/capture-routes/routing.ts';
import { tproxyRouting } from '../../src/host/tproxy-routing.ts';
import { TEST_FACTS, testPlanInput, testPoint } from '../../src/testing/index.ts';
import { captureInput, prefix } from './arbitraries.ts';
import { compile, numbered, service } from './sets.ts';

const FAMILIES = [4, 6] as const;
const MECHANISM = { id: 'tun', sources: { 4: '10.0.0.1', 6: '2001:db8::1' } } as const;

/** A configuration, and another one that some of it went into. */
const twoInputs = fc
  .tuple(captureInput, captureInput, fc.array(fc.boolean(), { minLength: 20, maxLength: 20 }))
  .map(([before, other, kept]) => {
    const services = before.services.map((one, place) => (kept[place] ? one : (other.services[place] ?? one)));
    const exclude = kept[19] ? before.exclude : other.exclude;
    return { before, after: { ...before, services, exclude, generation: before.generation + 1 } };
  });

function planInput(set: CaptureSet): PlanInput {
  const points = FAMILIES.flatMap((family) =>
    (['tcp', 'udp'] as const).map((protocol) => testPoint(family, 15001, -1, protocol)),
  );
  const facts = { ...TEST_FACTS, ownAddresses: ['10.0.0.3/32', '2001:db8::3/128'] };
  return { ...testPlanInput([]), set, points, facts };
}

/** Everything that is made of a set by way of its rows, without the order in which equals came to be. */
function madeOf(set: CaptureSet, inside: ReturnType<typeof parsePrefix>[]): unknown {
  return {
    rows: set.rows,
    boxes: FAMILIES.map((family) => [
      steeredBoxes(set, family),
      steeredBoxes(set, family, { perDecision: true }),
      steeredBoxes(set, family, { inside }),
      steeredBoxes(set, family, { outside: inside, perDecision: true }),
    ]),
    fallback: tproxyRouting(planInput(set)).fallback,
    routing: routed(planInput(set)),
  };
}

/** Lists of ports and of sources in the table of the workers: equal ones may be one. */
function sizes(set: CaptureSet): { readonly ports: number; readonly sources: number } {
  const { portIndex, sourceIndex4, sourceIndex6 } = buildLookupTable(set, compileNames([]));
  return { ports: portIndex.length, sources: sourceIndex4.length + sourceIndex6.length };
}

/** What a mechanism with routes refuses, it refuses for both. */
function routed(input: PlanInput): unknown {
  try {
    return routingOf(input, MECHANISM);
  } catch (error) {
    return String(error);
  }
}

describe('a set that follows another', () => {
  test('means what it would mean alone, in everything that is made of it', () => {
    expect(() =>
      fc.assert(
        fc.property(twoInputs, fc.array(prefix, { maxLength: 3 }), ({ before, after }, inside) => {
          const first = compileCaptureSet(before);
          madeOf(first, inside);
          const second = compileCaptureSet({ ...after, previous: first });
          const alone = compileCaptureSet(after);
          expect(madeOf(second, inside)).toEqual(madeOf(alone, inside));
          expect(sizes(second).ports).toBeLessThanOrEqual(sizes(alone).ports);
          expect(sizes(second).sources).toBe(sizes(alone).sources);
          // And back: what is known of both may be asked for.
          const back = compileCaptureSet({ ...before, previous: second });
          expect(madeOf(back, inside)).toEqual(madeOf(compileCaptureSet(before), inside));
        }),
        { numRuns: 200 },
      ),
    ).not.toThrow();
  });

  test('has the rows that say the same as the same objects, and all of them when nothing changed', () => {
    expect(() =>
      fc.assert(
        fc.property(twoInputs, ({ before, after }) => {
          const first = compileCaptureSet(before);
          expect(compileCaptureSet({ ...before, previous: first }).rows).toBe(first.rows);
          const second = compileCaptureSet({ ...after, previous: first });
          const old = new Map(first.rows.map((row) => [JSON.stringify(row, bigints), row]));
          // One list of ports stands for equal ones, which may have been two before.
          const lists = new Map<string, unknown>();
          for (const { ports } of first.rows) {
            const text = JSON.stringify(ports, bigints);
            if (lists.get(text) !== undefined && lists.get(text) !== ports) return;
            lists.set(text, ports);
          }
          for (const row of second.rows) {
            const same = old.get(JSON.stringify(row, bigints));
            if (same !== undefined) expect(row).toBe(same);
          }
        }),
        { numRuns: 200 },
      ),
    ).not.toThrow();
  });

  test('one prefix of many that becomes another leaves the rows of the others', () => {
    const prefixes = Array.from({ length: 100 }, (_, n) => `20.0.${2 * n}.0/24`);
    const set = (list: readonly string[], previous?: CaptureSet) =>
      compileCaptureSet({
        ...EMPTY,
        services: numbered([service({ prefixes: list, ports: [80] })]),
        ...(previous === undefined ? {} : { previous }),
      });
    const first = set(prefixes);
    const second = set(prefixes.with(50, '30.0.0.0/24'), first);
    const kept = new Set(first.rows);
    expect(second.rows.filter((row) => !kept.has(row)).map(({ prefix: { address } }) => address >> 24n)).toEqual([30n]);
    const regions = new Set(regionsOf(first, 4));
    expect(regionsOf(second, 4).filter((region) => !regions.has(region))).toHaveLength(1);
  });
});

const EMPTY = {
  generation: 1,
  exclude: [],
  builtins: [],
  ranges: [],
  rangeProtocols: [],
  canaries: [],
  scopes: { output: true },
  owners: { only: [], except: [] },
};

function bigints(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value;
}

describe('regions', () => {
  test('hold all rows of their family in order, and an address without a row is between any two', () => {
    expect(() =>
      fc.assert(
        fc.property(captureInput, (input) => {
          const set = compileCaptureSet(input);
          for (const family of FAMILIES) {
            const regions = regionsOf(set, family);
            expect(regions.flatMap(boxesByRegion(family))).toEqual(steeredBoxes(set, family));
            expect(regions.flatMap(({ rows }) => rows)).toEqual(set.rows.filter((row) => row.prefix.family === family));
            for (const [place, { first, last, rows }] of regions.entries()) {
              const bounds = rows.map((row) => prefixBounds(row.prefix));
              expect(first).toBe(bounds[0]?.[0]);
              expect(bounds.every((each) => each[1] <= last)).toBe(true);
              expect(bounds.some((each) => each[1] === last)).toBe(true);
              const next = regions[place + 1];
              if (next) expect(next.first - last).toBeGreaterThan(1n);
            }
          }
        }),
        { numRuns: 200 },
      ),
    ).not.toThrow();
  });

  test('a region that grew at its end is another one', () => {
    const one = compile({ services: [service({ prefixes: ['20.0.0.0/24'] })] });
    const [before] = regionsOf(one, 4);
    const rows = [...one.rows, { prefix: parsePrefix('20.0.1.0/24'), ports: one.rows[0]?.ports ?? [] }];
    const [after] = regionsOf({ rows }, 4);
    expect(after).not.toBe(before);
    expect(after?.last).toBe(parsePrefix('20.0.2.0/24').address - 1n);
    expect(steeredBoxes({ ...one, rows }, 4)).toHaveLength(1);
  });

  test('what was made under other circumstances is made anew, and what is forgotten too', () => {
    const [region] = regionsOf(compile({ services: [service({ prefixes: ['20.0.0.0/24'] })] }), 4);
    if (region === undefined) throw new Error('no region');
    const memo = new RegionMemo<string>();
    const made: string[] = [];
    const ask = (circumstances: string) =>
      memo.under(circumstances, () => {
        made.push(circumstances);
        return circumstances;
      })(region);
    expect([ask('a'), ask('b'), ask('a')]).toEqual(['a', 'b', 'a']);
    expect(made).toEqual(['a', 'b']);
    for (let n = 0; n < 40; n++) ask(String(n));
    expect(ask('a')).toBe('a');
    expect(made.filter((text) => text === 'a')).toHaveLength(2);
  });
});
