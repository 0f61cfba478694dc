import { describe, expect, test } from 'vitest';
import { changeTable } from '../src/change-table.ts';
import type { NftCommand } from '../src/nftables-json/index.ts';
import { chainsOf, setsOf, type TableContent, tableOf } from '../src/table.ts';
import { testPlanInput, type TestService } from '@weir/core/testing';

const service = (prefixes: readonly string[]): TestService => ({ prefixes, ports: [[80, 80]] });

const many = (count: number) => Array.from({ length: count }, (_, i) => `20.${i >> 8}.${i & 255}.1/32`);

function change(old: TableContent, services: readonly TestService[], generation: number, swapAll = false) {
  const input = testPlanInput(services, {}, { generation });
  return changeTable(old, { sets: setsOf(input), chains: (sets) => chainsOf(input, sets, false) }, generation, swapAll);
}

function verbs(commands: readonly NftCommand[]): readonly string[] {
  return commands.map((command) => {
    const [verb, object] = Object.entries(command)[0] as [string, object];
    return `${verb} ${Object.keys(object)[0]}`;
  });
}

describe('from one capture set to the next', () => {
  const start = tableOf(testPlanInput([service(many(100))]));

  test('nothing changed: no command', () => {
    expect(change(start, [service(many(100))], 2).commands).toEqual([]);
  });

  test('a small difference is elements, with deletions first, and no chain is touched', () => {
    const { commands, content } = change(start, [service([...many(99), '30.0.0.1/32'])], 2);
    expect(verbs(commands)).toEqual(['delete element', 'add element']);
    expect(JSON.stringify(commands)).toContain('any4_g1_0');
    expect(content.sets.find((set) => set.kind === 'any')?.shards[0]?.elements.has('30.0.0.1 . tcp . 80')).toBe(true);
  });

  test('a large difference is a new set in the place of the old one, never a flush', () => {
    const { commands } = change(start, [service(many(200))], 2);
    const said = verbs(commands);
    expect(said[0]).toBe('add set');
    expect(said.at(-1)).toBe('delete set');
    expect(said).toContain('flush chain');
    expect(JSON.stringify(commands)).not.toContain('"flush":{"set"');
  });

  test('the same generation again gives other names', () => {
    const next = change(start, [service(many(200))], 1).content;
    const names = next.sets.flatMap((set) => set.shards.map((shard) => shard.name));
    expect(names).toContain('any4_g1r1_0');
  });

  test('a family that is gone takes its sets along', () => {
    const both = tableOf(testPlanInput([service(['203.0.113.0/24', '2001:db8:7::/48'])], {}, { canaries: [] }));
    const input = testPlanInput([service(['203.0.113.0/24'])], {}, { canaries: [], generation: 2 });
    const sets = setsOf(input);
    const next = changeTable(both, { sets, chains: (placed) => chainsOf(input, placed, false) }, 2, false);
    expect(verbs(next.commands)).toContain('delete set');
    expect(next.content.sets.map((set) => set.family)).toEqual([4]);
  });

  test('a full shard is not filled further', () => {
    const full = tableOf(testPlanInput([service(many(4999))], {}, { canaries: [] }));
    let content = full;
    const swaps: number[] = [];
    for (let round = 1; round <= 26; round++) {
      const input = testPlanInput([service(many(4999 + 8 * round))], {}, { canaries: [], generation: 1 + round });
      const next = changeTable(
        content,
        { sets: setsOf(input), chains: (placed) => chainsOf(input, placed, false) },
        1 + round,
        false,
      );
      if (verbs(next.commands).includes('delete set')) swaps.push(round);
      content = next.content;
    }
    expect(swaps).toEqual([26]);
    expect(content.sets[0]?.shards).toHaveLength(2);
  });
});
