/** Random capture sets and flows in a small world, in which prefixes nest, ports overlap and sources meet all the time. */
import {
  addressToNumber,
  type CaptureInput,
  compileCaptureSet,
  type CaptureSet,
  type Family,
  FIRST_SERVICE,
  type FlowKey,
  maskOf,
  parsePrefix,
  type Prefix,
  STATIC_EXCLUSIONS,
} from '@weir/core';
import fc from 'fast-check';

const BASES = { 4: ['10.0.0.0', '10.0.1.0', '10.128.0.0'], 6: ['2001:db8::', '2001:db8:0:1::', '2001:db9::'] } as const;
const LENGTHS = { 4: [0, 1, 8, 9, 24, 30, 31, 32], 6: [0, 16, 31, 48, 64, 126, 127, 128] } as const;
const PORTS = [0, 1, 2, 80, 81, 443, 8080, 65_534, 65_535] as const;

const family = fc.constantFrom<Family>(4, 6);

function addressOf(of: Family): fc.Arbitrary<bigint> {
  return fc
    .tuple(fc.constantFrom(...BASES[of]), fc.integer({ min: 0, max: 8 }))
    .map(([base, low]) => addressToNumber(base) | BigInt(low));
}

const prefix: fc.Arbitrary<Prefix> = family.chain((of) =>
  fc
    .tuple(addressOf(of), fc.constantFrom(...LENGTHS[of]))
    .map(([address, length]) => ({ family: of, address: address & maskOf(of, length), length })),
);

const ports = fc.oneof(
  fc.constant([{ first: 0, last: 65_535 }]),
  fc.uniqueArray(fc.constantFrom(...PORTS), { minLength: 1, maxLength: 4 }).map((bounds) => {
    const sorted = bounds.toSorted((a, b) => a - b);
    const pairs: Array<{ first: number; last: number }> = [];
    for (let at = 0; at < sorted.length; at += 2) {
      const first = sorted[at] ?? 0;
      pairs.push({ first, last: sorted[at + 1] ?? first });
    }
    return pairs;
  }),
);

const service = fc.record({
  prefixes: fc.array(prefix, { minLength: 1, maxLength: 4 }),
  ports,
  protocols: fc.constantFrom<Array<'tcp' | 'udp'>>(['tcp'], ['udp'], ['tcp', 'udp']),
  sources: fc.oneof(fc.constant<Prefix[]>([]), fc.array(prefix, { minLength: 1, maxLength: 3 })),
});

/** Own addresses of the host in this world. */
export const OWN = ['10.0.0.3/32', '127.0.0.1/32', '2001:db8::3/128', '::1/128'];

export interface World {
  readonly input: CaptureInput;
  readonly set: CaptureSet;
}

export const world: fc.Arbitrary<World> = fc
  .record({ services: fc.array(service, { maxLength: 7 }), exclude: fc.array(prefix, { maxLength: 3 }) })
  .map(({ services, exclude }) => {
    const input: CaptureInput = {
      generation: 1,
      services: services.map((each, index) => ({
        id: FIRST_SERVICE + index,
        service: { ...each, name: `s${index}`, names: [] },
      })),
      exclude,
      builtins: [...STATIC_EXCLUSIONS, ...OWN.map((text) => parsePrefix(text))],
      ranges: [],
      rangeProtocols: [],
      canaries: [],
      scopes: { output: true },
      owners: { only: [], except: [] },
    };
    return { input, set: compileCaptureSet(input) };
  });

export const flow: fc.Arbitrary<FlowKey> = family.chain((of) =>
  fc.record({
    family: fc.constant(of),
    protocol: fc.constantFrom<'tcp' | 'udp'>('tcp', 'udp'),
    source: addressOf(of),
    destination: fc.oneof(
      addressOf(of),
      addressOf(of).map((address) => address ^ 1n),
      fc
        .constantFrom(...OWN.map((text) => parsePrefix(text)).filter((own) => own.family === of))
        .map((own) => own.address),
    ),
    port: fc.oneof(fc.constantFrom(...PORTS), fc.constantFrom(3, 79, 82, 444, 65_533)),
  }),
);

export const flows = fc.array(flow, { minLength: 20, maxLength: 40 });
