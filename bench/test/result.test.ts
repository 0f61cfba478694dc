import { describe, expect, test } from 'vitest';
import type { Carried } from '../src/candidate.ts';
import { provePath } from '../src/path-proof.ts';
import { renderTable } from '../src/table.ts';
import { result } from './a-result.ts';

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
  expect(table).toContain('Squid is left out: not <installed>');
  expect(table).toContain('bulk-up-1 is not measured: no iperf3');
  expect(table).toContain('FAILED rate of HAProxy: it broke');
  expect(table).toContain('Weir nft: weir 1; every byte went through it, bulk by splice; its host is as it was before');
  expect(table).toContain('its host is NOT as it was before');
  expect(table).toContain('seed 7');
});

test('a table without other programs says that there is nothing to compare with', () => {
  const alone = result().candidates.filter(({ kind }) => kind !== 'peer');
  expect(renderTable({ ...result(), candidates: alone })).toContain('no other program took part');
  expect(renderTable(result())).not.toContain('no other program took part');
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
