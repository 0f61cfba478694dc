/**
 * What this machine can run, by groups. A test that needs more than there is does not run, and says so by name; when the
 * group is in WEIR_REQUIRE (comma-separated), it fails instead, so that a gap cannot go unnoticed where it must not be.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { openLibrary } from '../sys/library.ts';
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

/** linux/bpf.h, enum bpf_prog_type. */
const BPF_PROG_TYPE_SK_LOOKUP = 30;

function missingForBpf(): string | undefined {
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
  } catch {
    return '/dev/net/tun cannot be opened; modprobe tun, and run as root';
  }
  try {
    const library = openLibrary(['libbpf.so.1'], 'libbpf1');
    const probe: (type: number, options: null) => number = library.func(
      'int libbpf_probe_bpf_prog_type(int type, const void *options)',
    );
    const supported = probe(BPF_PROG_TYPE_SK_LOOKUP, null);
    if (supported === 1) return undefined;
    return 'the kernel takes no sk_lookup program; Linux 5.9 or newer, and root outside of a user namespace';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function wrongClang(): string | undefined {
  const { error, stdout } = spawnSync('clang-14', ['--version'], { encoding: 'utf8' });
  if (error) return 'clang-14 is not installed';
  return /clang version 14\./.test(stdout) ? undefined : 'clang-14 is of another version';
}

/** Where Debian puts it. */
export const CHROMIUM: readonly string[] = ['/usr/bin/chromium-headless-shell', '/usr/bin/chromium'];

/** Where systemd-resolved and resolvectl are: installed, or unpacked by the set-up, since installing it takes the host over. */
export function findResolved(): { readonly daemon: string; readonly resolvectl: string } | undefined {
  const unpacked = `${process.cwd()}/.cache/debian/systemd-resolved`;
  for (const root of ['', unpacked]) {
    const found = { daemon: `${root}/lib/systemd/systemd-resolved`, resolvectl: `${root}/usr/bin/resolvectl` };
    if (existsSync(found.daemon) && existsSync(found.resolvectl)) return found;
  }
  return undefined;
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
    name: 'bpf',
    covers: 'the ebpf-sklookup interceptor against the kernel',
    missing: missingForBpf,
  },
  {
    name: 'clang',
    covers: 'that the committed BPF program is the one that its source compiles to',
    missing: () => because(wrongClang(), 'apt-get install clang-14'),
  },
  {
    name: 'tun',
    covers: 'the tun interceptor against the kernel',
    missing: () =>
      because(
        inNamespace('ip tuntap add dev weirtest mode tun vnet_hdr && ip link del weirtest'),
        'give the container /dev/net/tun, or load the module tun',
      ),
  },
  {
    name: 'ipv6',
    covers: 'the IPv6 half of everything',
    missing: () =>
      because(inNamespace('ip link set lo up; ip -6 route add local ::/0 dev lo table 7'), 'enable IPv6 in the kernel'),
  },
  {
    name: 'br_netfilter',
    covers: 'bridged packets that pass through the packet filters',
    missing: () =>
      because(
        inNamespace('test -e /proc/sys/net/bridge/bridge-nf-call-iptables && ip link add br0 type bridge'),
        'modprobe br_netfilter bridge',
      ),
  },
  binary('curl'),
  binary('ping', 'iputils-ping'),
  binary('iperf3'),
  binary('haproxy'),
  binary('redsocks'),
  binary('v2ray'),
  binary('danted', 'dante-server'),
  binary('dig', 'bind9-dnsutils'),
  binary('dnsmasq', 'dnsmasq-base'),
  binary('unbound'),
  binary('dnsperf'),
  binary('kdig', 'knot-dnsutils'),
  binary('musl-gcc', 'musl-tools'),
  binary('hey'),
  binary('openssl'),
  {
    name: 'systemd-resolved',
    covers: 'the reach by systemd-resolved, with a real one',
    missing: () =>
      findResolved() === undefined
        ? 'systemd-resolved is not there; npm test unpacks it into .cache/debian, without installing it'
        : undefined,
  },
  {
    name: 'chromium',
    covers: 'names as a browser resolves them',
    missing: () =>
      CHROMIUM.some((path) => existsSync(path))
        ? undefined
        : 'there is no Chromium; apt-get install chromium-headless-shell (300 MB, never installed by npm test)',
  },
  binary('strace'),
  {
    ...binary('gtlsclient', 'ngtcp2-client ngtcp2-server'),
    name: 'ngtcp2',
    covers: 'QUIC through captured UDP',
  },
  binary('wrk'),
  binary('zsh'),
  binary('fish'),
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
