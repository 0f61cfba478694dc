/**
 * Random capture sets and flows in a small world, so that prefixes nest, ports overlap and sources meet all the time; and
 * one whose addresses the kernel can really send to. Sources are 172.16.0.0/12 and fd00:5::/32, which the test makes the
 * host's own.
 */
import {
  addressToNumber,
  type Canary,
  type CaptureChoice,
  type CaptureInput,
  type CaptureSet,
  type Family,
  type FlowKey,
  type HostFacts,
  maskOf,
  parsePrefix,
  type Prefix,
  prefixBounds,
  prefixContains,
  type Protocol,
  STATIC_EXCLUSIONS,
  widthOf,
} from '@weir/core';
import type { Random } from './random.ts';

export const SOURCES: Readonly<Record<Family, string>> = { 4: '172.16.0.0/12', 6: 'fd00:5::/32' };

const DESTINATIONS = {
  4: {
    bases: ['198.18.0.0', '198.18.4.0', '198.19.0.0', '203.0.113.0', '44.0.0.0'],
    lengths: [0, 1, 8, 15, 16, 22, 24, 29, 30, 31, 32],
  },
  6: {
    bases: ['2001:db8:a::', '2001:db8:a:1::', '2001:db8:b::', '2a00:1::'],
    lengths: [0, 1, 16, 32, 47, 48, 64, 120, 126, 127, 128],
  },
} as const;

const ORIGINS = {
  4: { bases: ['172.16.0.0', '172.16.1.0', '172.20.0.0'], lengths: [0, 12, 16, 24, 30, 32] },
  6: { bases: ['fd00:5::', 'fd00:5:1::', 'fd00:5:0:8000::'], lengths: [0, 32, 48, 64, 126, 128] },
} as const;

/** Addresses of the host itself, which services may name. */
const OWN = ['127.0.0.53/32', '127.0.1.0/30', '10.1.0.2/32', '2001:db8:1::2/128', '::1/128'];

const PORTS = [1, 2, 79, 80, 81, 443, 8000, 8080, 65_534, 65_535];

export const CANARIES: readonly Canary[] = [
  { family: 4, protocol: 'tcp', address: '192.0.2.1', port: 4711 },
  { family: 6, protocol: 'tcp', address: '2001:db8::1', port: 4711 },
  { family: 4, protocol: 'udp', address: '192.0.2.1', port: 4711 },
  { family: 6, protocol: 'udp', address: '2001:db8::1', port: 4711 },
];

function address(random: Random, bases: readonly string[]): bigint {
  return addressToNumber(random.pick(bases)) | BigInt(random.pick([0, 1, 2, 3, 4, 7, 8, 255]));
}

function prefix(
  random: Random,
  family: Family,
  { bases, lengths }: { readonly bases: readonly string[]; readonly lengths: readonly number[] },
): Prefix {
  const length = random.pick(lengths);
  return { family, address: address(random, bases) & maskOf(family, length), length };
}

function ports(random: Random): ReadonlyArray<{ readonly first: number; readonly last: number }> {
  if (random.chance(3)) return [{ first: 0, last: 65_535 }];
  const ranges = random.some(1, 3, () => {
    const [a, b] = [random.pick(PORTS), random.chance(2) ? undefined : random.pick(PORTS)];
    return { first: Math.min(a, b ?? a), last: Math.max(a, b ?? a) };
  });
  const disjoint: Array<{ first: number; last: number }> = [];
  for (const range of ranges.toSorted((a, b) => a.first - b.first)) {
    if (range.first > (disjoint.at(-1)?.last ?? -1)) disjoint.push(range);
  }
  return disjoint;
}

const PROTOCOLS: ReadonlyArray<readonly Protocol[]> = [['tcp'], ['tcp'], ['tcp', 'udp'], ['udp']];

/** A configuration of up to eight services, its exclusions, and what every host brings along. */
export function randomInput(random: Random, generation: number, facts: HostFacts): CaptureInput {
  const family = (): Family => (random.chance(2) ? 4 : 6);
  const destination = () => {
    if (random.chance(12)) return parsePrefix(random.pick(OWN));
    const of = family();
    return prefix(random, of, DESTINATIONS[of]);
  };
  const origin = () => {
    const of = family();
    return prefix(random, of, ORIGINS[of]);
  };
  const services = random.some(0, 8, () => ({
    names: [],
    prefixes: random.some(1, 4, destination),
    ports: ports(random),
    protocols: random.pick(PROTOCOLS),
    sources: random.chance(2) ? [] : random.some(1, 3, origin),
  }));
  return {
    generation,
    services: services.map((service, place) => ({ id: 16 + place, service: { ...service, name: `s${place}` } })),
    exclude: random.chance(2) ? [] : random.some(1, 3, destination),
    builtins: [
      ...STATIC_EXCLUSIONS,
      ...[...facts.ownAddresses, ...facts.connectedNetworks].map((text) => parsePrefix(text)),
    ],
    ranges: random.chance(4) ? [parsePrefix('100.64.0.0/10')] : [],
    rangeProtocols: random.pick(PROTOCOLS),
    canaries: CANARIES,
    scopes: { output: true },
    owners: { only: [], except: [] },
  };
}

/** The same without prefixes that lie within addresses of the host. */
export function withoutOwnAddresses(input: CaptureInput): CaptureInput {
  const isInside = ({ family, address: first, length }: Prefix) =>
    HOST.some((own) => own.length <= length && prefixContains(own, family, first));
  return {
    ...input,
    services: input.services.map(({ id, service }) => ({
      id,
      service: { ...service, prefixes: service.prefixes.filter((one) => !isInside(one)) },
    })),
  };
}

/** One service becomes a refusal, which configurations cannot say yet but mechanisms must understand. */
export function withRefusals(set: CaptureSet): CaptureSet {
  const refused = ({ verdict }: CaptureChoice) => typeof verdict === 'object' && verdict.steer === 18;
  const choice = (each: CaptureChoice): CaptureChoice => (refused(each) ? { ...each, verdict: 'deny' } : each);
  const rows = set.rows.map((row) => ({
    ...row,
    ports: row.ports.map((stretch) => ({ ...stretch, choices: stretch.choices.map(choice) })),
  }));
  return { ...set, rows };
}

/** Destinations that a socket can be sent to: no multicast, no broadcast, no "this host", nothing link-local. */
const SENDABLE: readonly Prefix[] = [
  '1.0.0.0/8',
  '2.0.0.0/7',
  '4.0.0.0/6',
  '8.0.0.0/7',
  '11.0.0.0/8',
  '12.0.0.0/6',
  '16.0.0.0/4',
  '32.0.0.0/3',
  '64.0.0.0/3',
  '96.0.0.0/4',
  '112.0.0.0/5',
  '120.0.0.0/6',
  '124.0.0.0/7',
  '126.0.0.0/8',
  '128.0.0.0/3',
  '160.0.0.0/5',
  '168.0.0.0/8',
  '170.0.0.0/7',
  '173.0.0.0/8',
  '174.0.0.0/7',
  '176.0.0.0/4',
  '192.0.0.0/3',
  '2000::/3',
].map((text) => parsePrefix(text));

const HOST: readonly Prefix[] = [...OWN, '127.0.0.0/8'].map((text) => parsePrefix(text));

/** True for the host's own addresses: what is not captured there is answered by the host. */
export function isOwn(family: Family, destination: bigint): boolean {
  return HOST.some((own) => prefixContains(own, family, destination));
}

const LOOPBACK: readonly Prefix[] = ['127.0.0.0/8', '::1/128'].map((text) => parsePrefix(text));

const LOOPBACK_BROADCASTS = [addressToNumber('127.0.0.0'), addressToNumber('127.255.255.255')];

function sendable(family: Family, destination: bigint, loopback: boolean): boolean {
  if (family === 4 && LOOPBACK_BROADCASTS.includes(destination)) return false;
  if (!loopback && LOOPBACK.some((one) => prefixContains(one, family, destination))) return false;
  return isOwn(family, destination) || SENDABLE.some((one) => prefixContains(one, family, destination));
}

function edges(prefixes: readonly Prefix[]): readonly bigint[] {
  return prefixes.flatMap((one) => {
    const [first, last] = prefixBounds(one);
    return [first - 1n, first, last, last + 1n];
  });
}

export interface FlowChoice {
  readonly count: number;
  readonly protocols: readonly Protocol[];
  /** Also to loopback addresses, which nothing but the host itself can send to. */
  readonly loopback: boolean;
}

/** Flows at and next to the bounds of the input, and some anywhere. */
export function randomFlows(
  random: Random,
  input: CaptureInput,
  { count, protocols, loopback }: FlowChoice,
): readonly FlowKey[] {
  const flows: FlowKey[] = [];
  const services = input.services.map(({ service }) => service);
  while (flows.length < count) {
    const family: Family = random.chance(2) ? 4 : 6;
    const ofFamily = (prefixes: readonly Prefix[]) => prefixes.filter((one) => one.family === family);
    const near = ofFamily([...services.flatMap((service) => service.prefixes), ...input.exclude]);
    const destination =
      near.length > 0 && !random.chance(5)
        ? random.chance(2)
          ? random.pick(edges(near))
          : random.pick(near).address | random.bits(random.pick([2, 8, widthOf(family) / 2]))
        : address(random, DESTINATIONS[family].bases);
    if (destination < 0n || !sendable(family, destination, loopback)) continue;
    const origins = ofFamily([...services.flatMap((service) => service.sources), parsePrefix(SOURCES[family])]);
    const source = random.chance(2) ? random.pick(edges(origins)) : address(random, ORIGINS[family].bases);
    if (!prefixContains(parsePrefix(SOURCES[family]), family, source)) continue;
    const bound = services.flatMap((service) =>
      service.ports.flatMap(({ first, last }) => [first - 1, first, last, last + 1]),
    );
    const port = random.pick([...PORTS, 22, 444, 30_000, ...bound]);
    if (port < 1 || port > 65_535) continue;
    flows.push({ family, protocol: random.pick(protocols), source, destination, port });
  }
  return flows;
}
