/** Random configurations in a small world, so that prefixes nest, ports overlap and sources meet all the time. */
import fc from 'fast-check';
import type { Canary, CaptureSet } from '../../src/api/capture.ts';
import type { Family, FlowKey, Prefix, Protocol } from '../../src/api/flow.ts';
import { maskOf, numberToAddress, prefixBounds, widthOf } from '../../src/capture/address.ts';
import type { CaptureInput, NumberedService } from '../../src/capture/index.ts';

const LENGTHS = { 4: [0, 1, 8, 16, 24, 29, 30, 31, 32], 6: [0, 1, 32, 48, 64, 96, 126, 127, 128] } as const;
const BASES = {
  4: [0n, 0x0a00_0000n, 0x0a00_0100n, 0x0a01_0000n, 0x7fff_ff00n, 0x8000_0000n, 0xffff_ff00n],
  6: [
    0n,
    0x2001_0db8_0000_0000_0000_0000_0000_0000n,
    0x2001_0db8_0000_0001_0000_0000_0000_0000n,
    0x2001_0db8_0000_0001_0000_0001_0000_0000n,
    0x7fff_ffff_ffff_ffff_ffff_ffff_ffff_ff00n,
    0x8000_0000_0000_0000_0000_0000_0000_0000n,
    0xffff_ffff_ffff_ffff_ffff_ffff_ffff_ff00n,
  ],
} as const;

const family = fc.constantFrom<Family>(4, 6);
const addressOf = (of: Family) =>
  fc
    .tuple(fc.constantFrom(...BASES[of]), fc.constantFrom(0n, 1n, 2n, 3n, 4n, 8n, 255n))
    .map(([base, low]) => base | low);

export const prefix: fc.Arbitrary<Prefix> = family.chain((of) =>
  fc
    .tuple(addressOf(of), fc.constantFrom(...LENGTHS[of]))
    .map(([address, length]) => ({ family: of, address: address & maskOf(of, length), length })),
);

const PORT_EDGES = [0, 1, 79, 80, 81, 443, 8000, 8080, 8081, 65_534, 65_535];
const port = fc.constantFrom(...PORT_EDGES);
const portRange = fc.tuple(port, port).map(([a, b]) => ({ first: Math.min(a, b), last: Math.max(a, b) }));

/** Sorted and disjoint, as the configuration makes them. */
const ports = fc.array(portRange, { minLength: 1, maxLength: 3 }).map((ranges) => {
  const disjoint: Array<{ first: number; last: number }> = [];
  for (const range of ranges.toSorted((a, b) => a.first - b.first)) {
    if (range.first > (disjoint.at(-1)?.last ?? -1)) disjoint.push(range);
  }
  return disjoint;
});

const protocols = fc.constantFrom<readonly Protocol[]>(['tcp'], ['udp'], ['tcp', 'udp'], ['udp', 'tcp']);
const sources = fc.oneof({ weight: 2, arbitrary: fc.constant([]) }, fc.array(prefix, { maxLength: 4 }));

const NAMES = [
  'internal',
  'web.internal',
  'a.web.internal',
  'b.a.web.internal',
  '*.internal',
  '*.web.internal',
  '*.a.web.internal',
  '*.other',
  'x.other',
  'w*.internal',
  '*b.internal',
  '??b.internal',
  'a.*.internal',
  '*.a.*',
  '*.*.internal',
  'x.o*',
];
/** Every pattern also as what a service does not want. */
const WRITTEN = NAMES.flatMap((pattern) => [pattern, pattern, `!${pattern}`]);
export const name = fc.oneof(
  fc.constantFrom(...NAMES.map((pattern) => pattern.replace('*', 'any').replaceAll(/[*?]/g, 'w'))),
  fc
    .array(fc.constantFrom('a', 'b', 'web', 'x', 'other', 'internal'), { minLength: 1, maxLength: 5 })
    .map((labels) => labels.join('.')),
);

export const services: fc.Arbitrary<readonly NumberedService[]> = fc
  .array(
    fc.record({
      names: fc.uniqueArray(fc.constantFrom(...WRITTEN), { maxLength: 5 }),
      prefixes: fc.array(prefix, { maxLength: 4 }),
      ports,
      protocols,
      sources,
    }),
    { maxLength: 8 },
  )
  .map((list) => list.map((service, place) => ({ id: 16 + place, service })));

const canary: fc.Arbitrary<Canary> = family.chain((of) =>
  fc.record({
    family: fc.constant(of),
    protocol: fc.constantFrom<Protocol>('tcp', 'udp'),
    address: addressOf(of).map((address) => numberToAddress(of, address)),
    port,
  }),
);

export const captureInput: fc.Arbitrary<CaptureInput> = fc.record({
  generation: fc.nat(),
  services,
  exclude: fc.array(prefix, { maxLength: 3 }),
  builtins: fc.array(prefix, { maxLength: 3 }),
  ranges: fc.array(prefix, { maxLength: 2 }),
  rangeProtocols: fc.constantFrom<readonly Protocol[]>([], ['tcp'], ['udp'], ['tcp', 'udp']),
  canaries: fc.array(canary, { maxLength: 2 }),
  scopes: fc.constant({ output: true }),
  owners: fc.constant({ only: [], except: [] }),
});

/** Some services become refusals, which configurations cannot say yet but mechanisms must understand. */
export function withRefusals(set: CaptureSet): CaptureSet {
  return {
    ...set,
    rows: set.rows.map((row) => ({
      ...row,
      ports: row.ports.map((stretch) => ({
        ...stretch,
        choices: stretch.choices.map((choice) =>
          typeof choice.verdict === 'object' && choice.verdict.steer % 5 === 2
            ? { ...choice, verdict: 'deny' as const }
            : choice,
        ),
      })),
    })),
  };
}

/** Flows at and next to every bound that the input has, in both families and protocols. */
export function flowsAt(input: Pick<CaptureInput, 'services' | 'exclude' | 'builtins' | 'ranges' | 'canaries'>) {
  const destinations = [...input.exclude, ...input.builtins, ...input.ranges];
  const origins: Prefix[] = [];
  for (const { service } of input.services) {
    destinations.push(...service.prefixes);
    origins.push(...service.sources);
  }
  const edges = (of: Family, prefixes: readonly Prefix[]) => {
    const all = (1n << BigInt(widthOf(of))) - 1n;
    const values = prefixes
      .filter((one) => one.family === of)
      .flatMap((one) => {
        const [first, last] = prefixBounds(one);
        return [first - 1n, first, last, last + 1n];
      });
    return [...new Set([0n, all, ...BASES[of], ...values])].filter((value) => value >= 0n && value <= all);
  };
  const portsAt = [...new Set([...PORT_EDGES, 82, 444, 7999, 8079, 8082, 30_000])];
  return family.chain((of) =>
    fc.record({
      family: fc.constant(of),
      protocol: fc.constantFrom<Protocol>('tcp', 'udp'),
      destination: fc.constantFrom(...edges(of, destinations)),
      source: fc.constantFrom(...edges(of, origins)),
      port: fc.constantFrom(...portsAt),
    }),
  );
}

export const inputAndFlows: fc.Arbitrary<readonly [CaptureInput, readonly FlowKey[]]> = captureInput.chain((input) =>
  fc.tuple(fc.constant(input), fc.array(flowsAt(input), { minLength: 30, maxLength: 60 })),
);
