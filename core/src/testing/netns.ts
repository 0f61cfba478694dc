/**
 * Networks of private hosts for tests: each host is a network namespace with its own /run, /etc/resolv.conf and /sys,
 * joined to others by veth pairs. No host has a default route unless the test adds one, and none is connected to the
 * machine. All of it is gone when the test disposes of it or dies in any way.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { UnsupportedError } from '../api/errors.ts';
import { ALLOW_USER_NAMESPACES, startHolder, type ResolvConfKind } from './holder.ts';
import { addressLine, TestHost } from './test-host.ts';

export interface HostOptions {
  /** Passes packets on between its links, IPv4 and IPv6. Default false. */
  readonly forwarding?: boolean;
  /** Content of /etc/resolv.conf. Default empty. */
  readonly resolvConf?: string;
  /** Default `mount`. */
  readonly resolvConfKind?: ResolvConfKind;
}

export interface LinkOptions {
  /** Addresses with prefix length of the first and the second host. */
  readonly ipv4?: readonly [string, string];
  readonly ipv6?: readonly [string, string];
  /** Device names; default the hosts' next `eth<n>`. */
  readonly devices?: readonly [string, string];
  /** Default 1500. */
  readonly mtu?: number;
}

export interface Link {
  /** Device names in the first and the second host. */
  readonly devices: readonly [string, string];
}

/** Whether this process may have private hosts: looked at once, for it does not change. */
let allowed: Promise<void> | undefined;

export class TestNetwork implements AsyncDisposable {
  readonly #hosts: TestHost[] = [];

  private constructor() {}

  /** @throws UnsupportedError when this user or machine cannot have private namespaces; names what is missing. */
  static async create(): Promise<TestNetwork> {
    if (process.platform !== 'linux') {
      throw new UnsupportedError({
        problem: `Private network namespaces need Linux, and this is ${process.platform}.`,
        remedy: 'Run it on a Linux machine.',
      });
    }
    allowed ??= startHolder('mount').then((probe) => probe.release());
    await allowed;
    return new TestNetwork();
  }

  /** Makes a host with nothing but its loopback device. */
  async host(name: string, options: HostOptions = {}): Promise<TestHost> {
    const host = new TestHost(name, await startHolder(options.resolvConfKind ?? 'mount'));
    this.#hosts.push(host);
    if (options.resolvConf) await host.writeResolvConf(options.resolvConf);
    if (options.forwarding) {
      await host.setSysctls({ 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 });
    }
    return host;
  }

  /** Joins two hosts by a veth pair and brings both ends up. */
  async link(a: TestHost, b: TestHost, options: LinkOptions = {}): Promise<Link> {
    const devices = options.devices ?? [a.nextDevice(), b.nextDevice()];
    const [first, second] = devices;
    const mtu = `mtu ${options.mtu ?? 1500}`;
    const upWith = (end: 0 | 1): readonly string[] => [
      ...[options.ipv4, options.ipv6].flatMap((both) => (both ? [addressLine(devices[end], both[end])] : [])),
      `link set ${devices[end]} up`,
    ];
    await a.ip([`link add ${first} ${mtu} type veth peer ${second} ${mtu} netns ${b.pid}`, ...upWith(0)]);
    await b.ip(upWith(1));
    // The kernel announces the carrier up to a second late, and IPv6 does not speak before.
    await Promise.all([untilUp(a, first), untilUp(b, second)]);
    return { devices };
  }

  /** Ends every process in every host and removes the hosts. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#hosts.splice(0).map((host) => host.release()));
  }
}

async function untilUp(host: TestHost, device: string): Promise<void> {
  const wait = `i=0
while [ $i -lt 250 ]; do
  case $(ip -o link show dev "$1") in *'state UP'*) exit 0;; esac
  i=$((i + 1)); sleep 0.02
done
exit 1`;
  await host.check(['sh', '-c', wait, 'sh', device]);
}

/**
 * For scripts of ordinary users: when the process is not root, runs itself again inside a user namespace where it is,
 * with the same arguments, and passes signals on.
 * @returns the exit code of that run, or `undefined` when the caller is root already and should simply go on.
 * @throws UnsupportedError when user namespaces are refused.
 */
export async function reexecInUserNamespace(): Promise<number | undefined> {
  if (process.getuid?.() === 0) return undefined;
  await probeUserNamespace();
  // When this process is killed, the one inside is asked to end, and puts back what it has to.
  const program = ['setpriv', '--pdeathsig', 'TERM', process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const child = spawn('unshare', ['-Urnm', ...program], { stdio: 'inherit' });
  const pass = (signal: NodeJS.Signals) => child.kill(signal);
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, pass);
  await once(child, 'close');
  for (const each of signals) process.off(each, pass);
  return child.exitCode ?? (child.signalCode === 'SIGINT' ? 130 : 1);
}

async function probeUserNamespace(): Promise<void> {
  const child = spawn('unshare', ['-Urnm', 'true'], { stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const code = await once(child, 'close').then(
    ([exit]: unknown[]) => exit,
    (error: unknown) => String(error),
  );
  if (code === 0) return;
  throw new UnsupportedError({
    problem: `You are not root, and user namespaces are refused here: ${stderr.trim() || String(code)}.`,
    remedy: `Run it as root (sudo), or allow user namespaces: ${ALLOW_USER_NAMESPACES}.`,
  });
}
