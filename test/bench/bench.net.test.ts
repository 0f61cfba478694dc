/** The benchmark itself: a short run with its proofs, and Ctrl-C in the middle of one. */
import { missingFor, requires } from '@weir/core/testing';
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';

const MAIN = fileURLToPath(new URL('../../bench/src/main.ts', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'weir-bench-test-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

interface Result {
  readonly failures: readonly string[];
  readonly arguments: { readonly seed: number };
  readonly candidates: ReadonlyArray<{
    readonly id: string;
    readonly leftOut?: string;
    readonly hostRestored?: boolean;
  }>;
  readonly metrics: ReadonlyArray<{
    readonly id: string;
    readonly rows: ReadonlyArray<{ readonly candidate: string; readonly median: number }>;
  }>;
}

function bench(args: readonly string[], tag = 'none'): ChildProcess & { text: () => string } {
  const child = spawn(process.execPath, ['--conditions=source', MAIN, ...args], {
    env: { ...process.env, WEIR_BENCH_TEST: tag },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (more) => (text += more));
  return Object.assign(child, { text: () => text });
}

/** Processes that were started below a run with this tag and still live. */
function living(tag: string): readonly string[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`WEIR_BENCH_TEST=${tag}`);
      } catch {
        return false; // ended meanwhile
      }
    });
}

test('wrong arguments are refused with what is allowed, exit 2', { timeout: 30_000 }, async () => {
  const child = bench(['--only', 'speed']);
  const [code] = (await once(child, 'close')) as [number];
  expect(code).toBe(2);
  expect(child.text()).toMatch(/no measure "speed"[^]*requests-64/);
});

describe.skipIf(requires('namespaces', 'nft'))('the benchmark', () => {
  test('measures, proves the path, leaves the hosts as they were', { timeout: 240_000 }, async () => {
    const file = join(directory, 'result.json');
    const args = [
      '--only',
      'bulk-down-1,start',
      '--interceptor',
      'nft',
      '--rounds',
      '1',
      '--seed',
      '5',
      '--json',
      file,
    ];
    const child = bench(args);
    const [code] = (await once(child, 'close')) as [number];
    expect(code, child.text()).toBe(0);
    const result = JSON.parse(readFileSync(file, 'utf8')) as Result;
    expect(result.failures).toEqual([]);
    expect(result.arguments.seed).toBe(5);
    const took = result.candidates.filter(({ leftOut }) => leftOut === undefined);
    expect(took.map(({ id }) => id)).toEqual(
      expect.arrayContaining(['direct', 'direct-after', 'nft', ...(missingFor('root') === undefined ? ['pipe'] : [])]),
    );
    expect(took.every(({ id, hostRestored }) => id === 'direct-after' || hostRestored)).toBe(true);
    const rows = (id: string) => result.metrics.find((metric) => metric.id === id)?.rows ?? [];
    expect(rows('bulk-down-1').map(({ candidate }) => candidate)).toEqual(took.map(({ id }) => id));
    expect(rows('start').map(({ candidate }) => candidate)).toContain('nft');
    for (const { median } of [...rows('bulk-down-1'), ...rows('start')]) expect(median).toBeGreaterThan(0);
    expect(child.text()).toContain('every byte went through it');
  });

  test('Ctrl-C ends it with 130 and leaves no process behind', { timeout: 60_000 }, async () => {
    const tag = randomUUID();
    const child = bench(
      ['--only', 'bulk-up-8', '--interceptor', 'nft', '--rounds', '50', '--peers', 'redsocks,v2ray,pipe'],
      tag,
    );
    await expect.poll(() => child.text(), { timeout: 30_000 }).toContain('warm-up');
    expect(living(tag).length).toBeGreaterThan(3);
    child.kill('SIGINT');
    const [code] = (await once(child, 'close')) as [number];
    expect(code, child.text()).toBe(130);
    expect(child.text()).toContain('nothing else was changed');
    await expect.poll(() => living(tag), { timeout: 5000 }).toEqual([]);
  });
});
