/**
 * The nft program, for machines without libnftables. A file is made for each transaction, since `nft -f -` cannot read
 * from Node's pipes (they are sockets). A table made this way is never owned: nft exits, and an owner table with it.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { UnsupportedError } from '@weir/core';
import type { NftOutcome } from './ruleset.ts';

const TIMEOUT_MS = 30_000;
/** A listing of 100,000 elements is about 20 MB. */
const OUTPUT_LIMIT = 256 * 1024 * 1024;

/** Where nft is; administrators' folders are looked at even when PATH has none of them. `undefined` when nowhere. */
export function findNft(): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  for (const folder of [...folders, '/usr/sbin', '/sbin', '/usr/local/sbin']) {
    const path = join(folder, 'nft');
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // the next folder
    }
  }
  return undefined;
}

export class NftBinary {
  readonly path: string;

  /** @throws UnsupportedError when there is no nft. */
  constructor() {
    const path = findNft();
    if (path === undefined) {
      throw new UnsupportedError({
        problem: 'The program nft was not found.',
        remedy: 'Install the Debian package nftables (apt-get install nftables).',
      });
    }
    this.path = path;
  }

  /** Runs a JSON document or native commands. `dry` asks the kernel without making any change. */
  run(text: string, dry = false): NftOutcome {
    const folder = mkdtempSync(join(tmpdir(), 'weir-nft-'));
    try {
      const file = join(folder, 'ruleset');
      writeFileSync(file, text, { mode: 0o600 });
      const { status, stdout, stderr, error } = spawnSync(this.path, ['-j', '-s', ...(dry ? ['-c'] : []), '-f', file], {
        encoding: 'utf8',
        env: { ...process.env, LC_ALL: 'C' },
        maxBuffer: OUTPUT_LIMIT,
        stdio: ['ignore', 'pipe', 'pipe'],
        timeout: TIMEOUT_MS,
      });
      return { ok: status === 0, output: stdout ?? '', error: (error?.message ?? stderr ?? '').trim() };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }

  close(): void {}
}
