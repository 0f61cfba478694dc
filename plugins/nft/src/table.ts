/**
 * The table `inet weir_<owner>` as data: pure, and the only place that says what our rules are.
 *
 *   out        local flows: a new one that `pick` claims gets the conntrack mark; claimed ones get the packet mark
 *   pre        what comes in by the named interfaces is shown to `enter`; claimed flows, of whatever origin, go to the
 *              capture points (tproxy), and are refused when nobody listens there
 *   pick       is this new local flow captured?      enter   is this new flow from outside?
 *   claim      sets the conntrack mark
 *   unrouted   what has no other route than ours and was not claimed is refused at once, instead of lost on lo
 *
 * The decision is made once for each flow and kept in the conntrack mark, so that flows older than a change of the sets
 * stay what they were.
 */
import {
  type CaptureSet,
  type Family,
  type HostNumbers,
  numberToAddress,
  OWN_SOURCE_RANGE,
  type OwnerMatch,
  type PlanInput,
  presentGroups,
  presentOwners,
  UsageError,
  usablePoints,
} from '@weir/core';
import { elementOf, elementSets, type ElementSet, setId, setType } from './elements.ts';
import { build, type NftChain, type NftExpression, type NftSet, type NftStatement } from './nftables-json/index.ts';

const { ACCEPT, RETURN, and, anyOf, assign, concat, ct, differ, equal, go, jump, meta, or, payload, within } = build;

/** Elements in one kernel set: deleting an element takes time in proportion to the set's size. */
export const SHARD_SIZE = 5000;

/** One kernel set: a part of an {@link ElementSet}. */
export interface Shard {
  readonly name: string;
  readonly elements: ElementSet['elements'];
}

/** An element set with the kernel sets that hold it. */
export interface PlacedSet extends Omit<ElementSet, 'elements'> {
  readonly shards: readonly Shard[];
}

/** A chain and its rules, without the rules' addresses (family, table, chain). */
export interface TableChain {
  readonly chain: NftChain;
  /** What the rules were made for beyond their words: ids of control groups, which rules name by path. */
  readonly stamp?: string;
  readonly rules: ReadonlyArray<readonly NftStatement[]>;
}

/** @throws UsageError for an owner that cannot be part of an nftables name. */
export function tableName(owner: string): string {
  if (/^[A-Za-z0-9_.-]{1,64}$/.test(owner)) return `weir_${owner}`;
  throw new UsageError({
    problem: `The owner "${owner}" cannot be part of the name of an nftables table.`,
    remedy: 'Use at most 64 letters, digits, dots, dashes and underscores.',
  });
}

/** The element sets of an input. */
export function setsOf(input: PlanInput): readonly ElementSet[] {
  return elementSets({
    set: input.set,
    ownAddresses: input.facts.ownAddresses,
    networks: usablePoints(input).map((point) => point.network),
    owners: choosesOwners(input.set),
  });
}

/** Divides a set into kernel sets named `<id>_<suffix>_<number>`. */
export function place(set: ElementSet, suffix: string): PlacedSet {
  const { elements, ...rest } = set;
  const entries = [...elements];
  const shards: Shard[] = [];
  for (let at = 0; at < entries.length; at += SHARD_SIZE) {
    const name = `${setId(set)}_${suffix}_${shards.length}`;
    shards.push({ name, elements: new Map(entries.slice(at, at + SHARD_SIZE)) });
  }
  return { ...rest, shards };
}

/** A kernel set for `add set`, with or without its elements. */
export function kernelSet(table: string, set: Omit<PlacedSet, 'shards'>, shard: Shard): NftSet {
  return {
    family: 'inet',
    table,
    name: shard.name,
    type: setType(set),
    flags: ['interval'],
    elem: Array.from(shard.elements.values(), (box) => elementOf(set.family, box)),
  };
}

function choosesOwners(set: CaptureSet): boolean {
  return set.owners.only.length > 0 || set.owners.except.length > 0;
}

// `meta mark & keep | capture`, in the form in which the kernel lists it.
function marked(key: NftExpression, { mask, captureMark }: HostNumbers): NftStatement {
  const keep = (~mask | captureMark) >>> 0;
  return assign(key, or(and(key, keep), captureMark));
}

function ownerMatch(owner: OwnerMatch): NftStatement {
  if (owner.kind === 'cgroup') {
    const names = owner.path.split('/').filter((name) => name !== '');
    return equal({ socket: { key: 'cgroupv2', level: names.length } }, names.join('/'));
  }
  const { kind, first, last } = owner;
  return equal(meta(kind === 'uid' ? 'skuid' : 'skgid'), first === last ? first : { range: [first, last] });
}

function lookUps(sets: readonly PlacedSet[], kinds: readonly string[]): ReadonlyArray<readonly NftStatement[]> {
  return sets
    .filter((set) => kinds.includes(set.kind))
    .flatMap((set) => {
      const ip = set.family === 4 ? 'ip' : 'ip6';
      const fields = [payload(ip, 'daddr'), meta('l4proto'), payload('th', 'dport')];
      const key = concat(...(set.limited ? [payload(ip, 'saddr')] : []), ...fields);
      return set.shards.map((shard) => [equal(key, `@${shard.name}`), go('claim')]);
    });
}

const NEW = within(ct('state'), 'new');

/** A flow that began before it could be captured must not be cut: only its SYN is looked at. */
const NOT_A_SYN: readonly NftStatement[] = [
  differ(and(payload('tcp', 'flags'), ['fin', 'syn', 'rst', 'ack']), 'syn'),
  RETURN,
];

/** Own addresses, broadcast and multicast; services that name an own address are matched before. */
const NOT_ELSEWHERE: readonly NftStatement[] = [
  equal({ fib: { result: 'type', flags: ['daddr'] } }, anyOf('local', 'broadcast', 'anycast', 'multicast')),
  RETURN,
];

interface PlainChain {
  readonly name: string;
  readonly rules: ReadonlyArray<readonly NftStatement[]>;
}

/** Chains that say whether a new flow is captured: `pick` for local ones, `enter` for those from outside. */
function pickChains(input: PlanInput, sets: readonly PlacedSet[]): readonly PlainChain[] {
  const { scopes, owners } = input.set;
  const destinations = [...lookUps(sets, ['own']), NOT_ELSEWHERE, ...lookUps(sets, ['any', 'src'])];
  const all = [NOT_A_SYN, ...destinations];
  const entering: readonly PlainChain[] = scopes.forward ? [{ name: 'enter', rules: all }] : [];
  if (!scopes.output) return entering;
  const only = presentOwners(owners.only, input.facts);
  const except = presentOwners(owners.except, input.facts);
  if (!choosesOwners(input.set)) {
    // One chain is enough for both.
    if (scopes.forward)
      return [
        { name: 'pick', rules: all },
        { name: 'enter', rules: [[go('pick')]] },
      ];
    return [{ name: 'pick', rules: all }];
  }
  const first = [NOT_A_SYN, ...lookUps(sets, ['canary']), ...except.map((owner) => [ownerMatch(owner), RETURN])];
  const chosen =
    owners.only.length === 0 ? [[go('destination')]] : only.map((owner) => [ownerMatch(owner), go('destination')]);
  return [
    { name: 'destination', rules: destinations },
    { name: 'pick', rules: [...first, ...chosen] },
    ...(scopes.forward ? [{ name: 'enter', rules: [NOT_A_SYN, [go('destination')]] }] : []),
  ];
}

/** Packets that came in by one of these. */
function enteredBy(interfaces: readonly string[]): NftStatement {
  const [first = '', ...more] = [...new Set(interfaces)];
  return equal(meta('iifname'), more.length === 0 ? first : anyOf(first, ...more));
}

/** Flows that another owner captures by a device of its own look as if they had no route. */
function takenByAnother({ facts }: PlanInput): ReadonlyArray<readonly NftStatement[]> {
  const families: readonly Family[] = facts.ipv6 ? [4, 6] : [4];
  return families.map((family) => {
    const { address, length } = OWN_SOURCE_RANGE[family];
    const source = { prefix: { addr: numberToAddress(family, address), len: length } };
    return [equal(payload(family === 4 ? 'ip' : 'ip6', 'saddr'), source), RETURN];
  });
}

/** Priority `mangle`: after conntrack, before NAT. */
const MANGLE = -150;

/** All chains, in the order in which they are made. `draining`: nothing new is steered, living flows go on. */
export function chainsOf(input: PlanInput, sets: readonly PlacedSet[], draining: boolean): readonly TableChain[] {
  const table = tableName(input.owner);
  const { mask, captureMark, bypassMark } = input.numbers;
  const { output, forward } = input.set.scopes;
  const claimed = equal(and(ct('mark'), mask), captureMark);
  const unclaimed = equal(and(ct('mark'), mask), 0);
  const common: ReadonlyArray<readonly NftStatement[]> = [
    [equal(and(meta('mark'), bypassMark), bypassMark), RETURN],
    [differ(meta('l4proto'), anyOf('tcp', 'udp')), RETURN],
    [equal(ct('direction'), 'reply'), RETURN],
  ];
  // A mark of anybody's says that somebody else wants the packet where it goes.
  const unrouted: readonly NftStatement[] = [
    equal(meta('mark'), 0),
    NEW,
    unclaimed,
    // In IPv6 fib asks all tables, and finds nothing since it does not count as `iif lo`.
    equal({ fib: { result: 'type', flags: ['daddr'] } }, anyOf('unicast', 'unreachable')),
  ];
  const plain = (name: string, rules: TableChain['rules']): TableChain => ({
    chain: { family: 'inet', table, name },
    rules,
  });
  const base = (
    name: string,
    type: 'filter' | 'route',
    hook: string,
    prio: number,
    rules: TableChain['rules'],
  ): TableChain => ({ chain: { family: 'inet', table, name, type, hook, prio, policy: 'accept' }, rules });

  const deliver = usablePoints(input).map(({ network, bind, port }): readonly NftStatement[] => [
    equal(meta('nfproto'), `ipv${network.family}`),
    equal(meta('l4proto'), network.protocol),
    claimed,
    marked(meta('mark'), input.numbers),
    { tproxy: { family: network.family === 4 ? 'ip' : 'ip6', addr: bind.address, port } },
    ACCEPT,
  ]);
  // tproxy goes on to the next rule when nobody listens: Weir died, and on-crash says closed.
  const nobody: ReadonlyArray<readonly NftStatement[]> = [
    [claimed, equal(meta('l4proto'), 'tcp'), { reject: { type: 'tcp reset' } }],
    [claimed, { reject: { type: 'icmpx', expr: 'port-unreachable' } }],
  ];
  const groups = presentGroups(input.facts);
  const picks = pickChains(input, sets).map(({ name, rules }): TableChain => {
    const chain = plain(name, draining ? [] : rules);
    return name === 'pick' && groups !== '' ? { ...chain, stamp: groups } : chain;
  });
  const enters = forward ? [[enteredBy(forward.interfaces), NEW, unclaimed, jump('enter')]] : [];
  return [
    plain('claim', [[marked(ct('mark'), input.numbers)]]),
    ...picks,
    base('pre', 'filter', 'prerouting', MANGLE, [...common, ...enters, ...deliver, ...nobody]),
    ...(output
      ? [
          base('out', 'route', 'output', MANGLE, [
            ...common,
            [NEW, unclaimed, jump('pick')],
            [claimed, marked(meta('mark'), input.numbers)],
          ]),
          base('unrouted', 'filter', 'output', MANGLE + 5, [
            // First: it is all that nearly every packet of the host sees of this chain.
            [differ(meta('oif'), 'lo'), RETURN],
            ...takenByAnother(input),
            [...unrouted, equal(meta('l4proto'), 'tcp'), { reject: { type: 'tcp reset' } }],
            [...unrouted, { reject: { type: 'icmpx', expr: 'no-route' } }],
          ]),
        ]
      : []),
  ];
}

/** The whole table as the first transaction makes it. */
export interface TableContent {
  readonly table: string;
  readonly sets: readonly PlacedSet[];
  readonly chains: readonly TableChain[];
}

/** @throws UsageError for an impossible owner. */
export function tableOf(input: PlanInput): TableContent {
  const sets = setsOf(input).map((set) => place(set, `g${input.set.generation}`));
  return { table: tableName(input.owner), sets, chains: chainsOf(input, sets, false) };
}
