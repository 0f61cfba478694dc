/** Asks the tools of the host for its packet filters. Changes nothing. */
import { spawnSync } from 'node:child_process';
import type { Firewall, FirewallChain } from './firewall.ts';
import { parseIptables } from './firewall-iptables.ts';
import { parseNft } from './firewall-nft.ts';

const TIMEOUT_MS = 20_000;
const OUTPUT_LIMIT = 256 * 1024 * 1024;
/** Administrators' folders, also for users whose PATH has none of them. */
const FOLDERS = '/usr/sbin:/sbin:/usr/local/sbin';

type Output = { readonly text: string } | { readonly missing: true } | { readonly refused: string };

function run(program: string, args: readonly string[]): Output {
  const { status, stdout, stderr, error } = spawnSync(program, [...args], {
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C', PATH: `${process.env['PATH'] ?? ''}:${FOLDERS}` },
    maxBuffer: OUTPUT_LIMIT,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: TIMEOUT_MS,
  });
  if ((error as NodeJS.ErrnoException | undefined)?.code === 'ENOENT') return { missing: true };
  if (status === 0) return { text: stdout };
  return { refused: (error?.message ?? stderr.trim().split('\n')[0]) || `exit ${status}` };
}

/** Both kinds of iptables where they can be told apart; each keeps its rules elsewhere in the kernel. */
const IPTABLES = ['iptables', 'ip6tables'].flatMap((name) => [
  { program: `${name}-nft`, otherwise: name },
  { program: `${name}-legacy`, otherwise: undefined },
]);

export function readFirewall(): Firewall {
  const chains: FirewallChain[] = [];
  const owners: string[] = [];
  const unseen: string[] = [];
  let separately = false;
  for (const { program, otherwise } of IPTABLES) {
    let name = program;
    let output = run(`${program}-save`, []);
    if ('missing' in output && otherwise !== undefined) {
      name = otherwise;
      output = run(`${otherwise}-save`, []);
    }
    if ('missing' in output) continue;
    if ('refused' in output) {
      unseen.push(`${name}-save: ${output.refused}`);
      continue;
    }
    separately ||= !name.endsWith('-legacy');
    const parsed = parseIptables(name, output.text);
    chains.push(...parsed.chains);
    owners.push(...parsed.owners);
  }
  const tables = run('nft', ['list', 'tables']);
  if ('missing' in tables) unseen.push('nft is not installed, so that its rules could not be listed');
  else if ('refused' in tables) unseen.push(`nft list tables: ${tables.refused}`);
  else {
    for (const [, family = '', name = ''] of tables.text.matchAll(/^table (\S+) (\S+)$/gm)) {
      const owner = family === 'inet' ? /^weir_(.+)$/.exec(name)?.[1] : undefined;
      // A table that a process owns is printed as broken JSON by nft 1.0.6; that of a Weir is no news.
      if (owner !== undefined) owners.push(owner);
      else readTable(family, name, !separately, chains, unseen);
    }
  }
  return { chains, owners: [...new Set(owners)].toSorted(), unseen };
}

function readTable(
  family: string,
  name: string,
  withIptables: boolean,
  chains: FirewallChain[],
  unseen: string[],
): void {
  const output = run('nft', ['-j', '-a', 'list', 'table', family, name]);
  if ('missing' in output) return;
  const what = `nft list table ${family} ${name}`;
  if ('refused' in output) unseen.push(`${what}: ${output.refused}`);
  else {
    try {
      chains.push(...parseNft(output.text, withIptables));
    } catch {
      unseen.push(`${what}: nft printed no JSON`);
    }
  }
}
