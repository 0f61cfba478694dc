import { TEST_FACTS, testPlanInput, testPoint } from '@weir/core/testing';
import { decide, type FlowKey, formatPrefix, isSteered, type PlanInput, prefixContains, parsePrefix } from '@weir/core';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { mapContentOf } from '../src/map-content.ts';
import { wantedByMaps } from './model.ts';
import { flows, OWN, world, type World } from './worlds.ts';

const ALL_POINTS = ([4, 6] as const).flatMap((family) =>
  (['tcp', 'udp'] as const).map((protocol) => testPoint(family, 15001, -1, protocol)),
);

function inputOf({ set }: World, more: Partial<PlanInput> = {}): PlanInput {
  return {
    ...testPlanInput([]),
    set,
    points: ALL_POINTS,
    facts: { ...TEST_FACTS, ownAddresses: OWN, connectedNetworks: [] },
    ...more,
  };
}

function isWanted(world_: World, flow: FlowKey): boolean {
  const decision = decide(world_.set, flow);
  return decision === 'deny' || (typeof decision === 'number' && isSteered(decision));
}

describe('what the maps hold', () => {
  test('answers as decide does, for any source, port and protocol', () => {
    expect(() =>
      fc.assert(
        fc.property(world, flows, (given, asked) => {
          const content = mapContentOf(inputOf(given));
          for (const flow of asked) expect(wantedByMaps(content, flow)).toBe(isWanted(given, flow));
        }),
        { numRuns: 300 },
      ),
    ).not.toThrow();
  });

  test('every own address that decide steers to is one of the program, and no other address is', () => {
    const own = [...OWN, '127.0.0.0/8'].map((text) => parsePrefix(text));
    expect(() =>
      fc.assert(
        fc.property(world, flows, (given, asked) => {
          const content = mapContentOf(inputOf(given));
          for (const flow of asked) {
            if (!isWanted(given, flow)) continue;
            const around = [...content.prefixes.values()]
              .filter(({ prefix }) => prefixContains(prefix, flow.family, flow.destination))
              .toSorted((a, b) => b.prefix.length - a.prefix.length)[0];
            expect(around?.own).toBe(own.some((each) => prefixContains(each, flow.family, flow.destination)));
            expect(content.ownAddresses.length > 0 || !around?.own).toBe(true);
          }
        }),
        { numRuns: 300 },
      ),
    ).not.toThrow();
  });

  test('there is no entry that says what the one around it says', () => {
    const content = mapContentOf(
      testPlanInput(
        [
          { prefixes: ['10.0.0.0/8', '10.1.0.0/16', '10.1.2.0/24'], ports: [[80, 80]] },
          { prefixes: ['10.9.0.0/16'], ports: [[80, 80]], sources: ['192.0.2.0/24'] },
        ],
        {},
        { canaries: [] },
      ),
    );
    const prefixes = [...content.prefixes.values()].map(({ prefix }) => prefix.length);
    // 10.9.0.0/16 leaves other sources to 10.0.0.0/8, so that it says nothing new; 10.1.0.0/24 is connected.
    expect(prefixes).toEqual([8, 24]);
  });

  test('an own address is one of the program also where its row says what the one around it says', () => {
    const content = mapContentOf(testPlanInput([{ prefixes: ['::/0', '::1/128', '2001:db8:1::2/128'] }]));
    const own = [...content.prefixes.values()].filter((entry) => entry.own).map(({ prefix }) => formatPrefix(prefix));
    expect(own).toEqual(['::1/128', '2001:db8:1::2/128']);
    expect(content.ownAddresses.map(formatPrefix)).toContain('2001:db8:1::2/128');
  });

  test('while draining own addresses are nobody’s', () => {
    const input = testPlanInput([{ prefixes: ['127.0.0.53/32', '203.0.113.0/24'], ports: [[53, 53]] }]);
    const before = mapContentOf(input);
    const draining = mapContentOf(input, true);
    expect([...before.prefixes.values()].filter(({ own }) => own)).toHaveLength(1);
    expect(before.ownAddresses.length).toBeGreaterThan(0);
    expect([...draining.prefixes.values()].filter(({ own }) => own)).toEqual([]);
    expect(draining.prefixes.size).toBe(before.prefixes.size);
  });

  test('what has no capture point is not in them', () => {
    const services = [{ prefixes: ['203.0.113.0/24', '2001:db8:7::/48'], protocols: ['tcp', 'udp'] as const }];
    const content = mapContentOf(testPlanInput(services, { points: [testPoint(4, 1)] }));
    for (const { prefix, class: each } of content.prefixes.values()) {
      expect(prefix.family).toBe(4);
      expect(each.udp).toEqual([]);
    }
  });
});
