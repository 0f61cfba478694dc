/** One private host of a {@link TestNetwork}: run programs in it, give it addresses and routes, look at its state. */
import { spawn } from 'node:child_process';
import { readdirSync, readlinkSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import type { Holder } from './holder.ts';
import { HostProcess, type Exit } from './host-process.ts';
import { normaliseState, STATE_SCRIPT } from './host-state.ts';

export interface RunOptions {
  /** Added to the test's own environment; `undefined` removes. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Default: the test's own working directory. */
  readonly cwd?: string;
}

export interface RunResult extends Exit {
  readonly stdout: string;
  readonly stderr: string;
}

/** A line of `ip -batch`. IPv6 addresses can be used at once: nobody else has them. */
export function addressLine(device: string, cidr: string): string {
  return `address add ${cidr} dev ${device}${cidr.includes(':') ? ' nodad' : ''}`;
}

export class TestHost {
  readonly name: string;
  readonly #holder: Holder;
  readonly #processes = new Set<HostProcess>();
  #devices = 0;

  constructor(name: string, holder: Holder) {
    this.name = name;
    this.#holder = holder;
  }

  /** For nsenter, `/proc/<pid>/root` and `ip link … netns <pid>`. */
  get pid(): number {
    return this.#holder.pid;
  }

  /** Inode of the network namespace. */
  get netns(): string {
    return this.#holder.netns;
  }

  /** The prefix that makes any command run in this host; its own pid becomes the command's. */
  get enter(): readonly string[] {
    return ['nsenter', '--target', String(this.pid), '--net', '--mount'];
  }

  /** The host's /etc/resolv.conf as a path that the test can read and write. */
  get resolvConfPath(): string {
    return this.path('/etc/resolv.conf');
  }

  /** A path inside the host's file system, reachable from the test. */
  path(inside: string): string {
    return `/proc/${this.pid}/root${inside}`;
  }

  readResolvConf(): Promise<string> {
    return readFile(this.resolvConfPath, 'utf8');
  }

  writeResolvConf(text: string): Promise<void> {
    return writeFile(this.resolvConfPath, text);
  }

  /** Starts a program; ended with the host at the latest. */
  spawn(argv: readonly string[], options: RunOptions = {}): HostProcess {
    const [program = '', ...rest] = this.enter;
    const inside = ['env', '-C', options.cwd ?? process.cwd(), ...argv];
    // A group of its own: Ctrl-C in the test's terminal is for the test, which then ends its hosts.
    const child = spawn(program, [...rest, ...inside], { env: { ...process.env, ...options.env }, detached: true });
    child.on('error', () => {}); // the constructor below reports it by the missing pid
    const running = new HostProcess(argv, child);
    this.#processes.add(running);
    void running.exited.then(() => this.#processes.delete(running));
    return running;
  }

  /** Runs a program to its end. @throws Error when it takes longer than `timeoutMs` (default 30 s); it is ended then. */
  async run(
    argv: readonly string[],
    options: RunOptions & { readonly input?: string; readonly timeoutMs?: number } = {},
  ): Promise<RunResult> {
    const running = this.spawn(argv, options);
    running.stdin.end(options.input ?? '');
    const exit = await running.waitForExit(options.timeoutMs ?? 30_000);
    return { ...exit, stdout: running.stdout, stderr: running.stderr };
  }

  /** Runs a program that must succeed; resolves with its standard output. @throws Error with both outputs otherwise. */
  async check(
    argv: readonly string[],
    options: RunOptions & { readonly input?: string; readonly timeoutMs?: number } = {},
  ): Promise<string> {
    const result = await this.run(argv, options);
    if (result.code !== 0) {
      const how = result.code ?? result.signal;
      throw new Error(`${argv.join(' ')} in ${this.name}: exit ${how}\n${result.stdout}${result.stderr}`);
    }
    return result.stdout;
  }

  /** Runs these lines by `ip -batch`, in one process. @throws Error at the first one that fails. */
  async ip(lines: readonly string[]): Promise<void> {
    await this.check(['ip', '-batch', '-'], { input: `${lines.join('\n')}\n` });
  }

  /** `cidr` is an address with its prefix length, e.g. `10.1.0.2/24` or `2001:db8::7/128`. */
  async addAddress(device: string, ...cidrs: readonly string[]): Promise<void> {
    await this.ip(cidrs.map((cidr) => addressLine(device, cidr)));
  }

  /** `destination` is a prefix or `default`; one of `via` and `device` at least. */
  async addRoute(destination: string, to: { readonly via?: string; readonly device?: string }): Promise<void> {
    const six = destination.includes(':') || (to.via?.includes(':') ?? false);
    const path = [...(to.via ? ['via', to.via] : []), ...(to.device ? ['dev', to.device] : [])];
    await this.check(['ip', six ? '-6' : '-4', 'route', 'add', destination, ...path]);
  }

  /** `key` with dots, e.g. `net.ipv4.ip_forward`. */
  async setSysctl(key: string, value: string | number): Promise<void> {
    await this.setSysctls({ [key]: value });
  }

  /** As {@link setSysctl}, in the order given. */
  async setSysctls(values: Readonly<Record<string, string | number>>): Promise<void> {
    const args = Object.entries(values).flatMap(([key, value]) => [key.replaceAll('.', '/'), String(value)]);
    const script = 'while [ $# -gt 0 ]; do echo "$2" > "/proc/sys/$1" || exit 1; shift 2; done';
    await this.check(['sh', '-c', script, 'sh', ...args]);
  }

  /** Everything Weir could have changed, as comparable text; see host-state.ts. */
  async state(): Promise<string> {
    return normaliseState(await this.check(['sh', '-c', STATE_SCRIPT]));
  }

  /** Pids of all processes in this host's network namespace but the one that holds it. */
  processes(): readonly number[] {
    const mine = `net:[${this.netns}]`;
    return readdirSync('/proc')
      .filter((entry) => /^\d+$/.test(entry))
      .map(Number)
      .filter((pid) => {
        try {
          return pid !== this.pid && readlinkSync(`/proc/${pid}/ns/net`) === mine;
        } catch {
          return false; // ended meanwhile, or somebody else's
        }
      });
  }

  /** `eth0`, `eth1`, … */
  nextDevice(): string {
    return `eth${this.#devices++}`;
  }

  /** Ends what was started here, then the host itself. */
  async release(): Promise<void> {
    for (const running of this.#processes) running.kill('SIGKILL');
    await this.#holder.release();
    await Promise.all([...this.#processes].map((running) => running.exited));
  }
}
