import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { CaptureSet } from '../../src/api/capture.ts';
import type { Family, FlowKey } from '../../src/api/flow.ts';
import { numberToAddress, parsePrefix } from '../../src/capture/address.ts';
import { type Box, compileCaptureSet, decide, steeredBoxes, steeredPrefixes } from '../../src/capture/index.ts';
import { inputAndFlows, prefix, withRefusals } from './arbitraries.ts';
import { holds } from './linear-scan.ts';
import { compile, service } from './sets.ts';

const inBox = (box: Box, flow: FlowKey) =>
  box.firstAddress <= flow.destination &&
  flow.destination <= box.lastAddress &&
  box.protocol === flow.protocol &&
  box.firstPort <= flow.port &&
  flow.port <= box.lastPort &&
  (!box.sources || (box.sources[0] <= flow.source && flow.source <= box.sources[1]));

const overlap = (a: Box, b: Box) =>
  a.firstAddress <= b.lastAddress &&
  b.firstAddress <= a.lastAddress &&
  a.protocol === b.protocol &&
  a.firstPort <= b.lastPort &&
  b.firstPort <= a.lastPort &&
  (!a.sources || !b.sources || (a.sources[0] <= b.sources[1] && b.sources[0] <= a.sources[1]));

function steers(set: CaptureSet, flow: FlowKey): boolean {
  const decision = decide(set, flow);
  return decision === 'deny' || typeof decision === 'number';
}

/** `198.51.100.0-198.51.100.255 tcp 80-80`, or with the sources in front. */
function show(set: CaptureSet, family: Family = 4): string[] {
  const dotted = (value: bigint) => [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join('.');
  return steeredBoxes(set, family).map((box) => {
    const from = box.sources ? `${box.sources.map(dotted).join('-')} > ` : '';
    const to = `${dotted(box.firstAddress)}-${dotted(box.lastAddress)}`;
    return `${from}${to} ${box.protocol} ${box.firstPort}-${box.lastPort}`;
  });
}

describe('random capture sets', () => {
  test('boxes hold exactly what decide steers, and never overlap', () => {
    let inside = 0;
    fc.assert(
      fc.property(inputAndFlows, ([input, flows]) => {
        const set = withRefusals(compileCaptureSet(input));
        for (const family of [4, 6] as const) {
          const boxes = steeredBoxes(set, family);
          for (const [at, box] of boxes.entries()) {
            for (const other of boxes.slice(at + 1)) {
              expect(overlap(box, other)).toBe(false);
              expect(box.firstAddress <= other.firstAddress).toBe(true);
            }
          }
          for (const flow of flows) {
            if (flow.family !== family) continue;
            const held = boxes.filter((box) => inBox(box, flow)).length;
            expect(held).toBe(steers(set, flow) ? 1 : 0);
            inside += held;
          }
        }
      }),
      { numRuns: 200 },
    );
    expect(inside).toBeGreaterThan(500);
  });

  test('kept apart by decision, each box has the one that decide gives its flows', () => {
    let inside = 0;
    fc.assert(
      fc.property(inputAndFlows, ([input, flows]) => {
        const set = withRefusals(compileCaptureSet(input));
        for (const family of [4, 6] as const) {
          const boxes = steeredBoxes(set, family, { perDecision: true });
          for (const [at, box] of boxes.entries()) {
            for (const other of boxes.slice(at + 1)) expect(overlap(box, other)).toBe(false);
          }
          for (const flow of flows.filter((one) => one.family === family)) {
            const decisions = boxes.filter((box) => inBox(box, flow)).map((box) => box.decision);
            expect(decisions).toEqual(steers(set, flow) ? [decide(set, flow)] : []);
            inside += decisions.length;
          }
        }
      }),
      { numRuns: 200 },
    );
    expect(inside).toBeGreaterThan(500);
  });

  test('inside and outside of a list of prefixes share the boxes between them', () => {
    fc.assert(
      fc.property(inputAndFlows, fc.array(prefix, { minLength: 1, maxLength: 6 }), ([input, flows], prefixes) => {
        const set = withRefusals(compileCaptureSet(input));
        for (const family of [4, 6] as const) {
          const inner = steeredBoxes(set, family, { inside: prefixes });
          const outer = steeredBoxes(set, family, { outside: prefixes });
          const both = [...inner, ...outer];
          for (const [at, box] of both.entries()) {
            for (const other of both.slice(at + 1)) expect(overlap(box, other)).toBe(false);
          }
          for (const flow of flows.filter((one) => one.family === family)) {
            const within = prefixes.some((one) => holds(one, family, flow.destination));
            const steered = steers(set, flow);
            const held = [inner, outer].map((boxes) => boxes.some((box) => inBox(box, flow)));
            expect(held).toEqual([steered && within, steered && !within]);
          }
        }
      }),
      { numRuns: 150 },
    );
  });

  test('the steered prefixes hold exactly the addresses of the boxes', () => {
    fc.assert(
      fc.property(inputAndFlows, ([input, flows]) => {
        const set = withRefusals(compileCaptureSet(input));
        for (const { family, destination } of flows) {
          const boxed = steeredBoxes(set, family).some(
            (box) => box.firstAddress <= destination && destination <= box.lastAddress,
          );
          expect(steeredPrefixes(set, family).some((one) => holds(one, family, destination))).toBe(boxed);
        }
      }),
      { numRuns: 60 },
    );
  });
});

describe('steeredBoxes', () => {
  test('cuts an exclusion out of a wider prefix', () => {
    const set = compile({
      services: [service({ prefixes: ['198.51.100.0/24'], ports: [80] })],
      exclude: ['198.51.100.64/26'],
    });
    expect(show(set)).toEqual(['198.51.100.0-198.51.100.63 tcp 80-80', '198.51.100.128-198.51.100.255 tcp 80-80']);
  });

  test('joins neighbours in addresses and in ports, whichever service takes them', () => {
    const set = compile({
      services: [
        service({ prefixes: ['198.51.100.0/25'], ports: [80] }),
        service({ prefixes: ['198.51.100.128/25'], ports: [80, 81] }),
        service({ prefixes: ['198.51.100.128/25'], ports: [82] }),
        service({ prefixes: ['0.0.0.0/0'], protocols: ['udp'] }),
        service({ prefixes: ['203.0.113.0/24'], protocols: ['udp'], ports: [53] }),
      ],
    });
    expect(show(set)).toEqual([
      '0.0.0.0-255.255.255.255 udp 0-65535',
      '198.51.100.0-198.51.100.127 tcp 80-80',
      '198.51.100.128-198.51.100.255 tcp 80-82',
    ]);
  });

  test('gives limited sources as intervals, and no limit where the rest is taken by another service', () => {
    const limited = service({ prefixes: ['198.51.100.0/24'], ports: [80], sources: ['10.0.0.0/8', '11.0.0.0/8'] });
    expect(show(compile({ services: [limited] }))).toEqual([
      '10.0.0.0-11.255.255.255 > 198.51.100.0-198.51.100.255 tcp 80-80',
    ]);
    const rest = service({ prefixes: ['198.51.0.0/16'], ports: [80] });
    expect(show(compile({ services: [limited, rest] }))).toEqual(['198.51.0.0-198.51.255.255 tcp 80-80']);
  });

  test('steers everybody but the sources that meet an exclusion', () => {
    const set: CaptureSet = {
      ...compile({ services: [] }),
      rows: [
        {
          prefix: parsePrefix('198.51.100.7'),
          ports: [
            {
              protocol: 'tcp',
              first: 80,
              last: 80,
              choices: [
                { sources: [parsePrefix('10.0.0.0/8')], verdict: 'spare' },
                { sources: [], verdict: 'deny' },
              ],
            },
          ],
        },
      ],
    };
    expect(show(set)).toEqual([
      '0.0.0.0-9.255.255.255 > 198.51.100.7-198.51.100.7 tcp 80-80',
      '11.0.0.0-255.255.255.255 > 198.51.100.7-198.51.100.7 tcp 80-80',
    ]);
  });

  test('keeps what a service names of the own addresses apart', () => {
    const own = ['127.0.0.0/8', '10.1.0.2/32'].map((text) => parsePrefix(text));
    const set = compile({
      services: [
        service({ prefixes: ['127.0.0.53'], protocols: ['udp'], ports: [53] }),
        service({ prefixes: ['10.1.0.0/24'], ports: [80] }),
      ],
      builtins: ['127.0.0.0/8', '10.1.0.2/32'],
    });
    expect(steeredBoxes(set, 4, { inside: own })).toMatchObject([{ protocol: 'udp', firstPort: 53 }]);
    expect(steeredBoxes(set, 4, { outside: own })).toMatchObject([{ protocol: 'tcp' }, { protocol: 'tcp' }]);
  });

  test('takes nested and repeated prefixes as a filter, in any order', () => {
    const set = compile({ services: [service({ prefixes: ['0.0.0.0/0'], ports: [80] })] });
    const nested = ['10.1.0.0/16', '10.0.0.0/16', '10.0.0.0/8', '10.255.0.0/16', '10.0.0.0/8'];
    const prefixes = nested.map((text) => parsePrefix(text));
    const spans = (boxes: readonly Box[]) =>
      boxes.map((box) => [numberToAddress(4, box.firstAddress), numberToAddress(4, box.lastAddress)]);
    for (const list of [prefixes, prefixes.toReversed()]) {
      expect(spans(steeredBoxes(set, 4, { inside: list }))).toEqual([['10.0.0.0', '10.255.255.255']]);
      expect(spans(steeredBoxes(set, 4, { outside: list }))).toEqual([
        ['0.0.0.0', '9.255.255.255'],
        ['11.0.0.0', '255.255.255.255'],
      ]);
    }
    expect(steeredBoxes(set, 4, { inside: [] })).toEqual([]);
  });

  test('reaches the end of the address space', () => {
    const set = compile({ services: [service({ prefixes: ['::/0', '255.255.255.255'], ports: [80] })] });
    expect(steeredBoxes(set, 6)).toMatchObject([{ firstAddress: 0n, lastAddress: (1n << 128n) - 1n }]);
    expect(show(set)).toEqual(['255.255.255.255-255.255.255.255 tcp 80-80']);
    expect(steeredPrefixes(set, 4)).toEqual([parsePrefix('255.255.255.255/32')]);
    expect(steeredPrefixes(set, 6)).toEqual([parsePrefix('::/0')]);
  });

  test('kept apart by decision, neighbours of different services are boxes of their own', () => {
    const set = compile({
      services: [
        service({ prefixes: ['198.51.100.0/25'], ports: [80] }),
        service({ prefixes: ['198.51.100.128/25'], ports: [80] }),
        service({ prefixes: ['203.0.113.0/24'], ports: [80], sources: ['10.0.0.0/8'] }),
        service({ prefixes: ['203.0.113.0/24'], ports: [80] }),
      ],
    });
    expect(steeredBoxes(set, 4)).toHaveLength(2);
    expect(steeredBoxes(set, 4, { perDecision: true }).map((box) => box.decision)).toEqual([16, 17, 19, 18, 19]);
  });

  test('gives nothing for a set without rows', () => {
    expect(steeredBoxes(compile({ services: [] }), 4)).toEqual([]);
    expect(steeredPrefixes(compile({ services: [] }), 6)).toEqual([]);
  });
});
