/** What Weir is held to (issue 6), and whether a result reaches it. A target that is not reached stays one. */
import type { BenchmarkResult } from './result.ts';

interface Check {
  readonly metric: string;
  /** Id of the candidate. */
  readonly of: string;
  /** Id of what it is compared with; absent: the value itself counts. */
  readonly against?: string;
  readonly relation: '≥' | '≤';
  readonly bound: number;
}

interface Target {
  readonly id: string;
  readonly label: string;
  readonly checks: readonly Check[];
}

export interface CheckOutcome extends Check {
  /** Undefined where it was not measured. */
  readonly value?: number;
  readonly outcome: 'reached' | 'not reached' | 'not measured';
}

export interface TargetOutcome {
  readonly id: string;
  readonly label: string;
  readonly checks: readonly CheckOutcome[];
}

const BULK = ['bulk-down-1', 'bulk-down-8', 'bulk-up-1', 'bulk-up-8'];
const CONNECTIONS = ['connections-1', 'connections-32', 'connections-128'];
const REQUESTS = ['requests-64', 'requests-16384'];

const each = (
  metrics: readonly string[],
  of: string,
  relation: '≥' | '≤',
  bound: number,
  against?: string,
): readonly Check[] =>
  metrics.map((metric) => ({ metric, of, relation, bound, ...(against === undefined ? {} : { against }) }));

const suffixed = (metrics: readonly string[], suffix: string) => metrics.map((metric) => `${metric}-${suffix}`);

function againstProxy(peer: string): readonly Check[] {
  const slower = peer === 'v2ray' ? ['requests-64'] : [];
  const rows = [...BULK, ...CONNECTIONS, ...REQUESTS].filter((metric) => !slower.includes(metric));
  return [...each(rows, 'nft', '≥', 1.3, peer), ...each(slower, 'nft', '≥', 1.1, peer)];
}

export const TARGETS: readonly Target[] = [
  {
    id: 'bulk',
    label: 'bulk as fast as HAProxy, for no more CPU',
    checks: [...each(BULK, 'nft', '≥', 1, 'haproxy'), ...each(suffixed(BULK, 'cpu'), 'nft', '≤', 1, 'haproxy')],
  },
  {
    id: 'connections',
    label: 'new connections faster than HAProxy',
    checks: [
      ...each(CONNECTIONS, 'nft', '≥', 1.3, 'haproxy'),
      ...each(suffixed(CONNECTIONS, 'p99'), 'nft', '≤', 1, 'haproxy'),
    ],
  },
  {
    id: 'requests',
    label: 'requests on living connections as fast as HAProxy',
    checks: [...each(REQUESTS, 'nft', '≥', 1, 'haproxy'), ...each(suffixed(REQUESTS, 'p99'), 'nft', '≤', 1, 'haproxy')],
  },
  { id: 'redsocks', label: 'faster than redsocks', checks: againstProxy('redsocks') },
  { id: 'v2ray', label: 'faster than v2ray', checks: againstProxy('v2ray') },
  {
    id: 'sklookup',
    label: 'ebpf-sklookup as fast as nft with new connections',
    checks: each(CONNECTIONS, 'ebpf-sklookup', '≥', 1, 'nft'),
  },
  {
    id: 'tun',
    label: 'tun near nft with bulk, MTU 1500 and 65535',
    checks: [...each(BULK, 'tun', '≥', 0.8, 'nft'), ...each(BULK, 'tun+mtu1500', '≥', 0.8, 'nft')],
  },
  {
    id: 'socks5',
    label: 'socks5 near direct',
    checks: [...each(BULK, 'nft+socks5', '≥', 0.95, 'nft'), ...each(CONNECTIONS, 'nft+socks5', '≥', 0.7, 'nft')],
  },
  { id: 'memory', label: 'little memory per idle flow (KiB)', checks: each(['idle-10000'], 'nft', '≤', 4) },
  { id: 'udp', label: 'UDP as fast as v2ray', checks: each(['udp-100k'], 'nft', '≥', 1, 'v2ray') },
  { id: 'start', label: 'soon there (ms)', checks: each(['start'], 'nft', '≤', 400) },
  {
    id: 'prefixes',
    label: 'large capture sets at once (ms)',
    checks: ['nft', 'tun', 'ebpf-sklookup'].flatMap((id) => [
      ...each(['prefixes-install'], id, '≤', 1000),
      ...each(['prefixes-change'], id, '≤', 40),
    ]),
  },
  {
    id: 'dns',
    label: 'DNS of known names near dnsmasq, and the same with half of the upstreams dead',
    checks: [
      ...each(['dns-rate'], 'weir-dns', '≥', 0.5, 'dnsmasq'),
      ...each(['dns-p99'], 'weir-dns', '≤', 2, 'dnsmasq'),
      ...each(['dns-rate'], 'weir-dns-dead', '≥', 0.9, 'weir-dns-busy'),
    ],
  },
];

function evaluate(check: Check, result: Pick<BenchmarkResult, 'metrics'>): CheckOutcome {
  const row = result.metrics
    .find(({ id }) => id === check.metric)
    ?.rows.find(({ candidate }) => candidate === check.of);
  const value = check.against === undefined ? row?.median : row?.ratios[check.against];
  if (value === undefined) return { ...check, outcome: 'not measured' };
  const holds = check.relation === '≥' ? value >= check.bound : value <= check.bound;
  return { ...check, value, outcome: holds ? 'reached' : 'not reached' };
}

/** Every target with what the result says about it. */
export function targetOutcomes(result: Pick<BenchmarkResult, 'metrics'>): readonly TargetOutcome[] {
  return TARGETS.map(({ id, label, checks }) => ({
    id,
    label,
    checks: checks.map((check) => evaluate(check, result)),
  }));
}
