/** What a worker asks once per flow: which service, in tables of 10 and of 10,000 prefixes. */
import {
  addressToWords,
  buildLookupTable,
  type CapturedService,
  compileCaptureSet,
  compileNames,
  decide,
  LookupTable,
  STATIC_EXCLUSIONS,
} from '@weir/core';
import type { MicroCase, MicroSuite } from './suite.ts';

const TCP = 6;
const BASE = 0x1400_0000;

/** Every other /24 from 20.0.0.0 on. */
function services(prefixes: number): readonly CapturedService[] {
  return Array.from({ length: prefixes }, (_, n) => ({
    names: [],
    prefixes: [{ family: 4, address: BigInt(BASE + n * 512), length: 24 }],
    ports: [{ first: 80, last: 80 + (n % 7) }],
    protocols: ['tcp'],
    sources: [],
  }));
}

function cases(prefixes: number): readonly MicroCase[] {
  const numbered = services(prefixes).map((service, n) => ({ id: 16 + n, service }));
  const set = compileCaptureSet({
    generation: 1,
    services: numbered,
    exclude: [],
    builtins: STATIC_EXCLUSIONS,
    ranges: [],
    rangeProtocols: [],
    canaries: [],
    scopes: { output: true },
    owners: { only: [], except: [] },
  });
  const table = new LookupTable(buildLookupTable(set, compileNames(numbered)));
  const [, , , source] = addressToWords(0x0a01_0002n);
  const destination = (n: number) => BASE + (n % prefixes) * 512 + 7;
  const all: MicroCase[] = [
    {
      name: `LookupTable.decide4, ${prefixes} prefixes, a hit`,
      once: (n) => table.decide4(destination(n * 7919), 80, TCP, source),
    },
    {
      name: `LookupTable.decide4, ${prefixes} prefixes, a miss`,
      once: (n) => table.decide4(destination(n * 7919) + 256, 80, TCP, source),
    },
  ];
  if (prefixes > 100) return all;
  const key = { family: 4, protocol: 'tcp', source: 0x0a01_0002n, port: 80 } as const;
  return [
    ...all,
    {
      name: `decide (the reference), ${prefixes} prefixes, a hit`,
      once: (n) => decide(set, { ...key, destination: BigInt(destination(n * 7919)) }),
    },
  ];
}

export function lookUps(): MicroSuite {
  return { name: 'capture decisions', cases: [...cases(10), ...cases(10_000)] };
}
