/** From services, exclusions and assigned ranges to the capture set: all precedence is resolved here, once. */
import {
  CANARY_SERVICE,
  type Canary,
  type CaptureOwners,
  type CapturePorts,
  type CaptureRow,
  type CaptureScopes,
  type CaptureSet,
  NAMES_SERVICE,
} from '../api/capture.ts';
import type { Prefix, Protocol } from '../api/flow.ts';
import { addressToNumber, comparePrefixes, familyOf, parsePrefix, prefixBounds, widthOf } from './address.ts';
import { ChoiceTable } from './choices.ts';
import { keepRows } from './kept-rows.ts';
import {
  type CapturedService,
  type NumberedService,
  namedRules,
  RANK,
  resolverRules,
  type Rule,
  serviceRules,
  wholeRules,
} from './rules.ts';
import { overlay, stretchesOf, type Stretches } from './stretches.ts';

/** Built-in exclusions that hold on every host. Connected networks and own addresses are the engine's to add. */
export const STATIC_EXCLUSIONS: readonly Prefix[] = [
  '127.0.0.0/8',
  '169.254.0.0/16',
  '224.0.0.0/4',
  '255.255.255.255/32',
  '::1/128',
  'fe80::/10',
  'ff00::/8',
].map((text) => parsePrefix(text));

export interface CaptureInput {
  readonly generation: number;
  /** In the order of the configuration, which decides between rules that are equal otherwise. */
  readonly services: readonly NumberedService[];
  /** The user's exclusions: they win over every service on the same prefix, and lose to a longer prefix. */
  readonly exclude: readonly Prefix[];
  /** Exclusions that lose to a service on the same prefix: {@link STATIC_EXCLUSIONS}, own addresses, networks. */
  readonly builtins: readonly Prefix[];
  /** From which the resolver gives addresses to names; captured on every port, for `NAMES_SERVICE`. */
  readonly ranges: readonly Prefix[];
  /** The protocols that services with names use, see {@link protocolsOfNames}; nothing of `ranges` is captured without. */
  readonly rangeProtocols: readonly Protocol[];
  /** Each wins over everything else on its address, protocol and port. */
  readonly canaries: readonly Canary[];
  /** Servers of the host whose port 53 goes to Weir's resolver. Services that name the same win. */
  readonly resolvers?: readonly CapturedResolver[];
  /** Real addresses of names, with what services want of these names. */
  readonly named?: readonly NamedAddress[];
  readonly scopes: CaptureScopes;
  readonly owners: CaptureOwners;
  /** The set that this one follows: rows that say the same are the same objects. */
  readonly previous?: Pick<CaptureSet, 'rows'>;
}

/** A server whose port 53 is captured. */
export interface CapturedResolver {
  readonly address: string;
  readonly protocols: readonly Protocol[];
}

/** A real address of a name. */
export interface NamedAddress {
  readonly address: string;
  /** The row of the name. */
  readonly ports: readonly CapturePorts[];
}

/** The protocols for which the assigned ranges have to be captured. */
export function protocolsOfNames(services: readonly CapturedService[]): readonly Protocol[] {
  const named = services.filter((service) => service.names.length > 0);
  return (['tcp', 'udp'] as const).filter((protocol) => named.some((service) => service.protocols.includes(protocol)));
}

/**
 * The rows that mean what the input means. Among what matches a flow (destination, protocol, port and source) the
 * longest prefix decides; then, on one prefix, {@link RANK} and the rest of `compareRules`. Names make no rows: their
 * addresses are in `ranges`. Rows that only repeat what a shorter prefix gives are left out.
 */
export function compileCaptureSet(input: CaptureInput): CaptureSet {
  const choices = new ChoiceTable(input.previous && tables.get(input.previous.rows));
  const { groups, placed } = collect(input);
  placed.sort((a, b) => comparePrefixes(a.prefix, b.prefix));

  const ownByGroups = new Map<string, Stretches>();
  const overlays = new Map<Stretches, Map<Stretches, Stretches>>();
  const rows: CaptureRow[] = [];
  const enclosing: Array<{ readonly family: number; readonly last: bigint; readonly ports: Stretches }> = [];

  for (let at = 0; at < placed.length;) {
    const { prefix } = placed[at] as Placed;
    let key = '';
    const rules: Rule[] = [];
    for (; at < placed.length; at++) {
      const next = placed[at] as Placed;
      if (comparePrefixes(prefix, next.prefix) !== 0) break;
      key += `${next.group},`;
      rules.push(...(groups[next.group] as readonly Rule[]));
    }
    let own = ownByGroups.get(key);
    if (!own) ownByGroups.set(key, (own = stretchesOf(rules, choices)));

    const [first, last] = prefixBounds(prefix);
    let around = enclosing.at(-1);
    while (around && (around.family !== prefix.family || around.last < first)) {
      enclosing.pop();
      around = enclosing.at(-1);
    }
    const inherited = around?.ports ?? NOTHING;
    let byInherited = overlays.get(own);
    if (!byInherited) overlays.set(own, (byInherited = new Map()));
    let ports = byInherited.get(inherited);
    if (!ports) byInherited.set(inherited, (ports = overlay(own, inherited, choices)));
    if (ports === inherited) continue;
    rows.push({ prefix, ports });
    enclosing.push({ family: prefix.family, last, ports });
  }
  const { generation, scopes, owners, canaries } = input;
  const kept = input.previous === undefined ? rows : keepRows(rows, input.previous.rows);
  choices.close();
  tables.set(kept, choices);
  return { generation, rows: kept, scopes, owners, canaries };
}

/** What a set was compiled with, for the one that follows it. */
const tables = new WeakMap<readonly CaptureRow[], ChoiceTable>();

/** The prefix of one address. */
function only(address: string): Prefix {
  const family = familyOf(address);
  return { family, address: addressToNumber(address), length: widthOf(family) };
}

const NOTHING: Stretches = [];

/** Rules that always go together, on one of the prefixes they hold for. */
interface Placed {
  readonly prefix: Prefix;
  /** Index into the groups. */
  readonly group: number;
}

function collect(input: CaptureInput): { readonly groups: ReadonlyArray<readonly Rule[]>; readonly placed: Placed[] } {
  const groups: Array<readonly Rule[]> = [];
  const placed: Placed[] = [];
  const place = (rules: readonly Rule[], prefixes: Iterable<Prefix>) => {
    if (rules.length === 0) return;
    const group = groups.push(rules) - 1;
    for (const prefix of prefixes) placed.push({ prefix, group });
  };
  let order = 0;
  for (const canary of input.canaries) {
    const { family, protocol, port } = canary;
    const prefix = { family, address: addressToNumber(canary.address), length: widthOf(family) };
    const verdict = { steer: CANARY_SERVICE };
    const rank = RANK.canary;
    place(
      [{ protocol, first: port, last: port, bothProtocols: false, sources: [], verdict, rank, order: order++ }],
      [prefix],
    );
  }
  place(wholeRules(['tcp', 'udp'], 'spare', RANK.exclusion, order++), input.exclude);
  place(wholeRules(input.rangeProtocols, { steer: NAMES_SERVICE }, RANK.service, order++), input.ranges);
  for (const numbered of input.services) {
    for (const family of [4, 6] as const) {
      const prefixes = numbered.service.prefixes.filter((prefix) => prefix.family === family);
      if (prefixes.length > 0) place(serviceRules(numbered, order, family), prefixes);
    }
    order++;
  }
  for (const { address, protocols } of input.resolvers ?? []) place(resolverRules(protocols, order), [only(address)]);
  order++;
  for (const { address, ports } of input.named ?? []) place(namedRules(ports, order), [only(address)]);
  order++;
  place(wholeRules(['tcp', 'udp'], 'spare', RANK.builtin, order), input.builtins);
  return { groups, placed };
}
