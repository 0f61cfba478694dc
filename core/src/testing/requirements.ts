/**
 * What this machine can run, by groups. A test that needs more than there is does not run, and says so by name; when the
 * group is in WEIR_REQUIRE (comma-separated), it fails instead, so that a gap cannot go unnoticed where it must not be.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { ALLOW_USER_NAMESPACES } from './holder.ts';

export interface RequirementGroup {
  readonly name: string;
  /** What the group's tests cover. */
  readonly covers: string;
  /** @returns what is missing, with the way to get it; `undefined` when nothing is. Changes nothing on the machine. */
  readonly missing: () => string | undefined;
}

/** Runs a shell line in namespaces of its own. @returns what it said when it failed. */
function inNamespace(line: string): string | undefined {
  const { status, error, stderr } = spawnSync('unshare', ['-nm', 'sh', '-ec', line], {
    encoding: 'utf8',
    timeout: 10_000,
  });
  if (status === 0) return undefined;
  return (error?.message ?? stderr.trim().split('\n').at(-1)) || `exit ${status}`;
}

function because(reason: string | undefined, remedy: string): string | undefined {
  return reason === undefined ? undefined : `${reason}; ${remedy}`;
}

function binary(name: string, debianPackage = name): RequirementGroup {
  return {
    name,
    covers: `comparison with and use of ${name}`,
    missing() {
      const directories = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin'];
      const found = directories.some((directory) => {
        try {
          accessSync(`${directory}/${name}`, constants.X_OK);
          return true;
        } catch {
          return false;
        }
      });
      return found ? undefined : `${name} is not installed; apt-get install ${debianPackage}`;
    },
  };
}

function missingIptables(command: string): string | undefined {
  return because(
    inNamespace(
      `mount -t tmpfs tmpfs /run; ` +
        `${command} -t mangle -A PREROUTING -p tcp -m connmark --mark 1 -j TPROXY --on-port 1 --tproxy-mark 1`,
    ),
    'apt-get install iptables, and a kernel with xt_TPROXY',
  );
}

/** Every group there is, by name. */
export const REQUIREMENTS: readonly RequirementGroup[] = [
  {
    name: 'namespaces',
    covers: 'everything that needs private hosts',
    missing: () => because(inNamespace('ip link set lo up'), 'run as root, or inside unshare -Urnm'),
  },
  {
    name: 'root',
    covers: 'what user namespaces are refused',
    missing() {
      if (process.getuid?.() !== 0) return 'not root; use sudo';
      const map = spawnSync('cat', ['/proc/self/uid_map'], { encoding: 'utf8' }).stdout.trim().split(/\s+/);
      return map[0] === '0' && map[1] === '0' ? undefined : 'root only inside a user namespace; use sudo';
    },
  },
  {
    name: 'userns',
    covers: 'running as an ordinary user',
    missing() {
      const inside = process.getuid?.() === 0 && missingFor('root') !== undefined;
      if (inside) return 'this is a user namespace already, in which nobody can become another user; use sudo';
      const drop =
        process.getuid?.() === 0 ? ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups'] : [];
      // `env` only so that there is a program to start in both cases.
      const { status, error, stderr } = spawnSync('env', [...drop, 'unshare', '-Urnm', 'true'], {
        encoding: 'utf8',
        timeout: 10_000,
      });
      if (status === 0) return undefined;
      return `${error?.message ?? stderr.trim()}; ${ALLOW_USER_NAMESPACES}`;
    },
  },
  {
    name: 'nft',
    covers: 'the nft interceptor against the kernel',
    missing: () =>
      because(
        inNamespace(
          'nft add table inet t; nft add chain inet t c "{ type filter hook prerouting priority mangle; }"; ' +
            'nft add rule inet t c meta l4proto tcp meta nfproto ipv4 ct mark 1 tproxy ip to 127.0.0.1:1',
        ),
        'apt-get install nftables, and a kernel with CONFIG_NFT_TPROXY',
      ),
  },
  ...(['nft', 'legacy'] as const).map((variant) => ({
    name: `iptables-${variant}`,
    covers: `the tproxy-iptables interceptor against the kernel, with the ${variant} variant of iptables`,
    missing: () => missingIptables(`iptables-${variant}`),
  })),
  {
    name: 'tproxy-iptables',
    covers: 'the tproxy-iptables interceptor against the kernel',
    missing: () => missingIptables('iptables'),
  },
  {
    name: 'ipv6',
    covers: 'the IPv6 half of everything',
    missing: () =>
      because(inNamespace('ip link set lo up; ip -6 route add local ::/0 dev lo table 7'), 'enable IPv6 in the kernel'),
  },
  binary('curl'),
  binary('ping', 'iputils-ping'),
  binary('iperf3'),
  binary('haproxy'),
  binary('danted', 'dante-server'),
  binary('dig', 'bind9-dnsutils'),
  binary('dnsmasq', 'dnsmasq-base'),
  binary('strace'),
  binary('wrk'),
];

const answers = new Map<string, string | undefined>();

/**
 * What a group lacks here; asked once per process.
 * @throws Error when there is no such group.
 */
export function missingFor(name: string): string | undefined {
  if (!answers.has(name)) {
    const group = REQUIREMENTS.find((candidate) => candidate.name === name);
    if (group === undefined) {
      throw new Error(`no requirement group "${name}"; there are ${REQUIREMENTS.map((each) => each.name).join(', ')}`);
    }
    answers.set(name, group.missing());
  }
  return answers.get(name);
}

/** The groups named in WEIR_REQUIRE. */
export function requiredGroups(environment: NodeJS.ProcessEnv = process.env): readonly string[] {
  return (environment['WEIR_REQUIRE'] ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
}

/**
 * For the head of a test file: `describe.skipIf(requires('nft', 'root'))('…', …)`.
 * @returns true when the tests cannot run here; the reason has been printed then.
 * @throws Error when they cannot and WEIR_REQUIRE names the group.
 */
export function requires(...names: readonly string[]): boolean {
  const required = requiredGroups();
  let skip = false;
  for (const name of names) {
    const missing = missingFor(name);
    if (missing === undefined) continue;
    if (required.includes(name)) throw new Error(`WEIR_REQUIRE names ${name}, but: ${missing}`);
    process.stderr.write(`cannot run here, needs ${name}: ${missing}\n`);
    skip = true;
  }
  return skip;
}
