/** Whether this machine can run the tproxy-iptables interceptor. Asks with `--test`: everything is looked up, nothing is kept. */
import { type Family, hostFacts, type MissingRequirement, type ProbeResult, WeirError } from '@weir/core';
import { hasCapability } from '@weir/core/sys';
import { commandName, INSTALL, type Programs, type Variant } from './programs.ts';
import { refusedLine } from './failure.ts';
import { type Choice, chooseVariant } from './variant.ts';

const REJECT: Readonly<Record<Family, { readonly type: string; readonly module: string }>> = {
  4: { type: 'tcp-reset', module: 'ipt_REJECT' },
  6: { type: 'tcp-reset', module: 'ip6t_REJECT' },
};

/** One rule of each kind that we make, with the kernel module behind it. */
function samples(family: Family): ReadonlyArray<readonly [table: 'filter' | 'mangle', rule: string, module: string]> {
  const loopback = family === 4 ? '127.0.0.1' : '::1';
  const [from, to] = family === 4 ? ['192.0.2.1', '192.0.2.6'] : ['2001:db8::1', '2001:db8::6'];
  return [
    ['mangle', '-p tcp -m tcp --dport 1 -j RETURN', 'x_tables'],
    ['mangle', '-p udp -m udp --dport 1 -j RETURN', 'xt_tcpudp'],
    ['mangle', '-m comment --comment weir -j RETURN', 'xt_comment'],
    ['mangle', '-m mark --mark 0x1/0x1 -j RETURN', 'xt_mark'],
    ['mangle', '-m conntrack --ctstate NEW -j RETURN', 'xt_conntrack'],
    ['mangle', '-m connmark --mark 0x1/0x1 -j RETURN', 'xt_connmark'],
    ['mangle', '-m addrtype --dst-type LOCAL -j RETURN', 'xt_addrtype'],
    ['mangle', `-m iprange --dst-range ${from}-${to} -j RETURN`, 'xt_iprange'],
    ['mangle', '-j CONNMARK --set-xmark 0x1/0x1', 'xt_connmark'],
    ['mangle', '-j MARK --set-xmark 0x1/0x1', 'xt_mark'],
    ['mangle', `-p tcp -j TPROXY --on-port 1 --on-ip ${loopback} --tproxy-mark 0x1/0x1`, 'xt_TPROXY'],
    ['mangle', `-p udp -j TPROXY --on-port 1 --on-ip ${loopback} --tproxy-mark 0x1/0x1`, 'xt_TPROXY'],
    ['filter', `-p tcp -j REJECT --reject-with ${REJECT[family].type}`, REJECT[family].module],
  ];
}

type Sample = ReturnType<typeof samples>[number];

function textOf(rules: readonly Sample[]): string {
  return (['filter', 'mangle'] as const)
    .map((table) => {
      const lines = rules.filter((rule) => rule[0] === table).map((rule) => `-A weir/probe ${rule[1]}\n`);
      return lines.length === 0 ? '' : `*${table}\n:weir/probe - [0:0]\n${lines.join('')}COMMIT\n`;
    })
    .join('');
}

/** What the program refuses, one kind of rule at a time. */
async function missingModules(programs: Programs, family: Family): Promise<readonly MissingRequirement[]> {
  const modules = new Set<string>();
  for (const sample of samples(family)) {
    // eslint-disable-next-line no-await-in-loop -- a dozen programs at once are no help to a machine in need
    const { ok } = await programs.restore(family, textOf([sample]), { test: true });
    if (!ok) modules.add(sample[2]);
  }
  return [...modules].map((name) => ({
    kind: 'module',
    name,
    remedy: `Load it (modprobe ${name}), or use a kernel that has it.`,
  }));
}

async function tryFamily(programs: Programs, family: Family): Promise<ProbeResult | undefined> {
  const text = textOf(samples(family));
  const outcome = await programs.restore(family, text, { test: true });
  if (outcome.ok) return undefined;
  if (/incompatible, use 'nft' tool/.test(outcome.error)) {
    return {
      verdict: 'unsupported',
      missing: [
        {
          kind: 'config',
          name: `tables that ${commandName(family)} understands`,
          remedy: 'Move the rules that somebody made with nft in the tables of iptables to a table of their own.',
        },
      ],
    };
  }
  const missing = await missingModules(programs, family);
  if (missing.length > 0) return { verdict: 'unsupported', missing };
  const line = refusedLine(text, outcome.error) ?? 'a sample of its rules';
  return { verdict: 'inconclusive', cause: `${commandName(family)} refuses ${line}: ${outcome.error.split('\n')[0]}` };
}

/** @returns what is missing, with the way to get it. Changes nothing, but for the empty tables that legacy iptables makes. */
export async function probe(variant: 'auto' | Variant): Promise<ProbeResult> {
  if (!hasCapability('CAP_NET_ADMIN')) {
    return unsupported(
      'capability',
      'CAP_NET_ADMIN',
      'Run Weir as root, or give it CAP_NET_ADMIN (setcap, systemd AmbientCapabilities).',
    );
  }
  try {
    const choice = await chooseVariant(variant);
    if (!choice) return unsupported('binary', variant === 'auto' ? 'iptables' : `iptables (${variant})`, INSTALL);
    return await tryPrograms(choice);
  } catch (error) {
    if (error instanceof WeirError) return { verdict: 'inconclusive', cause: error.problem };
    throw error;
  }
}

async function tryPrograms({ programs, because }: Choice): Promise<ProbeResult> {
  for (const family of hostFacts().ipv6 ? ([4, 6] as const) : ([4] as const)) {
    if (!programs.has(family)) return unsupported('binary', `${commandName(family)} (${programs.variant})`, INSTALL);
    // eslint-disable-next-line no-await-in-loop -- the first refusal is enough
    const refused = await tryFamily(programs, family);
    if (refused) return refused;
  }
  return { verdict: 'supported', facts: { iptables: `${programs.variant} variant, since ${because}` } };
}

function unsupported(kind: MissingRequirement['kind'], name: string, remedy: string): ProbeResult {
  return { verdict: 'unsupported', missing: [{ kind, name, remedy }] };
}
