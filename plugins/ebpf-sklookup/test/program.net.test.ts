import { decide, type FlowKey, parsePrefix, type PlanInput } from '@weir/core';
import { libc, openSocket } from '@weir/core/sys';
import {
  descriptorsOf,
  enterFreshNamespace,
  openedSince,
  requires,
  TEST_FACTS,
  testPlanInput,
  testPoint,
} from '@weir/core/testing';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LiveMaps } from '../src/live-maps.ts';
import { type MapContent, mapContentOf } from '../src/map-content.ts';
import { SkLookup } from '../src/sk-lookup.ts';
import { runProgram } from './program-run.ts';
import { flows, world } from './worlds.ts';

const NOWHERE = { 4: '240.0.0.1', 6: '2001:db8:dead::1' };
const EVERYWHERE = ['0.0.0.0/0', '::/0'].map((text) => parsePrefix(text));

const NETWORKS = ([4, 6] as const).flatMap((family) =>
  (['tcp', 'udp'] as const).map((protocol) => ({ family, protocol })),
);

function openSockets(): PlanInput['points'] {
  return NETWORKS.map(({ family, protocol }) => {
    const fd = openSocket({ family, protocol, bind: { address: family === 4 ? '127.0.0.1' : '::1', port: 0 } });
    if (protocol === 'tcp') libc.listen(fd, 1);
    return testPoint(family, 1, fd, protocol);
  });
}

function closeSockets(points: PlanInput['points']): void {
  for (const { fds } of points) for (const fd of fds) libc.close(fd);
}

/** Every flow is looked at, whatever its source: so that the program answers as the look-up does. */
function lookedAt(content: MapContent): MapContent {
  const prefixes = new Map([...content.prefixes].map(([key, entry]) => [key, { ...entry, own: true }]));
  return { prefixes, ownAddresses: EVERYWHERE, forwarded: false };
}

describe.skipIf(requires('namespaces', 'bpf', 'ipv6'))('the program', () => {
  let points: PlanInput['points'] = [];
  beforeAll(() => {
    enterFreshNamespace();
    points = openSockets();
  });
  afterAll(() => closeSockets(points));

  const answers = (program: SkLookup, asked: readonly FlowKey[]) => asked.map((flow) => runProgram(program, flow));

  test(
    'answers as decide does, one set after the other, for any source, port and protocol',
    { timeout: 120_000 },
    () => {
      using program = new SkLookup();
      const maps = new LiveMaps(program, NOWHERE);
      maps.setPoints(points);
      let assigned = 0;
      let passed = 0;
      expect(() =>
        fc.assert(
          fc.property(world, flows, ({ set }, asked) => {
            const input = { ...testPlanInput([]), set, points, facts: { ...TEST_FACTS, ownAddresses: [] } };
            maps.apply(lookedAt(mapContentOf(input)));
            const decisions = asked.map((flow) => decide(set, flow));
            const expected = decisions.map((decision) =>
              decision === 'deny' || typeof decision === 'number' ? 'assign' : 'pass',
            );
            assigned += expected.filter((each) => each === 'assign').length;
            passed += expected.filter((each) => each === 'pass').length;
            expect(answers(program, asked)).toEqual(expected);
            expect(maps.verify()).toEqual([]);
          }),
          { numRuns: 400 },
        ),
      ).not.toThrow();
      expect(assigned).toBeGreaterThan(500);
      expect(passed).toBeGreaterThan(500);
    },
  );

  const WEB = { prefixes: ['203.0.113.0/24', '2001:db8:7::/48', '127.0.0.53/32'], ports: [[80, 90]] as const };
  const flow = (destination: string, source: string, port = 80, protocol: 'tcp' | 'udp' = 'tcp'): FlowKey => ({
    family: parsePrefix(destination).family,
    protocol,
    source: parsePrefix(source).address,
    destination: parsePrefix(destination).address,
    port,
  });

  test('takes everything from our source address, and counts what nobody wants any more', () => {
    using program = new SkLookup();
    const maps = new LiveMaps(program, { 4: '169.254.84.1', 6: 'fd64::1' });
    maps.setPoints(points);
    maps.apply(mapContentOf(testPlanInput([WEB], { points })));
    const ours = [
      flow('203.0.113.7', '169.254.84.1'),
      flow('203.0.113.7', '169.254.84.1', 443),
      flow('2001:db8:7::1', 'fd64::1'),
      flow('2001:db8:9::1', 'fd64::1'),
    ];
    expect(answers(program, ours)).toEqual(['assign', 'assign', 'assign', 'assign']);
    expect(maps.counters()).toEqual({ captured: 2, strays: 2, dropped: 0 });
  });

  test('leaves all other traffic of the host alone, and that to own addresses unless a service names them', () => {
    using program = new SkLookup();
    const maps = new LiveMaps(program, { 4: '169.254.84.1', 6: 'fd64::1' });
    maps.setPoints(points);
    const others = [
      flow('203.0.113.7', '10.1.0.2'),
      flow('2001:db8:7::1', '2001:db8:1::2'),
      flow('127.0.0.1', '127.0.0.1', 80),
      flow('10.1.0.2', '10.1.0.9', 80),
    ];
    maps.apply(mapContentOf(testPlanInput([{ prefixes: ['0.0.0.0/0', '::/0'] }], { points })));
    expect(answers(program, others)).toEqual(['pass', 'pass', 'pass', 'pass']);
    maps.apply(mapContentOf(testPlanInput([WEB], { points })));
    expect(answers(program, others)).toEqual(['pass', 'pass', 'pass', 'pass']);
    // The named one: from this host only, and on its ports only.
    const named = [
      flow('127.0.0.53', '127.0.0.1'),
      flow('127.0.0.53', '10.1.0.2'),
      flow('127.0.0.53', '10.1.0.9'),
      flow('127.0.0.53', '127.0.0.1', 91),
    ];
    expect(answers(program, named)).toEqual(['assign', 'assign', 'pass', 'pass']);
    maps.apply(mapContentOf(testPlanInput([WEB], { points }), true));
    expect(answers(program, named)).toEqual(['pass', 'pass', 'pass', 'pass']);
  });

  test('takes what comes in with its own source while that is forwarded, and leaves flows of other owners alone', () => {
    using program = new SkLookup();
    const maps = new LiveMaps(program, { 4: '169.254.84.1', 6: 'fd64:7765:6972:ffff::1' });
    maps.setPoints(points);
    const web = { ...WEB, prefixes: WEB.prefixes.slice(0, 2), sources: ['10.0.0.0/8', '2001:db8:1::/48'] };
    const scopes = { output: false, forward: { interfaces: ['eth1'] } };
    const asked = [
      flow('203.0.113.7', '10.1.0.9'),
      flow('203.0.113.7', '11.1.0.9'),
      flow('203.0.113.7', '10.1.0.9', 91),
      flow('2001:db8:7::1', '2001:db8:1::9'),
      flow('10.1.0.2', '10.1.0.9'),
    ];
    maps.apply(mapContentOf(testPlanInput([web], { points }, { scopes })));
    expect(answers(program, asked)).toEqual(['assign', 'pass', 'pass', 'assign', 'pass']);
    maps.apply(mapContentOf(testPlanInput([{ ...web, sources: [] }], { points }, { scopes })));
    const others = [flow('203.0.113.7', '169.254.84.2'), flow('2001:db8:7::1', 'fd64:7765:6972:ffff::2')];
    expect(answers(program, [...asked, ...others])).toEqual([
      'assign',
      'assign',
      'pass',
      'assign',
      'pass',
      'pass',
      'pass',
    ]);
    maps.apply(mapContentOf(testPlanInput([web], { points })));
    expect(answers(program, asked)).toEqual(['pass', 'pass', 'pass', 'pass', 'pass']);
  });

  test('drops what it should capture when no listener lives, and counts it', () => {
    using program = new SkLookup();
    const maps = new LiveMaps(program, { 4: '169.254.84.1', 6: 'fd64::1' });
    const own = openSockets();
    maps.setPoints(own);
    maps.apply(mapContentOf(testPlanInput([WEB], { points: own })));
    const captured = flow('203.0.113.7', '169.254.84.1');
    expect(runProgram(program, captured)).toBe('assign');
    closeSockets(own);
    expect(maps.verify()).toEqual([{ object: 'bpf map sockets', expected: 'all listeners', found: '4 missing' }]);
    expect(runProgram(program, captured)).toBe('drop');
    expect(runProgram(program, flow('203.0.113.7', '10.1.0.2'))).toBe('pass');
    expect(maps.counters()).toEqual({ captured: 2, strays: 0, dropped: 1 });
  });

  test('gives flows to any listener of a point that lives, and to new ones after rebind', () => {
    using program = new SkLookup();
    const maps = new LiveMaps(program, { 4: '169.254.84.1', 6: 'fd64::1' });
    const [first, second, third] = [openSockets(), openSockets(), openSockets()];
    const both = first.map((each, index) => ({ ...each, fds: [...each.fds, ...(second[index]?.fds ?? [])] }));
    maps.setPoints(both);
    maps.apply(mapContentOf(testPlanInput([WEB], { points: both })));
    const captured = [flow('203.0.113.7', '169.254.84.1'), flow('2001:db8:7::1', 'fd64::1')];
    closeSockets(first);
    expect(answers(program, captured)).toEqual(['assign', 'assign']);
    maps.setPoints(third);
    closeSockets(second);
    expect(answers(program, captured)).toEqual(['assign', 'assign']);
    expect(maps.verify()).toEqual([]);
    closeSockets(third);
    expect(answers(program, captured)).toEqual(['drop', 'drop']);
  });

  test('what does not fit is refused with the limit, and the maps are as before', () => {
    using program = new SkLookup();
    const maps = new LiveMaps(program, { 4: '169.254.84.1', 6: 'fd64::1' }, 1000);
    maps.setPoints(points);
    maps.apply(mapContentOf(testPlanInput([WEB], { points })));
    const everySecond = Array.from({ length: 200 }, (_, i) => [2 * i + 1, 2 * i + 1] as const);
    const services = Array.from({ length: 6 }, (_, i) => ({
      prefixes: [`20.0.${i}.0/24`],
      ports: everySecond.slice(i),
      sources: [`10.${i}.0.0/16`],
    }));
    const large = mapContentOf(testPlanInput(services, { points }));
    expect(() => maps.apply(large)).toThrow('more than the 1000 port ranges');
    expect(maps.verify()).toEqual([]);
    expect(runProgram(program, flow('127.0.0.53', '127.0.0.1'))).toBe('assign');
    expect(runProgram(program, flow('20.0.0.1', '169.254.84.1', 1))).toBe('assign');
    expect(maps.counters().strays).toBe(1);
    // What the refused one took is free again, and so is what an update leaves, from the next one on.
    for (const count of [4, 0, 4, 1, 4]) {
      maps.apply({ ...large, prefixes: new Map([...large.prefixes].slice(0, count)) });
      expect(maps.verify()).toEqual([]);
    }
  });

  test('repair writes what somebody else changed', () => {
    using program = new SkLookup();
    const maps = new LiveMaps(program, { 4: '169.254.84.1', 6: 'fd64::1' });
    maps.setPoints(points);
    const content = mapContentOf(testPlanInput([{ ...WEB, sources: ['10.0.0.0/8'] }], { points }));
    maps.apply(content);
    // Another handle on the same maps, which believes them empty.
    const vandal = new LiveMaps(program, NOWHERE);
    vandal.apply(content);
    vandal.apply({ prefixes: new Map(), ownAddresses: [], forwarded: false });
    vandal.setPoints([]);
    const drift = maps.verify().map(({ object }) => object);
    expect(drift).toEqual(['bpf map settings', 'bpf map sockets', 'bpf map prefixes']);
    maps.repair();
    expect(maps.verify()).toEqual([]);
    expect(runProgram(program, flow('127.0.0.53', '10.1.0.2'))).toBe('assign');
    expect(runProgram(program, flow('127.0.0.53', '127.0.0.1'))).toBe('pass');
  });

  test('is attached and detached, and leaves no descriptor', () => {
    const open = descriptorsOf();
    {
      using program = new SkLookup();
      expect(program.attached).toBe(false);
      program.attach();
      program.attach();
      expect(program.attached).toBe(true);
      program.detach();
      expect(program.attached).toBe(false);
      program.close();
      program.close();
    }
    expect(openedSince(open, descriptorsOf())).toEqual([]);
  });
});
