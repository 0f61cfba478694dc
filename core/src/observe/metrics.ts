/** A running instance in the Prometheus text format. Nothing is counted here: a scrape copies what the engine counts. */
import type { StatusReport } from '../engine/report.ts';
import { resolverMetrics } from './resolver-metrics.ts';

/** `bytesUp` and `dial-limit` as a part of a metric's name. */
function snake(name: string): string {
  return name
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replaceAll(/[^A-Za-z0-9]+/g, '_')
    .toLowerCase();
}

export interface MetricsText {
  /** For the HTTP header. */
  readonly contentType: string;
  readonly body: string;
}

/** One scrape. Loads the Prometheus client on the first call. */
export async function metricsText(status: StatusReport): Promise<MetricsText> {
  const { Counter, Gauge, Registry } = await import('@prometheus-io/client');
  const registry = new Registry();
  const registers = [registry];
  const gauge = (name: string, help: string, value: number) => {
    new Gauge({ name, help, registers }).set(value);
  };
  const counter = (name: string, help: string, value: number) => {
    new Counter({ name, help, registers }).inc(value);
  };

  new Gauge({
    name: 'weir_info',
    help: 'Version and owner of this instance',
    labelNames: ['version', 'owner'],
    registers,
  })
    .labels({ version: status.version, owner: status.owner })
    .set(1);
  gauge('weir_ready', 'Whether traffic is captured and carried', status.state === 'running' ? 1 : 0);
  gauge('weir_transparent', 'Whether applications need no change', status.selection.transparent ? 1 : 0);
  gauge('weir_start_time_seconds', 'Start of this instance since the epoch', status.startedAt / 1000);
  gauge('weir_configuration_generation', 'Grows with each reload', status.generation);
  counter('weir_drift_repaired_total', 'Differences in the kernel that were mended', status.drift.repaired);

  const selected = new Gauge({
    name: 'weir_interceptor_selected',
    help: 'Which interceptor captures',
    labelNames: ['interceptor'],
    registers,
  });
  for (const entry of status.selection.entries) {
    selected.labels({ interceptor: entry.interceptor }).set(entry.outcome === 'selected' ? 1 : 0);
  }

  const serviceMetric = { labelNames: ['service'] as const, registers };
  const active = new Gauge({ name: 'weir_service_active_flows', help: 'Living flows of a service', ...serviceMetric });
  const total = new Counter({ name: 'weir_service_flows_total', help: 'Flows of a service', ...serviceMetric });
  const bytes = new Counter({
    name: 'weir_service_bytes_total',
    help: 'Payload bytes; up is from the client',
    labelNames: ['service', 'direction'] as const,
    registers,
  });
  for (const service of status.services) {
    active.inc({ service: service.name }, service.activeFlows);
    total.inc({ service: service.name }, service.totalFlows);
    bytes.inc({ service: service.name, direction: 'up' }, service.bytesUp);
    bytes.inc({ service: service.name, direction: 'down' }, service.bytesDown);
  }

  const workerMetric = { labelNames: ['worker'] as const, registers };
  const workerFlows = new Gauge({
    name: 'weir_worker_active_flows',
    help: 'Living flows of a worker',
    ...workerMetric,
  });
  const deaths = new Counter({
    name: 'weir_worker_deaths_total',
    help: 'Times a worker was replaced',
    ...workerMetric,
  });
  for (const worker of status.workers) {
    workerFlows.set({ worker: String(worker.index) }, worker.activeFlows);
    deaths.inc({ worker: String(worker.index) }, worker.deaths);
  }

  gauge('weir_resolver_names', 'Names that have an assigned address', status.resolver.names);
  gauge('weir_resolver_self_test_passed', 'Result of the self-test', status.resolver.selfTest === 'passed' ? 1 : 0);
  const counts = [
    ...Object.entries(status.resolver.counters).map(
      ([key, n]) => [`weir_resolver_${snake(key)}_total`, key, n] as const,
    ),
    ...Object.entries(status.counters).map(([key, n]) => [`weir_${snake(key)}_total`, key, n] as const),
  ];
  for (const [name, key, value] of counts) {
    // Two keys may spell one name; the registry refuses the second, and a scrape must not fail.
    if (registry.getSingleMetric(name) === undefined) counter(name, `Counter "${key}"`, value);
  }
  const body = (await registry.metrics()).trimEnd();
  return { contentType: registry.contentType, body: `${body}\n${resolverMetrics(status.resolver)}` };
}
