/**
 * Runs the compliance cases against interceptors and prints a table: `npm run compliance [-- nft …] [--only TEXT]`. Without
 * names: every built one.
 * Ends with exit code 1 when a case fails, 2 when there is no such interceptor, 7 when private hosts cannot be made here.
 */
import { parseArgs } from 'node:util';
import { UsageError, WeirError, type InterceptorDefinition, type Plugin } from '@weir/core';
import {
  casesByCapability,
  EXPLICIT_TCP_CASES,
  HOOK_CASES,
  OWN_SOURCE_CASES,
  reexecInUserNamespace,
  TCP_FORWARD_CASES,
  TCP_OUTPUT_CASES,
  TestNetwork,
  UDP_FORWARD_CASES,
  UDP_OUTPUT_CASES,
  type ComplianceCase,
  type ComplianceEnvironment,
} from '@weir/core/testing';

const PACKAGES = ['nft', 'tproxy-iptables', 'ebpf-sklookup', 'tun', 'proxy'];

interface Case {
  readonly name: string;
  readonly timeoutMs: number;
  readonly run: () => Promise<void>;
}

async function definitions(): Promise<ReadonlyArray<InterceptorDefinition<never>>> {
  const plugins = await Promise.all(
    PACKAGES.map(async (id) => ((await import(`@weir/${id}`)) as { readonly default: Plugin }).default),
  );
  return plugins.flatMap(({ interceptors = [] }) => interceptors).filter(({ built }) => built !== false);
}

/** What an interceptor says that it can do, it must do. */
function allFlowCases({ capabilities }: InterceptorDefinition<never>): readonly ComplianceCase[] {
  const { transparent, networks, scopes } = capabilities;
  if (!transparent) return EXPLICIT_TCP_CASES;
  const has = (protocol: 'tcp' | 'udp', scope: 'output' | 'forward') =>
    scopes.includes(scope) && networks.some((network) => network.protocol === protocol);
  return [
    ...(has('tcp', 'output') ? [...TCP_OUTPUT_CASES, ...OWN_SOURCE_CASES] : []),
    ...(has('udp', 'output') ? UDP_OUTPUT_CASES : []),
    ...(has('tcp', 'forward') ? TCP_FORWARD_CASES : []),
    ...(has('udp', 'forward') ? UDP_FORWARD_CASES : []),
  ];
}

/** Whose captured packets pass through a device: the host must pass packets on. */
const NEED_FORWARDING: ReadonlySet<string> = new Set(['tun']);

function environmentOf({ id, capabilities }: InterceptorDefinition<never>): ComplianceEnvironment {
  return { interceptor: id, explicit: !capabilities.transparent, needsForwarding: NEED_FORWARDING.has(id) };
}

function flowCases(definition: InterceptorDefinition<never>): ReturnType<typeof casesByCapability> {
  return casesByCapability(allFlowCases(definition), definition.capabilities, environmentOf(definition));
}

/** Hooks come last: they leave this process in other namespaces. */
function casesFor(definition: InterceptorDefinition<never>): readonly Case[] {
  const { transparent } = definition.capabilities;
  const environment = environmentOf(definition);
  const flows = flowCases(definition).held;
  const hooks = transparent ? HOOK_CASES : [];
  return [
    ...flows.map(({ name, timeoutMs, run }) => ({ name, timeoutMs, run: () => run(environment) })),
    ...hooks.map(({ name, timeoutMs, run }) => ({ name: `hooks: ${name}`, timeoutMs, run: () => run({ definition }) })),
  ];
}

async function outcomeOf(each: Case): Promise<Error | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Error>((resolve) => {
    timer = setTimeout(() => resolve(new Error(`not done after ${each.timeoutMs} ms`)), each.timeoutMs);
  });
  const outcome = each.run().then(
    () => undefined,
    (error: unknown) => (error instanceof Error ? error : new Error(String(error))),
  );
  const result = await Promise.race([outcome, late]);
  clearTimeout(timer);
  return result;
}

async function table(interceptors: ReadonlyArray<InterceptorDefinition<never>>, only: string): Promise<number> {
  const failures: string[] = [];
  let total = 0;
  for (const definition of interceptors) {
    process.stdout.write(`${definition.id}\n`);
    for (const each of casesFor(definition).filter(({ name }) => name.includes(only))) {
      const started = performance.now();
      const error = await outcomeOf(each);
      const seconds = ((performance.now() - started) / 1000).toFixed(1).padStart(6);
      process.stdout.write(`  ${error ? 'FAILED' : 'passed'} ${seconds} s  ${each.name}\n`);
      total++;
      if (error) failures.push(`${definition.id}: ${each.name}\n${error.message}`);
    }
  }
  for (const definition of interceptors) {
    for (const { name, reason } of flowCases(definition).leftOut.filter((each) => each.name.includes(only))) {
      process.stdout.write(`\n${definition.id}: left out: ${name}: ${reason}\n`);
    }
  }
  for (const failure of failures) process.stdout.write(`\n${failure}\n`);
  process.stdout.write(`\n${total - failures.length} passed, ${failures.length} failed, 0 skipped\n`);
  return failures.length === 0 ? 0 : 1;
}

function chosen(
  known: ReadonlyArray<InterceptorDefinition<never>>,
  names: readonly string[],
): ReadonlyArray<InterceptorDefinition<never>> {
  if (names.length === 0) return known;
  return names.map((name) => {
    const found = known.find(({ id }) => id === name);
    if (found) return found;
    throw new UsageError({
      problem: `There is no built interceptor "${name}".`,
      remedy: `Choose from ${known.map(({ id }) => id).join(', ')}.`,
    });
  });
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    options: { only: { type: 'string', default: '' } },
    allowPositionals: true,
  });
  const interceptors = chosen(await definitions(), positionals);
  const nested = await reexecInUserNamespace();
  if (nested !== undefined) return nested;
  await (await TestNetwork.create())[Symbol.asyncDispose]();
  return table(interceptors, values.only);
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof WeirError)) throw error;
  process.stderr.write(`${error.problem}\n${error.remedy}\n`);
  process.exitCode = { WEIR_UNSUPPORTED: 7, WEIR_USAGE: 2 }[error.code] ?? 1;
}
