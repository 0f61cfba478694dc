/** The facts of the machine that numbers mean nothing without. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os';

export interface Machine {
  readonly cpu: string;
  readonly processors: number;
  readonly memoryGib: number;
  readonly kernel: string;
  readonly distribution: string;
  readonly virtualisation: string;
  readonly node: string;
  /** Of the last minute before the run; above a fraction of a processor, others were working too. */
  readonly loadBefore: number;
  readonly commit: string;
}

function said(program: string, args: readonly string[], otherwise: string): string {
  try {
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim() || otherwise;
  } catch {
    return otherwise;
  }
}

function distribution(): string {
  try {
    return /^PRETTY_NAME="?(.*?)"?$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'unknown';
  } catch {
    return 'unknown';
  }
}

export function machineFacts(): Machine {
  const changed = said('git', ['status', '--porcelain', '--', 'core', 'plugins'], '') === '' ? '' : ' with changes';
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    processors: availableParallelism(),
    memoryGib: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    distribution: distribution(),
    virtualisation: said('systemd-detect-virt', [], 'unknown'),
    node: process.versions.node,
    loadBefore: loadavg()[0] ?? 0,
    commit: said('git', ['rev-parse', '--short', 'HEAD'], 'unknown') + changed,
  };
}
