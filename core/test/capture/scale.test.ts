/** Sizes that users have. The bounds are generous (machines are busy); that work does not grow with the square is not. */
import { describe, expect, test } from 'vitest';
import type { CaptureSet } from '../../src/api/capture.ts';
import { addressToWords } from '../../src/capture/address.ts';
import {
  buildLookupTable,
  type CapturedService,
  compileCaptureSet,
  compileNames,
  decide,
  LookupTable,
  type NumberedService,
  STATIC_EXCLUSIONS,
  steeredBoxes,
} from '../../src/capture/index.ts';

const SERVICES = 2000;
const PREFIXES = 10_000;

/** 5 prefixes for each service, every other one IPv6, on ports of its own, below services for /0. */
function services(): readonly NumberedService[] {
  const list: CapturedService[] = Array.from({ length: SERVICES }, (_, n) => ({
    names: [`s${n}.internal`, `*.s${n}.apps.internal`],
    prefixes: Array.from({ length: PREFIXES / SERVICES }, (__, k) => {
      const place = BigInt(n * (PREFIXES / SERVICES) + k);
      return n % 2 === 0
        ? { family: 4, address: 0x1400_0000n + (place << 9n), length: 24 }
        : { family: 6, address: (0x2001_0db8n << 96n) | (place << 65n), length: 64 };
    }),
    ports: [{ first: 2000 + (n % 7), last: 2000 + (n % 7) }],
    protocols: ['tcp'],
    sources: [],
  }));
  const whole = [4, 6].map((family) => ({ family: family as 4 | 6, address: 0n, length: 0 }));
  const udp = {
    names: [],
    prefixes: whole,
    ports: [{ first: 53, last: 53 }],
    protocols: ['udp' as const],
    sources: [],
  };
  const low = { ...udp, ports: [{ first: 1, last: 1023 }], protocols: ['tcp' as const] };
  return [udp, low, ...list].map((service, place) => ({ id: 16 + place, service }));
}

function compile(list: readonly NumberedService[]): CaptureSet {
  return compileCaptureSet({
    generation: 1,
    services: list,
    exclude: [],
    builtins: STATIC_EXCLUSIONS,
    ranges: [],
    rangeProtocols: [],
    canaries: [],
    scopes: { output: true },
    owners: { only: [], except: [] },
  });
}

/** The quickest of three, so that a busy machine does not decide. */
function timed<Result>(work: () => Result): readonly [Result, number] {
  let result = work();
  let best = Infinity;
  for (let turn = 0; turn < 3; turn++) {
    const begin = performance.now();
    result = work();
    best = Math.min(best, performance.now() - begin);
  }
  return [result, best];
}

const ONE_SECOND = 1000;

describe('10,000 prefixes of 2,000 services below services for all addresses', () => {
  const list = services();
  const [set, compileTime] = timed(() => compile(list));
  const [boxes4, boxTime] = timed(() => steeredBoxes(set, 4));
  const boxes6 = steeredBoxes(set, 6);
  const [names, nameTime] = timed(() => compileNames(list));
  const [data, tableTime] = timed(() => buildLookupTable(set, names));
  const table = new LookupTable(data);

  test('compile, cut and build in time', () => {
    const times = { compileTime, boxTime, nameTime, tableTime };
    for (const [what, time] of Object.entries(times)) expect(time, what).toBeLessThan(ONE_SECOND);
  });

  test('give one row for each prefix', () => {
    expect(set.rows).toHaveLength(PREFIXES + 2 + STATIC_EXCLUSIONS.length);
  });

  test('give one box for each prefix, and few for what is around them', () => {
    // Around: the two /0 services, cut by the static exclusions of the family (127/8, 169.254/16, 224/4 in IPv4).
    expect(boxes4).toHaveLength(PREFIXES / 2 + 2 * 4);
    // In IPv6 ::1 leaves ::, fe80::/10 leaves two more parts, and ff00::/8 is the end of the space.
    expect(boxes6).toHaveLength(PREFIXES / 2 + 2 * 3);
  });

  test('share what is equal', () => {
    // The names share nothing across services; the rows have one list for each service, around, spared, and nothing.
    expect(new Set([...data.ports4, ...data.ports6]).size).toBeLessThan(SERVICES + 10);
    expect(names.patterns).toHaveLength(2 * SERVICES);
  });

  test('are answered by the table as by decide', () => {
    let steered = 0;
    for (let n = 0; n < 60; n++) {
      const place = BigInt((n * 2_654_435_761) % PREFIXES);
      const port = [2000, 2002, 80, 53, 9999][n % 5] as number;
      const protocol = n % 3 === 0 ? 'udp' : 'tcp';
      const key = { protocol, port, source: 1n } as const;
      const destination4 = 0x1400_0000n + (place << 9n);
      const destination6 = (0x2001_0db8n << 96n) | (place << 65n);
      const number = protocol === 'tcp' ? 6 : 17;
      const answer4 = decide(set, { family: 4, destination: destination4, ...key });
      const answer6 = decide(set, { family: 6, destination: destination6, ...key });
      const told4 = table.decide4(Number(destination4), port, number, 1);
      const [w0, w1, w2, w3] = addressToWords(destination6);
      const told6 = table.decide6(w0, w1, w2, w3, port, number, 0, 0, 0, 1);
      expect([told4, told6]).toEqual([answer4, answer6].map((answer) => (answer === 'none' ? -1 : answer)));
      steered += Number(told4 >= 0) + Number(told6 >= 0);
    }
    expect(steered).toBeGreaterThan(20);
  });
});

test('2,000 services on all addresses, each on its own port, above 2,000 with prefixes of their own', () => {
  const whole = { family: 4 as const, address: 0n, length: 0 };
  const one = (n: number) => ({ first: 2 * n, last: 2 * n });
  const base = { names: [], protocols: ['tcp' as const], sources: [] };
  const wide = Array.from({ length: SERVICES }, (_, n) => ({ ...base, prefixes: [whole], ports: [one(n)] }));
  const narrow = Array.from({ length: SERVICES }, (_, n) => ({
    ...base,
    prefixes: [{ family: 4 as const, address: BigInt(n + 1) << 16n, length: 24 }],
    ports: [one(n)],
  }));
  const list = [...wide, ...narrow].map((service, place) => ({ id: 16 + place, service }));
  const begin = performance.now();
  const set = compile(list);
  expect(performance.now() - begin).toBeLessThan(5 * ONE_SECOND);
  // 127/8 and 224/4 hold none of the narrow prefixes, which lie in 0.1/16 to 7.208/16.
  expect(set.rows).toHaveLength(1 + SERVICES + STATIC_EXCLUSIONS.length);
  // A narrow service takes a port that the wide one has already: for the kernel nothing changes at all.
  expect(steeredBoxes(set, 4)).toHaveLength(SERVICES * 4);
});

test('1,000 overlapping port ranges and 1,000 sources on one prefix', () => {
  const prefixes = [{ family: 4 as const, address: 0n, length: 0 }];
  const nested = Array.from({ length: 1000 }, (_, n) => ({
    names: [],
    prefixes,
    ports: [{ first: n, last: 60_000 - n }],
    protocols: ['tcp' as const, 'udp' as const],
    sources: [],
  }));
  const sourced = {
    names: [],
    prefixes,
    ports: [{ first: 0, last: 65_535 }],
    protocols: ['tcp' as const],
    sources: Array.from({ length: 1000 }, (_, n) => ({ family: 4 as const, address: BigInt(n) << 13n, length: 20 })),
  };
  const list = [...nested, sourced].map((service, place) => ({ id: 16 + place, service }));
  const begin = performance.now();
  const set = compile(list);
  const table = new LookupTable(buildLookupTable(set, { rows: [] }));
  expect(performance.now() - begin).toBeLessThan(2 * ONE_SECOND);
  expect(table.decide4(1, 30_000, 17, 0)).toBe(16 + 999);
  expect(table.decide4(1, 3, 6, 0)).toBe(16 + 3);
  expect(table.decide4(1, 65_535, 6, 5 << 13)).toBe(16 + 1000);
  expect(table.decide4(1, 65_535, 6, (5 << 13) + 4096)).toBe(-1);
  // Both protocols on the ports of the nested ones, and 1,000 sources on the ports above.
  expect(steeredBoxes(set, 4).filter((box) => box.sources).length % 1000).toBe(0);
});
