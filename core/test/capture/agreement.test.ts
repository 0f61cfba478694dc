/** Random configurations: all forms of a capture set say the same, and what a plain scan over the entries says. */
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { CaptureSet } from '../../src/api/capture.ts';
import type { FlowKey } from '../../src/api/flow.ts';
import { addressToWords, comparePrefixes } from '../../src/capture/address.ts';
import {
  buildLookupTable,
  compileCaptureSet,
  compileNames,
  decide,
  type Decision,
  DENY,
  explainPorts,
  LookupTable,
  NONE,
  NO_PATTERN,
  SPARE,
} from '../../src/capture/index.ts';
import { flowsAt, inputAndFlows, name, services, withRefusals } from './arbitraries.ts';
import { namePattern, scanCapture, scanNames } from './linear-scan.ts';

const RUNS = { numRuns: 300 };
const codes: Readonly<Record<string, number>> = { none: NONE, spare: SPARE, deny: DENY };
const asNumber = (decision: Decision) => (typeof decision === 'number' ? decision : codes[decision]);
const protocolNumber = (flow: FlowKey) => (flow.protocol === 'tcp' ? 6 : 17);

function ask(table: LookupTable, flow: FlowKey): number {
  const protocol = protocolNumber(flow);
  if (flow.family === 4) return table.decide4(Number(flow.destination), flow.port, protocol, Number(flow.source));
  const [d0, d1, d2, d3] = addressToWords(flow.destination);
  const [s0, s1, s2, s3] = addressToWords(flow.source);
  return table.decide6(d0, d1, d2, d3, flow.port, protocol, s0, s1, s2, s3);
}

/** What api/capture.ts promises about rows, and is not so. */
function faultsOf({ rows }: CaptureSet): readonly string[] {
  const faults: string[] = [];
  for (const [at, row] of rows.entries()) {
    const before = rows[at - 1];
    if (before && comparePrefixes(before.prefix, row.prefix) >= 0)
      faults.push(`row ${at} is not behind the one before`);
    for (const [place, stretch] of row.ports.entries()) {
      const where = `row ${at} stretch ${place}`;
      const previous = row.ports[place - 1];
      if (stretch.first > stretch.last) faults.push(`${where} is upside down`);
      if (stretch.choices.length === 0) faults.push(`${where} has no choice`);
      const ends = stretch.choices.findIndex((choice) => choice.sources.length === 0);
      if (ends >= 0 && ends < stretch.choices.length - 1) faults.push(`${where} goes on behind any source`);
      if (!previous) continue;
      if (stretch.protocol < previous.protocol) faults.push(`${where} is not sorted by protocol`);
      if (stretch.protocol !== previous.protocol) continue;
      if (stretch.first <= previous.last) faults.push(`${where} overlaps`);
      const adjacent = stretch.first === previous.last + 1;
      if (adjacent && isDeepStrictEqual(stretch.choices, previous.choices)) faults.push(`${where} should be joined`);
    }
  }
  return faults;
}

describe('a compiled capture set', () => {
  test('decides as a scan over the raw entries does', () => {
    let decided = 0;
    fc.assert(
      fc.property(inputAndFlows, ([input, flows]) => {
        const set = compileCaptureSet(input);
        expect(faultsOf(set)).toEqual([]);
        for (const flow of flows) {
          const answer = scanCapture(input, flow);
          expect(decide(set, flow)).toBe(answer);
          if (typeof answer === 'number' && answer >= 16) decided++;
        }
      }),
      RUNS,
    );
    // A generator whose flows miss everything would make this test pass for nothing.
    expect(decided).toBeGreaterThan(1000);
  });

  test('is answered by the look-up table as by decide', () => {
    fc.assert(
      fc.property(inputAndFlows, ([input, flows]) => {
        const set = withRefusals(compileCaptureSet(input));
        const table = new LookupTable(buildLookupTable(set, { rows: [] }));
        for (const flow of flows) expect(ask(table, flow)).toBe(asNumber(decide(set, flow)));
      }),
      RUNS,
    );
  });
});

describe('a compiled name table', () => {
  const named = services.chain((list) =>
    fc.tuple(
      fc.constant(list),
      fc.array(fc.tuple(name, flowsAt({ services: list, exclude: [], builtins: [], ranges: [], canaries: [] })), {
        minLength: 20,
        maxLength: 40,
      }),
    ),
  );

  test('decides as a scan over the raw entries does, and the look-up table too', () => {
    let decided = 0;
    fc.assert(
      fc.property(named, ([list, questions]) => {
        const names = compileNames(list);
        const empty = { services: [], exclude: [], builtins: [], ranges: [], rangeProtocols: [], canaries: [] };
        const set = compileCaptureSet({
          ...empty,
          generation: 1,
          scopes: { output: true },
          owners: { only: [], except: [] },
        });
        // Patterns can meet in names as nobody has foreseen: the table holds what was seen before it was built.
        for (const [asked] of questions) names.match(asked);
        const table = new LookupTable(buildLookupTable(set, names));
        for (const [asked, flow] of questions) {
          const answer = scanNames(list, asked, flow);
          const pattern = names.match(asked);
          const row = names.rows[pattern] ?? [];
          expect(explainPorts(row, flow).decision).toBe(answer);
          const [s0, s1, s2, s3] = flow.family === 4 ? [Number(flow.source), 7, 7, 7] : addressToWords(flow.source);
          const told = table.decideName(pattern, flow.port, protocolNumber(flow), flow.family, s0, s1, s2, s3);
          expect(told).toBe(asNumber(answer));
          if (typeof answer === 'number') decided++;
        }
      }),
      RUNS,
    );
    expect(decided).toBeGreaterThan(500);
  });

  test('matches the most specific pattern', () => {
    fc.assert(
      fc.property(named, ([list, questions]) => {
        const names = compileNames(list);
        for (const [asked] of questions) {
          const specific = list.map(({ service }) => {
            const best = (sign: boolean) =>
              Math.max(
                0,
                ...service.names
                  .filter((one) => one.startsWith('!') === sign)
                  .map((one) => namePattern(one.replace('!', ''), asked)),
              );
            return best(false) > best(true) ? best(false) : 0;
          });
          const index = names.match(asked);
          const found = index === NO_PATTERN ? 0 : namePattern(names.patterns[index] as string, asked);
          expect(found).toBe(Math.max(0, ...specific));
        }
      }),
      RUNS,
    );
  });

  test('keeps every index over a reload, and every row as complete as a fresh table has it', () => {
    fc.assert(
      fc.property(services, named, (old, [list, questions]) => {
        const before = compileNames(old);
        const after = compileNames(list, before);
        const fresh = compileNames(list);
        expect(after.combinations.slice(0, before.combinations.length)).toEqual(before.combinations);
        for (const [asked, flow] of questions) {
          const [kept, made] = [after.match(asked), fresh.match(asked)];
          expect(after.patterns[kept]).toBe(fresh.patterns[made]);
          expect(explainPorts(after.rows[kept] ?? [], flow)).toEqual(explainPorts(fresh.rows[made] ?? [], flow));
        }
      }),
      { numRuns: 200 },
    );
  });

  test('leaves a name what is left of the patterns that it was known by', () => {
    const named = fc.tuple(
      services,
      services,
      flowsAt({ services: [], exclude: [], builtins: [], ranges: [], canaries: [] }),
    );
    let left = 0;
    fc.assert(
      fc.property(named, ([old, list, flow]) => {
        const before = compileNames(old);
        const after = compileNames(list, before);
        const texts = new Set(old.flatMap(({ service }) => service.names.map((one) => one.replace('!', ''))));
        for (const asked of texts) {
          const index = /[*?]/.test(asked) ? NO_PATTERN : before.match(asked);
          if (index === NO_PATTERN) continue;
          const known = (text: string) => texts.has(text) || /^\*\.[^*?]+$/.test(text);
          const around = list.map(({ id, service }) => ({
            id,
            service: { ...service, names: service.names.filter((one) => known(one.replace('!', ''))) },
          }));
          const answer = scanNames(around, asked, flow);
          expect(explainPorts(after.rows[index] ?? [], flow).decision).toBe(answer);
          if (answer !== 'none') left++;
        }
      }),
      RUNS,
    );
    expect(left).toBeGreaterThan(20);
  });
});
