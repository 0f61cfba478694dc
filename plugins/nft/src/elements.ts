/**
 * Boxes of the capture set as elements of nftables sets. Elements of one set never overlap, so their order means
 * nothing and the kernel never refuses one ("File exists").
 */
import {
  addressToNumber,
  type Box,
  boxesByRegion,
  type Canary,
  type CaptureSet,
  type Family,
  numberToAddress,
  parsePrefix,
  type Prefix,
  type Protocol,
  RegionMemo,
  regionsOf,
  steeredBoxes,
  widthOf,
} from '@weir/core';
import { isList, type NftExpression } from './nftables-json/index.ts';

/**
 * `own`: on addresses of this host, matched before those are let pass. `any`: from any source. `src`: from some sources
 * only. `canary`: exempt from the choice of owners; there only when owners are chosen at all.
 */
export type SetKind = 'canary' | 'own' | 'any' | 'src';

/** One set as a whole, however many kernel sets hold it. */
export interface ElementSet {
  readonly kind: SetKind;
  readonly family: Family;
  /** With the source address as first field. */
  readonly limited: boolean;
  /** By a key that is equal exactly for equal elements; see {@link elementKey}. */
  readonly elements: ReadonlyMap<string, Box>;
}

/** The name of a set without generation and shard, e.g. `any4`, `own6src`. */
export function setId({ kind, family, limited }: Pick<ElementSet, 'kind' | 'family' | 'limited'>): string {
  return `${kind}${family}${limited && kind !== 'src' ? 'src' : ''}`;
}

/** Type of a set in nft's words. */
export function setType({ family, limited }: Pick<ElementSet, 'family' | 'limited'>): readonly string[] {
  const address = family === 4 ? 'ipv4_addr' : 'ipv6_addr';
  return [...(limited ? [address] : []), address, 'inet_proto', 'inet_service'];
}

/** Length of the prefix that a range is, or `undefined` when it is none. */
function prefixLength(family: Family, first: bigint, last: bigint): number | undefined {
  const host = last - first;
  if ((host & (host + 1n)) !== 0n || (first & host) !== 0n) return undefined;
  // Exact: a power of two less one is the nearest double to itself, or the power.
  return widthOf(family) - Math.round(Math.log2(Number(host) + 1));
}

// As the kernel lists it: one address, a prefix where the range is one, otherwise a range.
function addressRange(family: Family, first: bigint, last: bigint): NftExpression {
  const addr = numberToAddress(family, first);
  if (first === last) return addr;
  const len = prefixLength(family, first, last);
  return len === undefined ? { range: [addr, numberToAddress(family, last)] } : { prefix: { addr, len } };
}

function addressText(family: Family, first: bigint, last: bigint): string {
  const text = numberToAddress(family, first);
  if (first === last) return text;
  const length = prefixLength(family, first, last);
  return length === undefined ? `${text}-${numberToAddress(family, last)}` : `${text}/${length}`;
}

/** A box as element of a set. */
export function elementOf(family: Family, box: Box): NftExpression {
  const { firstAddress, lastAddress, protocol, firstPort, lastPort, sources } = box;
  return {
    concat: [
      ...(sources ? [addressRange(family, ...sources)] : []),
      addressRange(family, firstAddress, lastAddress),
      protocol,
      firstPort === lastPort ? firstPort : { range: [firstPort, lastPort] },
    ],
  };
}

// `elementKey(elementOf(family, box))` without making the element.
function boxKey(family: Family, { firstAddress, lastAddress, protocol, firstPort, lastPort, sources }: Box): string {
  const ports = firstPort === lastPort ? `${firstPort}` : `${firstPort}-${lastPort}`;
  const from = sources ? `${addressText(family, ...sources)} . ` : '';
  return `${from}${addressText(family, firstAddress, lastAddress)} . ${protocol} . ${ports}`;
}

// nft writes ::ffff:192.0.2.1 where RFC 5952 leaves the choice.
function canonical(text: string): string {
  return text.includes(':') && text.includes('.') ? numberToAddress(6, addressToNumber(text)) : text;
}

/** A text that is equal exactly for equal elements, ours or as nft lists them. */
export function elementKey(element: NftExpression): string {
  if (typeof element === 'string') return canonical(element);
  if (typeof element !== 'object' || isList(element)) return JSON.stringify(element);
  if ('concat' in element) return element.concat.map(elementKey).join(' . ');
  if ('prefix' in element) return `${canonical(element.prefix.addr)}/${element.prefix.len}`;
  if ('range' in element) return element.range.map(elementKey).join('-');
  return JSON.stringify(element);
}

function canaryBox({ address, protocol, port }: Canary): Box {
  const number = addressToNumber(address);
  return { firstAddress: number, lastAddress: number, protocol, firstPort: port, lastPort: port };
}

const LOOPBACK: readonly Prefix[] = [parsePrefix('127.0.0.0/8'), parsePrefix('::1/128')];

/** What decides the elements, out of a plan's input. */
export interface ElementInput {
  readonly set: CaptureSet;
  /** Own addresses of the host as prefixes. */
  readonly ownAddresses: readonly string[];
  /** Families and protocols that there is a capture point for; nothing else is steered. */
  readonly networks: ReadonlyArray<{ readonly family: Family; readonly protocol: Protocol }>;
  /** Whether processes are chosen by owner. */
  readonly owners: boolean;
}

type Entry = readonly [key: string, box: Box];

/** Elements of whole regions: what is the same as before are the same objects. */
const KNOWN = new RegionMemo<readonly Entry[]>();

/** All elements of a family with their keys, ascending. */
function* steeredEntries(set: CaptureSet, family: Family): Generator<readonly Entry[]> {
  const boxesOf = boxesByRegion(family);
  const entriesOf = KNOWN.under(String(family), (region) =>
    boxesOf(region).map((box): Entry => [boxKey(family, box), box]),
  );
  for (const region of regionsOf(set, family)) yield entriesOf(region);
}

/** All sets that are not empty, in a fixed order. */
export function elementSets({ set, ownAddresses, networks, owners }: ElementInput): readonly ElementSet[] {
  const inside = [...LOOPBACK, ...ownAddresses.map(parsePrefix)];
  const sets: ElementSet[] = [];
  for (const family of [4, 6] as const) {
    const protocols = new Set(networks.filter((n) => n.family === family).map((n) => n.protocol));
    if (protocols.size === 0) continue;
    // What an earlier set holds never reaches a later one.
    const before = new Set<string>();
    const isFor = (key: string, { protocol }: Box) => protocols.has(protocol) && !before.has(key);
    const add = (kind: SetKind, limited: boolean, elements: ElementSet['elements']) => {
      if (kind === 'own' || kind === 'canary') for (const key of elements.keys()) before.add(key);
      if (elements.size > 0) sets.push({ kind, family, limited, elements });
    };
    const entries = (boxes: readonly Box[]) =>
      boxes.map((box): Entry => [boxKey(family, box), box]).filter((entry) => isFor(...entry));
    if (owners) {
      const canaries = set.canaries.filter((canary) => canary.family === family).map(canaryBox);
      add('canary', false, new Map(entries(canaries)));
    }
    const own = entries(steeredBoxes(set, family, { inside }));
    add('own', false, new Map(own.filter(([, { sources }]) => sources === undefined)));
    add('own', true, new Map(own.filter(([, { sources }]) => sources !== undefined)));
    const any = new Map<string, Box>();
    const src = new Map<string, Box>();
    for (const some of steeredEntries(set, family)) {
      for (const [key, box] of some) if (isFor(key, box)) (box.sources === undefined ? any : src).set(key, box);
    }
    add('any', false, any);
    add('src', true, src);
  }
  return sets;
}
