/**
 * Runs the compliance cases against interceptors and prints a table: `npm run compliance [-- nft …] [--only TEXT]`. Without
 * names: every built one.
 * Ends with exit code 1 when a case fails, 2 when there is no such interceptor or option, 7 when private hosts cannot be
 * made here.
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

const HELP = `npm run compliance [-- INTERCEPTOR …] [--only TEXT]

Runs the compliance cases against interceptors, in private hosts, and prints a table. Without names: every built one.

  --only TEXT  only the cases whose name contains TEXT
  -h, --help   this text

Ends with exit code 1 when a case fails, 2 when there is no such interceptor or option, 7 when private hosts cannot be made here.
`;

/** Rows of the table: what flows are, and where they are made. IPv4 and IPv6 are within the cases. */
const GROUPS = ['TCP, made here', 'UDP, made here', 'TCP, passed on', 'UDP, passed on', 'hooks'] as const;

type Group = (typeof GROUPS)[number];

interface Case {
  readonly group: Group;
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
function allFlowCases({
  capabilities,
}: InterceptorDefinition<never>): ReadonlyArray<readonly [group: Group, cases: readonly ComplianceCase[]]> {
  const { transparent, networks, scopes } = capabilities;
  if (!transparent) return [['TCP, made here', EXPLICIT_TCP_CASES]];
  const has = (protocol: 'tcp' | 'udp', scope: 'output' | 'forward') =>
    scopes.includes(scope) && networks.some((network) => network.protocol === protocol);
  return [
    ['TCP, made here', has('tcp', 'output') ? [...TCP_OUTPUT_CASES, ...OWN_SOURCE_CASES] : []],
    ['UDP, made here', has('udp', 'output') ? UDP_OUTPUT_CASES : []],
    ['TCP, passed on', has('tcp', 'forward') ? TCP_FORWARD_CASES : []],
    ['UDP, passed on', has('udp', 'forward') ? UDP_FORWARD_CASES : []],
  ];
}

/** Whose captured packets pass through a device: the host must pass packets on. */
const NEED_FORWARDING: ReadonlySet<string> = new Set(['tun']);

function environmentOf({ id, capabilities }: InterceptorDefinition<never>): ComplianceEnvironment {
  return { interceptor: id, explicit: !capabilities.transparent, needsForwarding: NEED_FORWARDING.has(id) };
}

function flowCases(definition: InterceptorDefinition<never>) {
  const environment = environmentOf(definition);
  return allFlowCases(definition).map(([group, cases]) => ({
    group,
    ...casesByCapability(cases, definition.capabilities, environment),
  }));
}

/** Hooks come last: they leave this process in other namespaces. */
function casesFor(definition: InterceptorDefinition<never>): readonly Case[] {
  const environment = environmentOf(definition);
  const hooks = definition.capabilities.transparent ? HOOK_CASES : [];
  return [
    ...flowCases(definition).flatMap(({ group, held }) =>
      held.map(({ name, timeoutMs, run }) => ({ group, name, timeoutMs, run: () => run(environment) })),
    ),
    ...hooks.map(({ name, timeoutMs, run }) => ({
      group: 'hooks' as const,
      name: `hooks: ${name}`,
      timeoutMs,
      run: () => run({ definition }),
    })),
  ];
}

/** Markdown, as docs/architecture.md has it: how many cases passed, and of how many where that is not all. */
function summary(counts: ReadonlyMap<string, ReadonlyMap<Group, { passed: number; failed: number }>>): string {
  const cell = (id: string, group: Group): string => {
    const { passed = 0, failed = 0 } = counts.get(id)?.get(group) ?? {};
    if (passed + failed === 0) return '–';
    return failed === 0 ? String(passed) : `**${passed} of ${passed + failed}**`;
  };
  const ids = [...counts.keys()];
  const rows = GROUPS.map((group) => [group, ...ids.map((id) => cell(id, group))]);
  const lines = [['cases', ...ids], ['---', ...ids.map(() => '---')], ...rows];
  return lines.map((cells) => `| ${cells.join(' | ')} |\n`).join('');
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
  const counts = new Map<string, Map<Group, { passed: number; failed: number }>>();
  let total = 0;
  for (const definition of interceptors) {
    process.stdout.write(`${definition.id}\n`);
    const ofGroups = new Map<Group, { passed: number; failed: number }>();
    counts.set(definition.id, ofGroups);
    for (const each of casesFor(definition).filter(({ name }) => name.includes(only))) {
      const started = performance.now();
      const error = await outcomeOf(each);
      const seconds = ((performance.now() - started) / 1000).toFixed(1).padStart(6);
      process.stdout.write(`  ${error ? 'FAILED' : 'passed'} ${seconds} s  ${each.name}\n`);
      total++;
      const count = ofGroups.get(each.group) ?? { passed: 0, failed: 0 };
      count[error ? 'failed' : 'passed']++;
      ofGroups.set(each.group, count);
      if (error) failures.push(`${definition.id}: ${each.name}\n${error.message}`);
    }
  }
  for (const definition of interceptors) {
    const leftOut = flowCases(definition).flatMap((each) => each.leftOut);
    for (const { name, reason } of leftOut.filter((each) => each.name.includes(only))) {
      process.stdout.write(`\n${definition.id}: left out: ${name}: ${reason}\n`);
    }
  }
  for (const failure of failures) process.stdout.write(`\n${failure}\n`);
  process.stdout.write(`\n${summary(counts)}`);
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

function readArguments(): { readonly help: boolean; readonly only: string; readonly names: readonly string[] } {
  try {
    const { values, positionals } = parseArgs({
      options: { only: { type: 'string', default: '' }, help: { type: 'boolean', short: 'h', default: false } },
      allowPositionals: true,
    });
    return { ...values, names: positionals };
  } catch (error) {
    throw new UsageError({
      problem: (error as Error).message,
      remedy: 'npm run compliance -- --help lists the options.',
    });
  }
}

async function main(): Promise<number> {
  const { help, only, names } = readArguments();
  if (help) {
    process.stdout.write(HELP);
    return 0;
  }
  const interceptors = chosen(await definitions(), names);
  const nested = await reexecInUserNamespace();
  if (nested !== undefined) return nested;
  await (await TestNetwork.create())[Symbol.asyncDispose]();
  return table(interceptors, only);
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof WeirError)) throw error;
  process.stderr.write(`${error.problem}\n${error.remedy}\n`);
  process.exitCode = { WEIR_UNSUPPORTED: 7, WEIR_USAGE: 2 }[error.code] ?? 1;
}
