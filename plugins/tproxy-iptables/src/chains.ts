/**
 * Our chains of one family as data: pure, and the only place that says what our rules are.
 *
 *   OUTPUT ─► out      local flows: a new one that `pick` claims gets the conntrack mark; claimed ones get the packet mark
 *   PREROUTING ─► pre  what comes in by the named interfaces is shown to `pick` too, or to `chosen` where processes are
 *                      chosen; claimed flows, of whatever origin, go to the capture points (TPROXY)
 *   pick     is this new flow captured?  own: services that name own addresses · set: all others, the root of a tree
 *   chosen   what pick asks for flows of chosen processes      claim   sets the conntrack mark
 *   filter OUTPUT ─► unrouted   what has no other route than ours and was not claimed is refused at once, not lost on lo
 *
 * The decision is made once for each flow and kept in the conntrack mark, so that flows older than a change of the chains
 * stay what they were.
 */
import {
  type Box,
  CANARY_SERVICE,
  type Canary,
  addressToNumber,
  type Family,
  formatPrefix,
  NAMES_SERVICE,
  OWN_SOURCE_RANGE,
  parsePrefix,
  type PlanInput,
  type Prefix,
  presentGroups,
  presentOwners,
  type Protocol,
  steeredBoxes,
} from '@weir/core';
import { type ChainPart, chainPrefix } from './chain-names.ts';
import { type Chain, treeChains } from './chain-tree.ts';
import { boxText, comment, enteredBy, hex, ownerText } from './rule-text.ts';

export type TableName = 'filter' | 'mangle';

/** A rule of ours in a built-in chain, at its head. */
export interface Hook {
  readonly chain: 'PREROUTING' | 'OUTPUT';
  readonly rule: string;
}

export interface TableContent {
  readonly table: TableName;
  readonly chains: readonly Chain[];
  readonly hooks: readonly Hook[];
}

/** Everything that is ours in one family, and the numbers that chains of the tree have. */
export interface FamilyContent {
  readonly family: Family;
  readonly tables: readonly TableContent[];
  readonly numbers: ReadonlyMap<string, number>;
}

const LOOPBACK: readonly Prefix[] = [parsePrefix('127.0.0.0/8'), parsePrefix('::1/128')];

/** Keeps the number of every key that stays, and gives the lowest free ones to those that come. */
class ChainNumbers {
  readonly used = new Map<string, number>();
  readonly #before: ReadonlyMap<string, number>;
  readonly #taken: Set<number>;
  #next = 1;

  constructor(before: ReadonlyMap<string, number>) {
    this.#before = before;
    this.#taken = new Set(before.values());
  }

  of(key: string): number {
    const known = this.used.get(key) ?? this.#before.get(key) ?? this.#free();
    this.used.set(key, known);
    return known;
  }

  #free(): number {
    while (this.#taken.has(this.#next)) this.#next++;
    this.#taken.add(this.#next);
    return this.#next;
  }
}

function canaryBox({ address, protocol, port }: Canary): Box {
  const number = addressToNumber(address);
  return {
    firstAddress: number,
    lastAddress: number,
    protocol,
    firstPort: port,
    lastPort: port,
    decision: CANARY_SERVICE,
  };
}

/** Own addresses, broadcast and multicast. IPv6 wants several words to be true at once, and knows no broadcast. */
const NOT_ELSEWHERE: Readonly<Record<Family, readonly string[]>> = {
  4: ['-m addrtype --dst-type LOCAL,BROADCAST,ANYCAST,MULTICAST -j RETURN'],
  6: ['-m addrtype --dst-type LOCAL,ANYCAST -j RETURN', '-m addrtype --dst-type MULTICAST -j RETURN'],
};

const NO_ROUTE: Readonly<Record<Family, string>> = { 4: 'icmp-net-unreachable', 6: 'icmp6-no-route' };

/** Who a rule is for, as its comment says it. */
function nameOf({ decision }: Box, serviceNames: ReadonlyMap<number, string>): string {
  if (decision === NAMES_SERVICE) return 'names';
  if (decision === CANARY_SERVICE) return 'canary';
  if (typeof decision === 'number') return serviceNames.get(decision) ?? `service ${decision}`;
  return 'refused';
}

class FamilyChains {
  readonly #input: PlanInput;
  readonly #family: Family;
  readonly #prefix: string;
  readonly #numbers: ChainNumbers;

  constructor(input: PlanInput, family: Family, numbers: ChainNumbers) {
    this.#input = input;
    this.#family = family;
    this.#prefix = chainPrefix(input.owner);
    this.#numbers = numbers;
  }

  mangle(draining: boolean): TableContent {
    const { output } = this.#input.set.scopes;
    const chains = [
      this.#chain('claim', [`-j CONNMARK --set-xmark ${this.#claimed}`]),
      ...this.#picking(draining),
      this.#pre(),
      ...(output ? [this.#out()] : []),
    ];
    const hooks: Hook[] = [{ chain: 'PREROUTING', rule: `-j ${this.#name('pre')}` }];
    if (output) hooks.push({ chain: 'OUTPUT', rule: `-j ${this.#name('out')}` });
    return { table: 'mangle', chains, hooks };
  }

  /** A mark of anybody's says that somebody else wants the packet where it goes. */
  filter(): TableContent {
    if (!this.#input.set.scopes.output) return { table: 'filter', chains: [], hooks: [] };
    const unrouted = this.#chain('unrouted', [
      '-m mark ! --mark 0x0 -j RETURN',
      // Flows that another owner captures by a device of its own look as if they had no route.
      `-s ${formatPrefix(OWN_SOURCE_RANGE[this.#family])} -j RETURN`,
      '-m conntrack ! --ctstate NEW -j RETURN',
      `-m connmark ! --mark ${this.#unclaimed} -j RETURN`,
      ...NOT_ELSEWHERE[this.#family],
      '-p tcp -j REJECT --reject-with tcp-reset',
      `-j REJECT --reject-with ${NO_ROUTE[this.#family]}`,
    ]);
    const hook: Hook = { chain: 'OUTPUT', rule: `-o lo -j ${unrouted.name}` };
    return { table: 'filter', chains: [unrouted], hooks: [hook] };
  }

  get #points(): PlanInput['points'] {
    return this.#input.points.filter((point) => point.network.family === this.#family);
  }

  get #claimed(): string {
    return `${hex(this.#input.numbers.captureMark)}/${hex(this.#input.numbers.mask)}`;
  }

  get #unclaimed(): string {
    return `0x0/${hex(this.#input.numbers.mask)}`;
  }

  #name(part: ChainPart): string {
    return `${this.#prefix}${part}`;
  }

  #chain(part: ChainPart, rules: readonly string[]): Chain {
    return { name: this.#name(part), rules };
  }

  /** What is Weir's own, or an answer of a local server, is nobody's business. */
  get #common(): readonly string[] {
    const bypass = hex(this.#input.numbers.bypassMark);
    return [`-m mark --mark ${bypass}/${bypass} -j RETURN`, '-m conntrack --ctdir REPLY -j RETURN'];
  }

  #pre(): Chain {
    const { forward } = this.#input.set.scopes;
    // What comes from outside has no process to choose by.
    const asked = this.#choosesOwners ? 'chosen' : 'pick';
    const shown = [...new Set(forward?.interfaces)].flatMap((device) =>
      this.#points.map((point) => this.#show(point.network.protocol, asked, `${enteredBy(device)} `)),
    );
    const deliver = this.#points.map(
      ({ network, bind, port }) =>
        `-p ${network.protocol} -m connmark --mark ${this.#claimed} ` +
        `-j TPROXY --on-port ${port} --on-ip ${bind.address} --tproxy-mark ${this.#claimed}`,
    );
    return this.#chain('pre', [...this.#common, ...shown, ...deliver]);
  }

  #out(): Chain {
    const shown = this.#points.map((point) => this.#show(point.network.protocol, 'pick'));
    const mark = `-m connmark --mark ${this.#claimed} -j MARK --set-xmark ${this.#claimed}`;
    return this.#chain('out', [...this.#common, ...shown, mark]);
  }

  /** Shows new flows to a chain. One that began before it could be captured must not be cut: of TCP, only its SYN. */
  #show(protocol: Protocol, to: ChainPart, from = ''): string {
    const first = protocol === 'tcp' ? ' -m tcp --tcp-flags FIN,SYN,RST,ACK SYN' : '';
    const unclaimed = `-m conntrack --ctstate NEW -m connmark --mark ${this.#unclaimed}`;
    return `${from}-p ${protocol} ${unclaimed}${first} -j ${this.#name(to)}`;
  }

  get #choosesOwners(): boolean {
    const { only, except } = this.#input.set.owners;
    return only.length > 0 || except.length > 0;
  }

  /** `pick` and what it asks. Draining: nothing is claimed, and the rest stays for a repair to compare. */
  #picking(draining: boolean): readonly Chain[] {
    const { facts, set } = this.#input;
    const own = this.#tree('own', { inside: [...LOOPBACK, ...facts.ownAddresses.map(parsePrefix)] });
    const ownIsEmpty = own.length === 1 && own[0]?.rules.length === 0;
    const destinations = [
      ...(ownIsEmpty ? [] : [`-j ${this.#name('own')}`]),
      ...NOT_ELSEWHERE[this.#family],
      `-g ${this.#name('set')}`,
    ];
    const asking = (part: ChainPart, rules: readonly string[]) => this.#chain(part, draining ? [] : rules);
    const tree = [...(ownIsEmpty ? [] : own), ...this.#tree('set', {})];
    if (!this.#choosesOwners) return [...tree, asking('pick', destinations)];
    const chosen = asking('chosen', destinations);
    if (!set.scopes.output) return [...tree, chosen];
    const pick = asking('pick', this.#owners());
    const stamp = presentGroups(facts);
    return [...tree, chosen, stamp === '' ? pick : { ...pick, stamp }];
  }

  /** Which processes' flows go on to `chosen`. */
  #owners(): readonly string[] {
    const { set, facts } = this.#input;
    const { only, except } = set.owners;
    const canaries = set.canaries.filter((canary) => canary.family === this.#family);
    const chosen = `-g ${this.#name('chosen')}`;
    return [
      ...canaries.map((canary) => this.#rule(canaryBox(canary))),
      ...presentOwners(except, facts).map((owner) => `${ownerText(owner)} -j RETURN`),
      ...(only.length === 0 ? [chosen] : presentOwners(only, facts).map((owner) => `${ownerText(owner)} ${chosen}`)),
    ];
  }

  #tree(part: 'own' | 'set', options: { readonly inside?: readonly Prefix[] }): readonly Chain[] {
    const protocols = new Set(this.#points.map((point) => point.network.protocol));
    const boxes = steeredBoxes(this.#input.set, this.#family, { ...options, perDecision: true });
    return treeChains({
      family: this.#family,
      boxes: boxes.filter((box) => protocols.has(box.protocol)),
      rule: (box) => this.#rule(box),
      name: (key) => (key === part ? this.#name(part) : `${this.#prefix}${this.#numbers.of(key)}`),
      root: part,
    });
  }

  #rule(box: Box): string {
    const name = comment(nameOf(box, this.#input.serviceNames));
    return `${boxText(this.#family, box)} ${name} -g ${this.#name('claim')}`;
  }
}

/**
 * @param before numbers of the chains that are in the kernel, so that those that stay keep their names.
 * @param draining nothing new is steered, living flows go on.
 * @throws UnsupportedError for what this mechanism cannot do; UsageError for an impossible owner.
 */
export function contentOf(
  input: PlanInput,
  family: Family,
  { before = new Map(), draining = false }: { before?: ReadonlyMap<string, number>; draining?: boolean } = {},
): FamilyContent {
  const numbers = new ChainNumbers(before);
  const chains = new FamilyChains(input, family, numbers);
  // `filter` first: there nothing happens before `mangle` claims.
  const tables = [chains.filter(), chains.mangle(draining)].filter((table) => table.chains.length > 0);
  return { family, tables, numbers: numbers.used };
}
