/** A `weir run` inside a private host, with its configuration and its admin socket in reach of the test. */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AdminClient } from '../admin/client.ts';
import type { FlowRecord } from '../api/flow.ts';
import type { HostProcess, Exit } from './host-process.ts';
import type { RunResult, TestHost } from './test-host.ts';

/** A configuration document as in weir.yaml. Written as JSON, which is YAML. */
export type ConfigurationDocument = Readonly<Record<string, unknown>>;

/** What Weir is started with: a document that is written for it, or a file that is there in the host already. */
export type WeirOptions = WeirStart & ({ readonly config: ConfigurationDocument } | { readonly file: string });

export interface WeirStart {
  /** argv of the program; default {@link weirCommand}. */
  readonly command?: readonly string[];
  /** The command and what comes before the file; default `run`. */
  readonly verb?: readonly string[];
  /** After the file. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** argv of `weir`: of the sources when this file runs from there, unless `WEIR_TEST_PROGRAM` is `built`. */
export function weirCommand(): readonly string[] {
  const here = new URL(import.meta.url);
  const program = fileURLToPath(new URL('../../bin/weir.js', here));
  return extname(here.pathname) === '.ts' && process.env['WEIR_TEST_PROGRAM'] !== 'built'
    ? [process.execPath, '--conditions=source', program]
    : [process.execPath, program];
}

/** Documentation addresses (RFC 5737, RFC 3849) that no test uses for anything else. */
const CANARIES: ReadonlySet<string> = new Set(['192.0.2.1', '2001:db8::1']);

export class WeirProcess implements AsyncDisposable {
  readonly host: TestHost;
  readonly owner: string;
  readonly process: HostProcess;
  readonly admin: AdminClient;
  readonly #configPath: string;
  readonly #command: readonly string[];

  private constructor(host: TestHost, options: WeirOptions) {
    this.host = host;
    const owner = 'config' in options ? options.config['owner'] : undefined;
    this.owner = typeof owner === 'string' ? owner : 'default';
    this.#configPath = 'file' in options ? options.file : `/run/weir-test/${this.owner}.yaml`;
    this.#command = options.command ?? weirCommand();
    if ('config' in options) this.#writeConfig(options.config);
    this.process = host.spawn(
      [...this.#command, ...(options.verb ?? ['run']), this.#configPath, ...(options.args ?? [])],
      {
        env: { WEIR_CONFIG: undefined, ...options.env },
      },
    );
    this.admin = new AdminClient({ path: `${this.stateDirectory}/admin.sock`, owner: this.owner });
  }

  /** Starts it and does not wait. */
  static launch(host: TestHost, options: WeirOptions): WeirProcess {
    return new WeirProcess(host, options);
  }

  /** Starts it and waits until it captures. @throws Error with its output when it does not come up. */
  static async start(host: TestHost, options: WeirOptions): Promise<WeirProcess> {
    const weir = new WeirProcess(host, options);
    if (await weir.running()) return weir;
    const how = weir.process.describe();
    await weir[Symbol.asyncDispose]();
    throw new Error(`weir did not start in ${host.name}: ${how}`);
  }

  /** True once it says that it runs; false when it has ended or `timeoutMs` passed before. */
  async running(timeoutMs = 20_000): Promise<boolean> {
    const deadline = Date.now() + timeoutMs;
    while (this.process.exit === undefined && Date.now() < deadline) {
      if (existsSync(`${this.stateDirectory}/admin.sock`)) {
        const ready = await this.admin.ready().catch(() => undefined);
        if (ready?.ready) return true;
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return false;
  }

  /** Its directory below /run/weir, as a path of the test. */
  get stateDirectory(): string {
    return this.host.path(`/run/weir/${this.owner}@${this.host.netns}`);
  }

  /** What is left in the state directory; empty when there is none. */
  leftInStateDirectory(): readonly string[] {
    return existsSync(this.stateDirectory) ? readdirSync(this.stateDirectory) : [];
  }

  /** Writes another configuration and reloads. @throws ConfigurationError when it is refused. */
  async reload(config: ConfigurationDocument): Promise<void> {
    this.#writeConfig(config);
    await this.admin.reload();
  }

  /** Runs another command of the same program in the same host. */
  command(...args: readonly string[]): Promise<RunResult> {
    return this.host.run([...this.#command, ...args], { timeoutMs: 60_000 });
  }

  /**
   * Flows that have ended, oldest first, without Weir's own canaries; waits until there are `least`.
   * @throws Error when there are not within 5 s.
   */
  async ended(least: number): Promise<readonly FlowRecord[]> {
    const deadline = Date.now() + 5000;
    for (;;) {
      const records = (await this.admin.recentFlows(10_000)).filter(({ original }) => !CANARIES.has(original.address));
      if (records.length >= least) return records;
      if (Date.now() > deadline) throw new Error(`${records.length} flows have ended, expected ${least}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Asks it to stop and waits. @throws Error when it does not within `timeoutMs`. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', timeoutMs = 60_000): Promise<Exit> {
    this.process.kill(signal);
    return this.process.waitForExit(timeoutMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]();
  }

  #writeConfig(config: ConfigurationDocument): void {
    mkdirSync(dirname(this.host.path(this.#configPath)), { recursive: true });
    writeFileSync(this.host.path(this.#configPath), `${JSON.stringify(config, undefined, 2)}\n`, { mode: 0o600 });
  }
}
