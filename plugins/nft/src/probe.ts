/** Whether this machine can run the nft interceptor. Asks in dry runs: the kernel checks everything and keeps nothing. */
import { pid } from 'node:process';
import {
  type MissingRequirement,
  NotPermittedError,
  parsePrefix,
  type PlanInput,
  type ProbeResult,
  UnsupportedError,
  WeirError,
} from '@weir/core';
import { hasCapability, listRules, NETLINK_ROUTE, NetlinkSocket } from '@weir/core/sys';
import { addChain, addRules, createTable, fillTable } from './commands.ts';
import type { NftCommand } from './nftables-json/index.ts';
import { Ruleset } from './ruleset.ts';
import { type TableChain, type TableContent, tableOf } from './table.ts';

/** The whole table for an invented service, so that what is asked is what will be made. */
function sampleTable(): TableContent {
  const any = [{ sources: [], verdict: { steer: 16 } as const }];
  const some = [{ sources: [parsePrefix('192.0.2.0/24')], verdict: { steer: 16 } as const }];
  const input: PlanInput = {
    owner: `probe-${pid}`,
    set: {
      generation: 1,
      rows: [
        {
          prefix: parsePrefix('198.51.100.0/24'),
          ports: [
            { protocol: 'tcp', first: 80, last: 90, choices: any },
            { protocol: 'tcp', first: 443, last: 443, choices: some },
          ],
        },
      ],
      scopes: { output: true },
      owners: { only: [], except: [] },
      canaries: [],
    },
    points: [
      {
        id: 'tcp4',
        network: { family: 4, protocol: 'tcp' },
        bind: { address: '127.0.0.1', port: 0 },
        transparent: true,
        original: { via: 'socket-name' },
        port: 1,
        fds: [],
      },
    ],
    numbers: {
      slot: 0,
      mask: 0x3f000000,
      captureMark: 0x10000000,
      bypassMark: 0x20000000,
      table: 22497,
      preference: 9500,
      preferenceBehindMain: 32800,
      protocolId: 87,
    },
    facts: { netns: '0', ipv6: false, ownAddresses: [], connectedNetworks: [] },
    onCrash: 'closed',
    serviceNames: new Map(),
  };
  return tableOf(input);
}

/** Kernel modules by the word that a rule has to hold to need them. */
const MODULES: ReadonlyArray<readonly [word: string, module: string]> = [
  ['tproxy', 'nft_tproxy'],
  ['fib', 'nft_fib_inet'],
  ['ct', 'nft_ct'],
  ['reject', 'nft_reject_inet'],
];

/** One rule for each module, alone in its chain, to find out which of them the kernel lacks. */
function missingModules(ruleset: Ruleset, content: TableContent): readonly MissingRequirement[] {
  const accepts = (commands: readonly NftCommand[]) => ruleset.check([createTable(content.table), ...commands]).ok;
  const base = content.chains.filter(({ chain }) => chain.hook !== undefined);
  const pick = content.chains.filter(({ chain }) => chain.hook === undefined);
  const missing: MissingRequirement[] = [];
  const module = (name: string) =>
    missing.push({
      kind: 'module',
      name,
      remedy: `Load it (modprobe ${name}), or use a kernel that has it.`,
    });
  if (!accepts([])) module('nf_tables');
  else if (!accepts(base.map(addChain))) module('nft_chain_route (nf_tables)');
  else {
    for (const [word, name] of MODULES) {
      const rules = [...base, ...pick].flatMap((each): readonly TableChain[] => {
        const using = each.rules.filter((rule) => {
          const text = JSON.stringify(rule);
          return text.includes(`"${word}":`) && !/"(?:jump|goto)"|"@/.test(text);
        });
        return using.length === 0 ? [] : [{ ...each, rules: using.slice(0, 1) }];
      });
      if (!accepts(rules.flatMap((each) => [addChain(each), ...addRules(each)]))) module(name);
    }
  }
  return missing;
}

function tryRuleset(ruleset: Ruleset): ProbeResult {
  const content = sampleTable();
  const outcome = ruleset.check([createTable(content.table), ...fillTable(content)]);
  if (!outcome.ok) {
    const missing = missingModules(ruleset, content);
    if (missing.length > 0) return { verdict: 'unsupported', missing };
    return { verdict: 'inconclusive', cause: `nft refuses a sample table: ${outcome.error.split('\n')[0]}` };
  }
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  listRules(socket, 4);
  return {
    verdict: 'supported',
    facts: { nftables: ruleset.kind === 'library' ? 'libnftables in this process' : 'the nft program' },
  };
}

/** @returns what is missing, with the way to get it. Changes nothing. */
export function probe(): ProbeResult {
  if (!hasCapability('CAP_NET_ADMIN')) return unsupported('capability', 'CAP_NET_ADMIN', ADMIN_REMEDY);
  let ruleset: Ruleset;
  try {
    ruleset = new Ruleset();
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    return unsupported('library', 'libnftables.so.1 or nft', error.remedy);
  }
  try {
    return tryRuleset(ruleset);
  } catch (error) {
    if (error instanceof NotPermittedError) return unsupported('capability', 'CAP_NET_ADMIN', ADMIN_REMEDY);
    if (error instanceof WeirError) return { verdict: 'inconclusive', cause: error.problem };
    throw error;
  } finally {
    ruleset.close();
  }
}

const ADMIN_REMEDY = 'Run Weir as root, or give it CAP_NET_ADMIN (setcap, systemd AmbientCapabilities).';

function unsupported(kind: MissingRequirement['kind'], name: string, remedy: string): ProbeResult {
  return { verdict: 'unsupported', missing: [{ kind, name, remedy }] };
}
