/**
 * The resolver's metrics as text. Written here and not by the client library: its histograms can only observe, and what is
 * known are finished buckets.
 */
import type { StatusReport } from '../engine/report.ts';

type Resolver = StatusReport['resolver'];
type UpstreamReport = Resolver['upstreamReports'][number];
type Labels = Readonly<Record<string, string>>;

/** Backslash, quote and line break, as the text format has them. */
function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

function sample(name: string, labels: Labels, value: number): string {
  const texts = Object.entries(labels).map(([key, text]) => `${key}="${escaped(text)}"`);
  return `${name}${texts.length === 0 ? '' : `{${texts.join(',')}}`} ${value}\n`;
}

function family(
  name: string,
  type: 'counter' | 'gauge' | 'histogram',
  help: string,
  samples: readonly string[],
): string {
  return samples.length === 0 ? '' : `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${samples.join('')}`;
}

/** An upstream may be listed twice, with another dialer. */
function labelsOf({ server, dialer = '' }: UpstreamReport): Labels {
  return { server, dialer };
}

function latency(name: string, report: UpstreamReport): string {
  const labels = labelsOf(report);
  let below = 0;
  const buckets = report.latency.map(({ upTo, count }) => {
    below += count;
    return sample(`${name}_bucket`, { ...labels, le: upTo === undefined ? '+Inf' : String(upTo) }, below);
  });
  return `${buckets.join('')}${sample(`${name}_sum`, labels, report.totalMs / 1000)}${sample(`${name}_count`, labels, below)}`;
}

export function resolverMetrics({ queries, upstreamReports, pool, cache }: Resolver): string {
  const duration = 'weir_dns_upstream_duration_seconds';
  const each = (of: (report: UpstreamReport) => string): readonly string[] => upstreamReports.map(of);
  return [
    family(
      'weir_dns_queries_total',
      'counter',
      'Queries by type and by what became of them',
      queries.map(({ type, outcome, count }) => sample('weir_dns_queries_total', { type, outcome }, count)),
    ),
    family(
      duration,
      'histogram',
      'How long upstreams took to answer',
      each((report) => latency(duration, report)),
    ),
    family('weir_dns_upstream_failures_total', 'counter', 'Queries that an upstream did not answer', [
      ...each((report) =>
        sample('weir_dns_upstream_failures_total', { ...labelsOf(report), kind: 'timeout' }, report.timeouts),
      ),
      ...each((report) =>
        sample('weir_dns_upstream_failures_total', { ...labelsOf(report), kind: 'error' }, report.errors),
      ),
    ]),
    family(
      'weir_dns_upstream_up',
      'gauge',
      'Whether an upstream answered when it was asked last',
      each((report) => sample('weir_dns_upstream_up', labelsOf(report), report.state === 'good' ? 1 : 0)),
    ),
    family('weir_dns_cache_entries', 'gauge', 'Answers that are kept', [
      sample('weir_dns_cache_entries', {}, cache.entries),
    ]),
    family('weir_dns_cache_bytes', 'gauge', 'Bytes of the answers that are kept', [
      sample('weir_dns_cache_bytes', {}, cache.bytes),
    ]),
    family(
      'weir_dns_pool_taken',
      'gauge',
      'Addresses of a range that names have',
      pool.map(({ range, taken }) => sample('weir_dns_pool_taken', { range }, taken)),
    ),
    family(
      'weir_dns_pool_size',
      'gauge',
      'Addresses of a range that names may have',
      pool.map(({ range, size }) => sample('weir_dns_pool_size', { range }, size)),
    ),
  ].join('');
}
