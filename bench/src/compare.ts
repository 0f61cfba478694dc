/** The comparison: Weir's backends, no interception, and other programs, under the same load on hosts of their own. */
import type { TestNetwork } from '@weir/core/testing';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { resultFile, type BenchArguments } from './arguments.ts';
import { candidatesFor } from './candidates/catalogue.ts';
import { dnsMissing, measureDns, type DnsResult } from './dns.ts';
import { DNS, loadsFor } from './loads/catalogue.ts';
import { Measurement } from './measurement.ts';
import { withPrivateHosts } from './private-hosts.ts';
import { renderHtml } from './report/html.ts';
import type { BenchmarkResult } from './result.ts';
import { randomFrom } from './statistics.ts';
import { renderTable } from './table.ts';

const NO_DNS: DnsResult = { candidates: [], metrics: [], leftOut: [], failures: [] };

async function dnsPart(net: TestNetwork, args: BenchArguments, say: (text: string) => void): Promise<DnsResult> {
  const wanted = args.only === undefined ? !args.quick : args.only.includes(DNS);
  if (!wanted) return NO_DNS;
  const missing = dnsMissing();
  if (missing !== undefined) return { ...NO_DNS, leftOut: [`dns is not measured: ${missing}`] };
  return measureDns(net, { rounds: args.rounds, seconds: args.seconds, random: randomFrom(args.seed), say });
}

function save(result: BenchmarkResult, file: string): string {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(result, undefined, 2)}\n`);
  const page = `${file.replace(/\.json$/, '')}.html`;
  writeFileSync(page, renderHtml(result));
  return page;
}

/** @returns the exit code: 0, 1 when a measurement failed, 130 when it was interrupted. @throws UsageError. */
export async function compare(args: BenchArguments, say: (text: string) => void): Promise<number> {
  const began = Date.now();
  const candidates = candidatesFor(args.interceptors, args.peers, args.against);
  const loads = loadsFor(args.only, args.quick);
  return withPrivateHosts(say, async (net) => {
    say(`seed ${args.seed}`);
    const dns = await dnsPart(net, args, say);
    const main = await Measurement.run(net, candidates, loads, args, { say, began });
    const result: BenchmarkResult = {
      ...main,
      candidates: [...main.candidates, ...dns.candidates],
      metrics: [...main.metrics, ...dns.metrics],
      leftOut: [...main.leftOut, ...dns.leftOut],
      failures: [...main.failures, ...dns.failures],
    };
    say(`\n${renderTable(result)}`);
    const file = resultFile(args, result.startedAt);
    const page = save(result, file);
    say(`\n${result.seconds} s; the result as JSON: ${file}\nwith charts, for a browser: ${page}`);
    return result.failures.length === 0 ? 0 : 1;
  });
}
