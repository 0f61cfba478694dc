import { describe, expect, test } from 'vitest';
import type { Carried } from '../src/candidate.ts';
import { provePath } from '../src/path-proof.ts';
import { Readings, type BenchmarkResult } from '../src/result.ts';
import { renderTable } from '../src/table.ts';

const rate = { id: 'rate', label: 'bulk down', unit: 'Gbit/s', better: 'more', digits: 1 } as const;

function result(): BenchmarkResult {
  const readings = new Readings();
  for (const [round, direct, weir, haproxy] of [
    [1, 20, 15, 10],
    [2, 22, 16, 16],
    [3, 10, 6, 5],
  ] as const) {
    readings.add('rate', 'direct', round, direct);
    readings.add('rate', 'nft', round, weir);
    readings.add('rate', 'haproxy', round, haproxy);
  }
  return {
    format: 1,
    startedAt: '2026-01-01T00:00:00.000Z',
    seconds: 9,
    arguments: { seed: 7, rounds: 3, secondsPerMeasurement: 1, quick: true },
    machine: {
      cpu: 'a CPU',
      processors: 2,
      memoryGib: 4,
      kernel: '6.1',
      distribution: 'Debian',
      virtualisation: 'none',
      node: '24.0.0',
      loadBefore: 0.1,
      commit: 'abc1234',
    },
    candidates: [
      { id: 'direct', kind: 'none', label: 'not intercepted', version: 'no program', hostRestored: true },
      { id: 'nft', kind: 'weir', label: 'Weir nft', version: 'weir 1', hostRestored: true, spliced: true },
      { id: 'haproxy', kind: 'peer', label: 'HAProxy', version: '2.6', hostRestored: false },
      { id: 'squid', kind: 'peer', label: 'Squid', version: 'not here', leftOut: 'not installed' },
    ],
    metrics: [{ ...rate, rows: readings.rows('rate', ['direct', 'nft', 'haproxy', 'squid']) }],
    leftOut: ['bulk-up-1 is not measured: no iperf3'],
    failures: ['rate of HAProxy: it broke'],
  };
}

test('rows have medians, extremes and ratios within rounds', () => {
  const [direct, nft] = result().metrics[0]?.rows ?? [];
  expect(nft).toMatchObject({ candidate: 'nft', median: 15, lowest: 6, highest: 16 });
  expect(nft?.ratios).toEqual({ direct: 16 / 22, haproxy: 1.2 });
  expect(direct?.ratios).toEqual({ nft: 22 / 16, haproxy: 2 });
});

test('the table says everything: losing rows, what was left out, what failed, what was proven', () => {
  const table = renderTable(result());
  expect(table).toMatch(/bulk down \(Gbit\/s, more is better\)/);
  expect(table).toMatch(/Weir nft +15\.0 +6\.0 – 16\.0 +1\.20 × HAProxy +0\.73 × not intercepted/);
  expect(table).toContain('Squid is left out: not installed');
  expect(table).toContain('bulk-up-1 is not measured: no iperf3');
  expect(table).toContain('FAILED rate of HAProxy: it broke');
  expect(table).toContain('Weir nft: weir 1; every byte went through it, bulk by splice; its host is as it was before');
  expect(table).toContain('its host is NOT as it was before');
  expect(table).toContain('seed 7');
});

describe('path proof', () => {
  const carried = (...steps: readonly Carried[]) => {
    const left = [...steps];
    return async () => (left.length > 1 ? left.shift() : left[0]);
  };

  test('waits for a candidate that counts when connections end', async () => {
    const late = carried({ flows: 1, bytes: 0 }, { flows: 11, bytes: 5000 });
    const after = await provePath('x', { flows: 1, bytes: 0 }, late, { flows: 10, bytes: 5000 });
    expect(after).toEqual({ flows: 11, bytes: 5000 });
  });

  test('refuses a reading whose bytes went another way', async () => {
    const idle = carried({ flows: 12, bytes: 100 });
    await expect(provePath('x', { flows: 1, bytes: 0 }, idle, { flows: 10, bytes: 5000 })).rejects.toThrow(
      /did not go through it/,
    );
  });

  test('asks nothing of a candidate that is none', async () => {
    expect(await provePath('x', undefined, async () => undefined, { flows: 1, bytes: 1 })).toBeUndefined();
  });
});
