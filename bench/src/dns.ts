/**
 * Known names, answered by Weir beside dnsmasq and unbound: in one run, on one private host, in interleaved rounds. The rate
 * is what dnsperf gets with 150 queries under way, which nobody's socket buffer is too small for; latency is measured apart, at a rate that all of them can serve, because
 * printing each query slows dnsperf down. Two more rows are Weir while it is asked for names that it does not know as well:
 * with all of its upstreams, and with half of them dead.
 */
import { missingFor, WeirProcess, type TestHost, type TestNetwork } from '@weir/core/testing';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import type { Metric } from './load.ts';
import { Readings, type CandidateResult, type MetricResult } from './result.ts';
import { shuffled } from './statistics.ts';

const NAMES = 1000;
const UNDER_WAY = 150;
/** Queries per second of the latency rounds. */
const STEADY = 5000;

interface Server {
  readonly id: string;
  readonly label: string;
  readonly kind: 'weir' | 'peer';
  readonly port: number;
  /** Is also asked for names that it does not know, while it is measured. */
  readonly busy?: boolean;
}

const METRICS: readonly Metric[] = [
  { id: 'dns-rate', label: 'DNS, known names', unit: '/s', better: 'more', digits: 0 },
  { id: 'dns-p50', label: 'DNS, 5,000 queries per second: p50', unit: 'ms', better: 'less', digits: 3 },
  { id: 'dns-p99', label: 'DNS, 5,000 queries per second: p99', unit: 'ms', better: 'less', digits: 3 },
  { id: 'dns-failed', label: 'DNS, queries without a right answer', unit: 'queries', better: 'less', digits: 0 },
];

/** What a run of it adds to the result. */
export interface DnsResult {
  readonly candidates: readonly CandidateResult[];
  readonly metrics: readonly MetricResult[];
  readonly leftOut: readonly string[];
  readonly failures: readonly string[];
}

export interface DnsOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly random: () => number;
  readonly say: (text: string) => void;
}

function percentile(sorted: readonly number[], part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * part) - 1)] ?? Number.NaN;
}

function numberIn(text: string, pattern: RegExp): number {
  const found = pattern.exec(text)?.[1];
  if (found === undefined) throw new Error(`dnsperf did not say ${pattern}:\n${text.slice(-1500)}`);
  return Number(found);
}

async function dnsperf(host: TestHost, port: number, seconds: number, more: readonly string[]): Promise<string> {
  const fixed = ['-s', '127.0.0.1', '-p', String(port), '-d', '/run/queries', '-l', String(seconds), '-c', '4'];
  return host.check(['dnsperf', ...fixed, ...more], { timeoutMs: (seconds + 20) * 1000 });
}

async function measure(host: TestHost, { port }: Server, seconds: number): Promise<Readonly<Record<string, number>>> {
  const fast = await dnsperf(host, port, seconds, ['-q', String(UNDER_WAY)]);
  const steady = await dnsperf(host, port, seconds, ['-q', '100', '-Q', String(STEADY), '-v']);
  const times: number[] = [];
  let wrong = 0;
  for (const line of steady.split('\n')) {
    const [, code, time] = /^> (\S+) .* ([\d.]+)$/.exec(line) ?? [];
    if (code === undefined) continue;
    if (code !== 'NOERROR') wrong++;
    times.push(Number(time) * 1000);
  }
  times.sort((a, b) => a - b);
  const lost = numberIn(fast, /Queries lost:\s+(\d+)/) + numberIn(steady, /Queries lost:\s+(\d+)/);
  const sent = numberIn(fast, /Queries completed:\s+(\d+)/);
  const good = numberIn(fast, /NOERROR (\d+)/);
  return {
    'dns-rate': numberIn(fast, /Queries per second:\s+([\d.]+)/),
    'dns-p50': percentile(times, 0.5),
    'dns-p99': percentile(times, 0.99),
    'dns-failed': lost + wrong + (sent - good),
  };
}

const names = Array.from({ length: NAMES }, (_, i) => `name${i}.bench.internal`);

async function startOthers(host: TestHost): Promise<readonly Server[]> {
  const address = (i: number): readonly [string, string] => [
    `198.18.${i >> 8}.${i & 255}`,
    `2001:db8::${(i + 1).toString(16)}`,
  ];
  writeFileSync(host.path('/run/queries'), names.map((name) => `${name} A\n${name} AAAA\n`).join(''));
  writeFileSync(
    host.path('/run/hosts'),
    names.flatMap((name, i) => address(i).map((one) => `${one} ${name}\n`)).join(''),
  );
  const fixed = ['-k', '-C', '/dev/null', '-R', '-h', '-p', '5302', '--listen-address=127.0.0.1', '--bind-interfaces'];
  host.spawn(['dnsmasq', ...fixed, '-H', '/run/hosts', '--pid-file=', '--user=root', '--local-ttl=60']);
  const data = names.flatMap((name, i) => {
    const [v4, v6] = address(i);
    return [`  local-data: "${name}. 60 IN A ${v4}"`, `  local-data: "${name}. 60 IN AAAA ${v6}"`];
  });
  writeFileSync(
    host.path('/run/unbound.conf'),
    `server:\n  interface: 127.0.0.1@5303\n  do-daemonize: no\n  username: ""\n  chroot: ""\n  directory: "/run"\n  pidfile: ""\n` +
      `  use-syslog: no\n  num-threads: 1\n  local-zone: "bench.internal." static\n${data.join('\n')}\n`,
  );
  host.spawn(['unbound', '-d', '-c', '/run/unbound.conf']);
  for (const port of [5302, 5303]) {
    const wait = 'for i in $(seq 200); do ss -lnu | grep -q "127.0.0.1:$1 " && exit 0; sleep 0.05; done; exit 1';
    await host.check(['sh', '-c', wait, 'sh', String(port)]);
  }
  return [
    { id: 'dnsmasq', label: 'dnsmasq', kind: 'peer', port: 5302 },
    { id: 'unbound', label: 'unbound', kind: 'peer', port: 5303 },
  ];
}

function startWeir(host: TestHost, owner: string, port: number, upstreams: readonly string[]): Promise<WeirProcess> {
  const listen = [`udp://127.0.0.1:${port}`, `tcp://127.0.0.1:${port}`];
  return WeirProcess.start(host, {
    config: {
      owner,
      interceptor: 'nft',
      log: { level: 'warn', format: 'json', flows: 'off' },
      resolver: { listen, reach: 'none', upstreams, test: 'off' },
      services: [{ name: 'bench', addresses: names, ports: [80] }],
    },
  });
}

/** Asks for names that Weir does not know while it is measured, so that dead upstreams matter if they can. */
function askForOthers(host: TestHost, port: number): { end(): Promise<void> } {
  writeFileSync(host.path('/run/others'), Array.from({ length: 500 }, (_, i) => `other${i}.example A\n`).join(''));
  const fixed = ['-s', '127.0.0.1', '-p', String(port), '-d', '/run/others', '-l', '600', '-Q', '50'];
  const asking = host.spawn(['dnsperf', ...fixed]);
  return {
    async end() {
      asking.kill('SIGKILL');
      await asking.exited;
    },
  };
}

const versionOf = (program: string, flag: string): string =>
  /[Vv]ersion (\S+)/.exec(execFileSync(program, [flag], { encoding: 'utf8' }))?.[1] ?? 'unknown';

/** What is missing for it; undefined when nothing is. */
export const dnsMissing = (): string | undefined =>
  ['nft', 'dnsmasq', 'unbound', 'dnsperf'].map((name) => missingFor(name)).find((missing) => missing !== undefined);

/** @throws Error when a server does not start; what a measurement does wrong is part of the result. */
export async function measureDns(net: TestNetwork, options: DnsOptions): Promise<DnsResult> {
  const { rounds, seconds, random, say } = options;
  const host = await net.host('dns');
  const others = await startOthers(host);
  // Answers, and nobody: 127.0.0.9 drops everything, as a dead server does.
  await host.check([
    'nft',
    'add table ip dead; add chain ip dead c { type filter hook input priority 0; }; add rule ip dead c ip daddr 127.0.0.9 drop',
  ]);
  const alive = 'udp://127.0.0.1:5302';
  const good = await startWeir(host, 'good', 5301, [alive, alive.replace('5302', '5303')]);
  const half = await startWeir(host, 'half', 5304, ['udp://127.0.0.9:53', alive]);
  const servers: readonly Server[] = [
    { id: 'weir-dns', label: 'Weir', kind: 'weir', port: 5301 },
    { id: 'weir-dns-busy', label: 'Weir, asked for others too', kind: 'weir', port: 5301, busy: true },
    { id: 'weir-dns-dead', label: 'Weir, half of upstreams dead', kind: 'weir', port: 5304, busy: true },
    ...others,
  ];
  const readings = new Readings();
  const failures: string[] = [];
  for (let round = 1; round <= rounds; round++) {
    say(`DNS, round ${round} of ${rounds}`);
    for (const server of shuffled(servers, random)) {
      const asking = server.busy === true ? askForOthers(host, server.port) : undefined;
      try {
        const values = await measure(host, server, seconds);
        for (const [metric, value] of Object.entries(values)) readings.add(metric, server.id, round, value);
      } catch (error) {
        failures.push(`DNS of ${server.label}: ${error instanceof Error ? error.message : String(error)}`);
      } finally {
        await asking?.end();
      }
    }
  }
  for (const weir of [good, half]) await weir.stop();
  const ids = servers.map(({ id }) => id);
  const versions: Readonly<Record<string, string>> = {
    dnsmasq: versionOf('dnsmasq', '--version'),
    unbound: versionOf('unbound', '-V'),
  };
  return {
    candidates: servers.map(({ id, label, kind }) => ({ id, label, kind, version: versions[id] ?? 'as above' })),
    metrics: METRICS.map((metric) => ({ ...metric, rows: readings.rows(metric.id, ids) })),
    leftOut: [],
    failures,
  };
}
