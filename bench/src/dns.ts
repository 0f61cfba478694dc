/**
 * Known names, answered by Weir beside dnsmasq and unbound: in one run, on one private host, in interleaved rounds. The rate
 * is what dnsperf gets with 400 queries under way; latency is measured apart, at a rate that all of them can serve, because
 * printing each query slows dnsperf down. Two more rows are Weir while it is asked for names that it does not know as well:
 * with all of its upstreams, and with half of them dead.
 *
 *   node --conditions=source bench/src/dns.ts [--rounds N] [--seconds N] [--json]
 */
import { requires, TestNetwork, WeirProcess, type TestHost } from '@weir/core/testing';
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

const NAMES = 1000;
/** Queries per second of the latency rounds. */
const STEADY = 5000;
/** What Weir has to keep of dnsmasq's rate, and how many times its p99 may be. */
const LEAST_RATE = 0.5;
const MOST_P99 = 2;

interface Candidate {
  readonly name: string;
  readonly port: number;
  /** Is also asked for names that it does not know, while it is measured. */
  readonly busy?: boolean;
}

interface Row {
  readonly name: string;
  readonly rate: number;
  readonly p50: number;
  readonly p99: number;
  readonly failed: number;
}

interface Sample {
  readonly rate: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
  /** Queries without an answer, or with another one than NOERROR. */
  readonly failed: number;
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

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

async function measure(host: TestHost, { port }: Candidate, seconds: number): Promise<Sample> {
  const fast = await dnsperf(host, port, seconds, ['-q', '400']);
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
    rate: numberIn(fast, /Queries per second:\s+([\d.]+)/),
    p50: percentile(times, 0.5),
    p99: percentile(times, 0.99),
    failed: lost + wrong + (sent - good),
  };
}

const names = Array.from({ length: NAMES }, (_, i) => `name${i}.bench.internal`);

async function startOthers(host: TestHost): Promise<readonly Candidate[]> {
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
    { name: 'dnsmasq', port: 5302 },
    { name: 'unbound', port: 5303 },
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
  const asking = host.spawn([
    'dnsperf',
    '-s',
    '127.0.0.1',
    '-p',
    String(port),
    '-d',
    '/run/others',
    '-l',
    '600',
    '-Q',
    '50',
  ]);
  return {
    async end() {
      asking.kill('SIGKILL');
      await asking.exited;
    },
  };
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '3' },
      json: { type: 'boolean' },
    },
  });
  if (requires('namespaces', 'nft', 'dnsmasq')) return 1;
  await using network = await TestNetwork.create();
  const host = await network.host('dns');
  const others = await startOthers(host);
  // Answers, and nobody: 127.0.0.9 drops everything, as a dead server does.
  await host.check([
    'nft',
    'add table ip dead; add chain ip dead c { type filter hook input priority 0; }; add rule ip dead c ip daddr 127.0.0.9 drop',
  ]);
  const alive = 'udp://127.0.0.1:5302';
  await using good = await startWeir(host, 'good', 5301, [alive, alive.replace('5302', '5303')]);
  await using half = await startWeir(host, 'half', 5304, ['udp://127.0.0.9:53', alive]);
  void good;
  void half;
  const candidates: readonly Candidate[] = [
    { name: 'weir', port: 5301 },
    ...others,
    { name: 'weir, asked for others as well', port: 5301, busy: true },
    { name: 'weir, half of its upstreams dead', port: 5304, busy: true },
  ];
  const samples = new Map(candidates.map(({ name }) => [name, [] as Sample[]]));
  for (let round = 0; round < Number(values.rounds); round++) {
    // Another one first each time.
    for (let i = 0; i < candidates.length; i++) {
      const candidate = candidates[(i + round) % candidates.length] as Candidate;
      const asking = candidate.busy === true ? askForOthers(host, candidate.port) : undefined;
      samples.get(candidate.name)?.push(await measure(host, candidate, Number(values.seconds)));
      await asking?.end();
    }
  }
  const rows: readonly Row[] = candidates.map(({ name }) => {
    const all = samples.get(name) ?? [];
    return {
      name,
      rate: Math.round(median(all.map(({ rate }) => rate))),
      p50: median(all.map(({ p50 }) => p50)),
      p99: median(all.map(({ p99 }) => p99)),
      failed: all.reduce((sum, { failed }) => sum + failed, 0),
    };
  });
  const [weir, dnsmasq, , busy, dead] = rows as unknown as readonly [Row, Row, Row, Row, Row];
  const claims = [
    {
      claim: `at least ${LEAST_RATE} × dnsmasq's rate`,
      value: weir.rate / dnsmasq.rate,
      holds: weir.rate >= LEAST_RATE * dnsmasq.rate,
    },
    {
      claim: `p99 within ${MOST_P99} × dnsmasq's`,
      value: weir.p99 / dnsmasq.p99,
      holds: weir.p99 <= MOST_P99 * dnsmasq.p99,
    },
    {
      claim: 'no failed query',
      value: weir.failed + busy.failed + dead.failed,
      holds: weir.failed + busy.failed + dead.failed === 0,
    },
    {
      claim: 'half of the upstreams dead: the same rate within 10 %',
      value: dead.rate / busy.rate,
      holds: dead.rate >= 0.9 * busy.rate,
    },
  ];
  if (values.json === true) console.log(JSON.stringify({ rows, claims }, undefined, 2));
  else {
    console.log(
      `${NAMES} known names, A and AAAA; medians of ${values.rounds} interleaved rounds of ${values.seconds} s`,
    );
    for (const { name, rate, p50, p99, failed } of rows) {
      console.log(
        `${name.padEnd(34)} ${String(rate).padStart(8)}/s   p50 ${p50.toFixed(3)} ms   p99 ${p99.toFixed(3)} ms   failed ${failed}`,
      );
    }
    for (const { claim, value, holds } of claims)
      console.log(`${holds ? 'holds' : 'FAILS'}: ${claim} (${value.toFixed(2)})`);
  }
  return claims.every(({ holds }) => holds) ? 0 : 1;
}

process.exitCode = await main();
