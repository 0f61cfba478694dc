/**
 * Boxes as a tree of chains, so that a new flow meets dozens of rules and not ten thousand: pure. A node cuts its boxes
 * at fixed places (blocks of four bits of an address or a port), never in halves, so that a box more or less changes
 * the rules of few chains. What does not fit into one block of a node stays in it.
 */
import { type Box, type Family, type Protocol, widthOf } from '@weir/core';
import { matchText, type Range } from './rule-text.ts';

/** At most this many boxes in a row are cheaper than another chain. Measured: 8 to 32 make no difference. */
const LEAF = 16;

/** Bits that one level of the tree decides. */
const STEP = 4;

/**
 * A packet may go through 16 chains in nf_tables (NFT_JUMP_STACK_SIZE, net/netfilter/nf_tables.h), `goto` counted; five are
 * not the tree's. Below, boxes stand in a row, however many they are.
 */
const DEEPEST = 10;

const PORT_BITS = 16;

export interface Chain {
  readonly name: string;
  /** What follows `-A <name> `. */
  readonly rules: readonly string[];
  /** What the rules were made for beyond their words: ids of control groups, which rules name by path. */
  readonly stamp?: string;
}

export interface TreeInput {
  readonly family: Family;
  readonly boxes: readonly Box[];
  /** The rule for one box. */
  readonly rule: (box: Box) => string;
  /** The name for the chain of a node; the same key gives the same name. */
  readonly name: (key: string) => string;
  /** Name and key of the root. */
  readonly root: string;
}

interface Group {
  readonly dimension: string;
  /** Its place in the dimension. */
  readonly block: string;
  /** What a rule has to match to go on to this group. */
  readonly match: string;
  readonly boxes: readonly Box[];
}

interface Cut {
  /** Boxes that are in no group: their rules stay in the node. */
  readonly rest: readonly Box[];
  readonly groups: readonly Group[];
}

interface Dimension {
  readonly name: string;
  readonly bits: number;
  /** Only bounds of boxes that are limited in this dimension; others fit into no block. */
  readonly range: (box: Box) => Range | undefined;
  readonly match: (block: Range) => string;
}

function dimensions(family: Family, protocol: Protocol): readonly Dimension[] {
  const bits = widthOf(family);
  return [
    {
      name: 'to',
      bits,
      range: (box) => [box.firstAddress, box.lastAddress],
      match: (destinations) => matchText({ family, destinations }),
    },
    {
      name: 'port',
      bits: PORT_BITS,
      range: (box) => [BigInt(box.firstPort), BigInt(box.lastPort)],
      match: ([first, last]) => matchText({ family, protocol, ports: [Number(first), Number(last)] }),
    },
    { name: 'from', bits, range: (box) => box.sources, match: (sources) => matchText({ family, sources }) },
  ];
}

// How many leading bits all bounds share, rounded down to whole steps, and one step more: the length of the blocks.
function blockLength(ranges: readonly Range[], bits: number): number {
  let first = ranges[0]?.[0] ?? 0n;
  let last = first;
  for (const range of ranges) {
    if (range[0] < first) first = range[0];
    if (range[1] > last) last = range[1];
  }
  const shared = bits - (first ^ last).toString(2).length;
  return (Math.floor(shared / STEP) + 1) * STEP;
}

function cutAlong(dimension: Dimension, boxes: readonly Box[]): Cut {
  const ranges = boxes.map((box) => dimension.range(box));
  const limited = ranges.filter((range) => range !== undefined);
  const hostBits = BigInt(dimension.bits - blockLength(limited, dimension.bits));
  const rest: Box[] = [];
  const blocks = new Map<bigint, Box[]>();
  for (const [index, box] of boxes.entries()) {
    const range = ranges[index];
    const block = range && range[0] >> hostBits;
    if (!range || block === undefined || range[1] >> hostBits !== block) rest.push(box);
    else {
      const inside = blocks.get(block);
      if (inside) inside.push(box);
      else blocks.set(block, [box]);
    }
  }
  const groups: Group[] = [];
  for (const [block, inside] of blocks) {
    // A chain for one rule costs more than the rule.
    if (inside.length === 1) rest.push(...inside);
    else {
      const bounds: Range = [block << hostBits, ((block + 1n) << hostBits) - 1n];
      groups.push({
        dimension: dimension.name,
        block: `${bounds[0].toString(16)}/${dimension.bits - Number(hostBits)}`,
        match: dimension.match(bounds),
        boxes: inside,
      });
    }
  }
  return { rest, groups };
}

function cutByProtocol(family: Family, boxes: readonly Box[]): Cut | undefined {
  const groups = (['tcp', 'udp'] as const)
    .map((protocol) => ({
      dimension: 'protocol',
      block: protocol,
      match: matchText({ family, protocol }),
      boxes: boxes.filter((box) => box.protocol === protocol),
    }))
    .filter((group) => group.boxes.length > 0);
  return groups.length > 1 ? { rest: [], groups } : undefined;
}

/**
 * The first cut that leaves few boxes behind; when there is none, the one that leaves the fewest; `undefined` when a row
 * is as good. Not always the best one: which is best changes with every box, and with it all chains below.
 */
function chosenCut(family: Family, boxes: readonly Box[]): Cut | undefined {
  const byProtocol = cutByProtocol(family, boxes);
  if (byProtocol) return byProtocol;
  const [box] = boxes;
  if (!box) return undefined;
  const few = Math.max(LEAF, Math.sqrt(boxes.length));
  let best: Cut | undefined;
  let fewest = boxes.length;
  for (const dimension of dimensions(family, box.protocol)) {
    const cut = cutAlong(dimension, boxes);
    if (cut.groups.length === 0 || cut.groups.some((group) => group.boxes.length === boxes.length)) continue;
    if (cut.rest.length <= few) return cut;
    const rules = cut.rest.length + cut.groups.length;
    if (rules < fewest) {
      best = cut;
      fewest = rules;
    }
  }
  return best;
}

/**
 * What distinguishes a node from all others, however many levels are above it: the block that it is in, in every direction
 * that has been cut. So a level more or less above leaves names as they are.
 */
type Region = ReadonlyMap<string, string>;

function keyOf(root: string, region: Region): string {
  const cuts = ['protocol', 'to', 'port', 'from'].filter((dimension) => region.has(dimension));
  return [root, ...cuts.map((dimension) => `${dimension} ${region.get(dimension)}`)].join(' ');
}

/** The root first, then each chain after one that leads to it. The boxes are disjoint, so that order means nothing. */
export function treeChains({ family, boxes, rule, name, root }: TreeInput): readonly Chain[] {
  const chains: Chain[] = [];
  const grow = (region: Region, chain: string, inside: readonly Box[], depth: number): void => {
    const cut = inside.length > LEAF && depth < DEEPEST ? chosenCut(family, inside) : undefined;
    const rules: string[] = (cut?.rest ?? inside).map((box) => rule(box));
    chains.push({ name: chain, rules });
    for (const group of cut?.groups ?? []) {
      const within = new Map(region).set(group.dimension, group.block);
      const next = name(keyOf(root, within));
      rules.push(`${group.match} -g ${next}`);
      grow(within, next, group.boxes, depth + 1);
    }
  };
  grow(new Map(), name(root), boxes, 0);
  return chains;
}
