/** What a configuration says about flows before precedence is resolved, and the order in which it holds. */
import { type CapturePorts, NAMES_SERVICE, RESOLVER_SERVICES, type ServiceId, type Verdict } from '../api/capture.ts';
import type { Family, Prefix, Protocol } from '../api/flow.ts';

/** The part of a service that decides what it captures. `ServiceConfiguration` is one. */
export interface CapturedService {
  /** Lower case, without trailing dot; `web.internal` or `*.apps.internal`. */
  readonly names: readonly string[];
  readonly prefixes: readonly Prefix[];
  readonly ports: ReadonlyArray<{ readonly first: number; readonly last: number }>;
  readonly protocols: readonly Protocol[];
  /** Empty: any source. */
  readonly sources: readonly Prefix[];
}

/** A service and the id it has in this run. */
export interface NumberedService {
  readonly id: ServiceId;
  readonly service: CapturedService;
}

/** Which kind of rule wins on the same prefix, before anything else is compared. Lower wins. */
export const RANK = {
  /** The proof that capture works is exempt from what the user excludes. */
  canary: 0,
  exclusion: 1,
  service: 2,
  /** Loopback, link-local, connected networks: they lose to a service that names the same prefix. */
  builtin: 3,
} as const;

/** One protocol, one stretch of ports, sources of one length, one verdict. */
export interface Rule {
  readonly protocol: Protocol;
  /** Inclusive. */
  readonly first: number;
  readonly last: number;
  /** True when the entry behind it names both protocols; such a rule is less specific. */
  readonly bothProtocols: boolean;
  /** All of one prefix length. Empty: any source. */
  readonly sources: readonly Prefix[];
  readonly verdict: Verdict;
  readonly rank: (typeof RANK)[keyof typeof RANK];
  /** Place in the configuration; decides last. */
  readonly order: number;
}

/**
 * Precedence among rules of the same prefix, or of the same name pattern: kind, narrower ports, one protocol before
 * both, more specific sources, place in the configuration. Negative when `a` wins.
 */
export function compareRules(a: Rule, b: Rule): number {
  return (
    a.rank - b.rank ||
    a.last - a.first - (b.last - b.first) ||
    Number(a.bothProtocols) - Number(b.bothProtocols) ||
    sourceLength(b) - sourceLength(a) ||
    a.order - b.order
  );
}

/** A whole family is no more specific than any source: for a flow of that family it is any source. */
function sourceLength(rule: Rule): number {
  return rule.sources[0]?.length ?? 0;
}

/**
 * The rules of one service for destinations of one family, or of both when the family is not known yet (names).
 * Empty when no source of the service can have that family.
 */
export function serviceRules(numbered: NumberedService, order: number, family?: Family): readonly Rule[] {
  const { id, service } = numbered;
  const verdict: Verdict = { steer: id };
  const bothProtocols = new Set(service.protocols).size > 1;
  const rules: Rule[] = [];
  for (const sources of sourcesByLength(service.sources, family)) {
    for (const protocol of new Set(service.protocols)) {
      for (const { first, last } of service.ports) {
        rules.push({ protocol, first, last, bothProtocols, sources, verdict, rank: RANK.service, order });
      }
    }
  }
  return rules;
}

/** Rules for every port and source of the given protocols. */
export function wholeRules(
  protocols: readonly Protocol[],
  verdict: Verdict,
  rank: Rule['rank'],
  order: number,
): readonly Rule[] {
  const bothProtocols = protocols.length > 1;
  return protocols.map((protocol) => ({
    protocol,
    first: 0,
    last: 65_535,
    bothProtocols,
    sources: [],
    verdict,
    rank,
    order,
  }));
}

/** Rules for an address of a name: what is wanted of the name is steered, and who takes it is decided by the name. */
export function namedRules(ports: readonly CapturePorts[], order: number): readonly Rule[] {
  return ports.flatMap(({ protocol, first, last, choices }) =>
    choices.map(({ sources }) => ({
      protocol,
      first,
      last,
      bothProtocols: false,
      sources,
      verdict: { steer: NAMES_SERVICE },
      rank: RANK.service,
      order,
    })),
  );
}

/** Rules for port 53 of a server of the host, for Weir's own resolver. */
export function resolverRules(protocols: readonly Protocol[], order: number): readonly Rule[] {
  return protocols.map((protocol) => ({
    protocol,
    first: 53,
    last: 53,
    bothProtocols: protocols.length > 1,
    sources: [],
    verdict: { steer: RESOLVER_SERVICES[protocol] },
    rank: RANK.service,
    order,
  }));
}

/** One group per length, the longest first; one empty group when any source will do; no group when none can match. */
function sourcesByLength(sources: readonly Prefix[], family: Family | undefined): ReadonlyArray<readonly Prefix[]> {
  if (sources.length === 0) return [[]];
  const groups = new Map<number, Prefix[]>();
  const whole = new Set<Family>();
  for (const source of sources) {
    if (family !== undefined && source.family !== family) continue;
    if (source.length === 0) whole.add(source.family);
    const group = groups.get(source.length);
    if (group) group.push(source);
    else groups.set(source.length, [source]);
  }
  const ordered = [...groups].toSorted(([a], [b]) => b - a).map(([, group]) => group);
  // 0.0.0.0/0 is any source to an IPv4 destination; where both families may come, it takes ::/0 as well.
  if (whole.size < (family === undefined ? 2 : 1)) return ordered;
  return [...ordered.filter((group) => group[0]?.length !== 0), []];
}
