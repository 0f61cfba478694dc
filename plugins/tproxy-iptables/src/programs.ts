/** The iptables programs of this machine: where they are, and how they are run. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { type Family, UnsupportedError } from '@weir/core';

/** iptables exists twice: `nft` keeps its rules in nf_tables, `legacy` in ip_tables. The kernel asks both. */
export type Variant = 'nft' | 'legacy';

export type Tool = 'save' | 'restore';

const TIMEOUT_MS = 60_000;

/** Seconds to wait for others that hold the xtables lock. Only `legacy` takes it. */
const LOCK_SECONDS = 10;

/** A listing of 100,000 rules is about 15 MB. */
const OUTPUT_LIMIT = 256 * 1024 * 1024;

export interface Outcome {
  readonly ok: boolean;
  readonly stdout: string;
  /** The program's own words. */
  readonly error: string;
}

/** For tests: `WEIR_IPTABLES=off` hides all programs, `legacy` and `nft` hide those of the other variant. */
export function isHidden(variant: Variant): boolean {
  const visible = process.env['WEIR_IPTABLES'] ?? '';
  return visible === 'off' || (visible !== '' && visible !== variant);
}

function findProgram(name: string): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  for (const folder of [...folders, '/usr/sbin', '/sbin', '/usr/local/sbin']) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // the next folder
    }
  }
  return undefined;
}

/** `iptables`, `ip6tables`. */
export function commandName(family: Family): string {
  return family === 4 ? 'iptables' : 'ip6tables';
}

/** Runs a program. Never throws: what went wrong stands in the outcome. */
export async function run(
  path: string,
  argv: readonly string[],
  { input = '', inherited }: { readonly input?: string; readonly inherited?: number } = {},
): Promise<Outcome> {
  const failed = (error: unknown): Outcome => ({ ok: false, stdout: '', error: String(error) });
  try {
    const child = spawn(path, argv, {
      env: { ...process.env, LC_ALL: 'C', ...lockFile() },
      stdio: ['pipe', 'pipe', 'pipe', ...(inherited === undefined ? [] : [inherited])],
      timeout: TIMEOUT_MS,
      killSignal: 'SIGKILL',
    });
    const { stdin, stdout, stderr } = child;
    if (!stdin || !stdout || !stderr) return failed(`${path} was started without pipes`);
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    let size = 0;
    stdout.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > OUTPUT_LIMIT) child.kill('SIGKILL');
      else out.push(chunk);
    });
    stderr.on('data', (chunk: Buffer) => {
      if (err.length < 100) err.push(chunk);
    });
    // The program may end without having read all; its exit code says so too.
    stdin.on('error', () => undefined);
    stdin.end(input);
    const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
    const words = Buffer.concat(err).toString().trim();
    return {
      ok: code === 0,
      stdout: Buffer.concat(out).toString(),
      error: signal === null ? words : `${path} was ended by ${signal}. ${words}`.trim(),
    };
  } catch (error) {
    return failed(error);
  }
}

/** Where /run cannot be written, legacy iptables' lock goes where Weir's own state is. A setting of the operator's stays. */
function lockFile(): NodeJS.ProcessEnv {
  const root = process.env['WEIR_STATE_ROOT'];
  if (process.env['XTABLES_LOCKFILE'] !== undefined || root === undefined) return {};
  for (const path of ['/run/xtables.lock', '/run']) {
    try {
      accessSync(path, constants.W_OK);
      return {};
    } catch {
      // not there, or not for us
    }
  }
  return { XTABLES_LOCKFILE: join(root, 'xtables.lock') };
}

/** The four programs of one variant. */
export class Programs {
  readonly variant: Variant;
  readonly #paths = new Map<string, string>();

  private constructor(variant: Variant) {
    this.variant = variant;
  }

  /**
   * Looks for `iptables-nft-save` and the like, and for `iptables-save` where that is of this variant.
   * @returns `undefined` when IPv4's are not there.
   */
  static async find(variant: Variant): Promise<Programs | undefined> {
    if (isHidden(variant)) return undefined;
    const programs = new Programs(variant);
    programs.#look((command, tool) => `${command}-${variant}-${tool}`);
    // Without the suffix they may be of either; asking costs a process.
    if (!programs.has(4) && (await defaultVariant()) === variant) {
      programs.#look((command, tool) => `${command}-${tool}`);
    }
    return programs.has(4) ? programs : undefined;
  }

  /** Whether this family's programs are there. */
  has(family: Family): boolean {
    const command = commandName(family);
    return this.#paths.has(`${command}-save`) && this.#paths.has(`${command}-restore`);
  }

  /** All tables, or one. Legacy's `save` makes a table that is named and was never used; it stays, empty. */
  save(family: Family, table?: string): Promise<Outcome> {
    return run(this.#path(family, 'save'), table === undefined ? [] : ['-t', table]);
  }

  /**
   * Feeds `iptables-restore --noflush`.
   * @param inherited a descriptor that the program keeps open while it runs.
   */
  restore(family: Family, input: string, { test = false, inherited }: RestoreOptions = {}): Promise<Outcome> {
    const argv = ['--noflush', '-w', String(LOCK_SECONDS), ...(test ? ['--test'] : [])];
    return run(this.#path(family, 'restore'), argv, { input, ...(inherited === undefined ? {} : { inherited }) });
  }

  #look(nameOf: (command: string, tool: Tool) => string): void {
    for (const command of [commandName(4), commandName(6)]) {
      for (const tool of ['save', 'restore'] as const) {
        const path = findProgram(nameOf(command, tool));
        if (path !== undefined) this.#paths.set(`${command}-${tool}`, path);
      }
    }
  }

  /** @throws UnsupportedError when it is not there. */
  #path(family: Family, tool: Tool): string {
    const name = `${commandName(family)}-${tool}`;
    const path = this.#paths.get(name);
    if (path !== undefined) return path;
    throw new UnsupportedError({
      problem: `The program ${name} (${this.variant}) was not found.`,
      remedy: INSTALL,
    });
  }
}

export interface RestoreOptions {
  readonly test?: boolean;
  readonly inherited?: number;
}

export const INSTALL = 'Install the Debian package iptables (apt-get install iptables).';

/** What `iptables` without a suffix is on this machine. Versions before 1.8 are all legacy and say nothing. */
export async function defaultVariant(): Promise<Variant | undefined> {
  const path = findProgram('iptables');
  if (path === undefined) return undefined;
  const { ok, stdout } = await run(path, ['--version']);
  if (!ok) return undefined;
  return stdout.includes('(nf_tables)') ? 'nft' : 'legacy';
}
