/** An engine that only answers: for the admin socket and for what commands print. */
import type { FlowRecord } from '../../src/api/flow.ts';
import type { AdminTarget, ServedName, ServedQuery, StatusReport } from '../../src/engine/report.ts';

export const FLOW: FlowRecord = {
  id: '0.0.0.7',
  protocol: 'tcp',
  interceptor: 'nft',
  source: { address: '10.1.0.2', port: 51_234 },
  original: { address: '100.64.3.9', port: 443 },
  name: 'web.internal',
  service: 'web',
  dialer: 'direct',
  upstream: { address: '2001:db8::5', port: 8443 },
  relay: 'splice',
  bytesUp: 1500,
  bytesDown: 3 * 1024 * 1024,
  startedAt: Date.UTC(2026, 0, 2, 3, 4, 5),
  durationMs: 1530,
  connectMs: 2,
  outcome: 'closed',
};

export const STATUS: StatusReport = {
  version: '0.1.0',
  pid: 4711,
  owner: 'default',
  state: 'running',
  startedAt: Date.UTC(2026, 0, 2, 3, 4, 5),
  configurationFile: '/etc/weir/weir.yaml',
  generation: 3,
  selection: {
    entries: [
      { interceptor: 'nft', priority: 500, outcome: 'selected', reason: 'libnftables 1.0.6', missing: [] },
      {
        interceptor: 'tun',
        priority: 200,
        outcome: 'unsupported',
        reason: '',
        missing: [{ kind: 'device', name: '/dev/net/tun', remedy: 'modprobe tun' }],
      },
    ],
    selected: 'nft',
    transparent: true,
  },
  services: [
    {
      name: 'web',
      addresses: ['web.internal', '203.0.113.0/24', '10.9.0.0/16', '10.8.0.0/16', '10.7.0.0/16'],
      ports: ['443'],
      protocols: ['tcp'],
      dialers: ['corp', 'direct'],
      retiring: false,
      activeFlows: 2,
      totalFlows: 12,
      bytesUp: 1500,
      bytesDown: 2048,
    },
  ],
  workers: [{ index: 0, state: 'running', activeFlows: 2, deaths: 1 }],
  resolver: {
    listen: ['udp://127.0.0.1:53'],
    reach: 'resolv-conf',
    reachReason: '/etc/resolv.conf is a regular file that can be written',
    upstreams: [{ address: '192.0.2.53', port: 53 }],
    upstreamReports: [
      {
        server: 'udp://192.0.2.53:53',
        suffixes: ['corp.example'],
        state: 'resting',
        answers: 3,
        timeouts: 1,
        errors: 0,
        latency: [{ upTo: 0.001, count: 0 }, { upTo: 2.5, count: 2 }, { count: 1 }],
        totalMs: 3004,
        lastFailure: 'no answer within 1500 ms',
      },
    ],
    names: 4,
    realAddresses: 0,
    pool: [{ range: '100.64.0.0/10', taken: 4, size: 4_194_287 }],
    map: '/run/weir/.names@1/default',
    cache: { entries: 2, bytes: 300 },
    queries: [
      { type: 'A', outcome: 'NOERROR', count: 8 },
      { type: 'other', outcome: 'none', count: 1 },
    ],
    selfTest: 'failed',
    selfTestReason: 'no answer',
    counters: { queries: 9, refused: 0 },
  },
  counters: { dialRefused: 1, overLimit: 0 },
  drift: { repaired: 1, last: [{ object: 'ip rule 9500', expected: 'there', found: 'missing' }] },
};

export const NAME: ServedName = {
  name: 'web.internal',
  ipv4: '100.64.3.9',
  ipv6: 'fd64:7765:6972::9',
  configured: true,
  displaced: false,
  unusedMs: 1200,
  pattern: 'web.internal',
  services: ['web'],
};

export const RETIRED_NAME: ServedName = {
  name: 'x.apps.internal',
  ipv4: '100.99.3.9',
  former: ['100.64.3.8'],
  configured: false,
  displaced: true,
  unusedMs: 3_600_000,
  services: [],
};

export const QUERY: ServedQuery = {
  name: 'web.internal',
  type: 'A',
  outcome: 'NOERROR',
  resolver: 'assigned',
  authoritative: true,
  answers: [{ name: 'web.internal', type: 'A', ttl: 60, data: '100.64.3.9' }],
  authority: [],
  durationMs: 0.4,
  pattern: 'web.internal',
  services: ['web'],
};

export interface TestTarget extends AdminTarget {
  readonly calls: string[];
  /** Tells all followers that this flow has ended. */
  end(flow: FlowRecord): void;
  readonly followers: () => number;
  failure: Error | undefined;
}

export function testTarget(status: StatusReport = STATUS): TestTarget {
  const listeners = new Set<(record: FlowRecord) => void>();
  const target: TestTarget = {
    calls: [],
    failure: undefined,
    status: () => status,
    flows: (limit) => Array.from({ length: Math.min(limit, 3) }, (_, i) => ({ ...FLOW, id: `open-${i}` })),
    recentFlows: (limit) => Array.from({ length: Math.min(limit, 5) }, (_, i) => ({ ...FLOW, id: `ended-${i}` })),
    onFlowEnd(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    names: (limit) => [NAME, RETIRED_NAME].slice(0, limit),
    async query(name, type) {
      if (target.failure !== undefined) throw target.failure;
      return { ...QUERY, name, type };
    },
    async reload() {
      target.calls.push('reload');
      if (target.failure !== undefined) throw target.failure;
      return { added: ['a'], changed: [], removed: ['b', 'c'], generation: 4 };
    },
    async drain() {
      target.calls.push('drain');
      if (target.failure !== undefined) throw target.failure;
      return { remaining: 1 };
    },
    end: (flow) => listeners.forEach((listener) => listener(flow)),
    followers: () => listeners.size,
  };
  return target;
}
