import { requires } from '@weir/core/testing';
import { nft } from '@weir/nft';
import { describe, expect, test } from 'vitest';
import { runDifferential } from './run.ts';

const soak = process.env['WEIR_SOAK'] === '1';
const seed = Number(process.env['WEIR_SEED'] ?? Math.floor(Math.random() * 2 ** 32));
const sets = soak ? 10_000 : 1000;

describe.skipIf(requires('namespaces', 'nft', 'ipv6'))('decide and the kernel agree', () => {
  test(`nft, ${sets} sets of 50 flows, WEIR_SEED=${seed}`, { timeout: soak ? 1_200_000 : 300_000 }, async () => {
    const tally = await runDifferential({ definition: nft }, { seed, sets, flowsPerSet: 50 });
    process.stderr.write(`differential nft: WEIR_SEED=${seed} ${JSON.stringify(tally.fates)}\n`);
    expect(tally.disagreements, `repeat with WEIR_SEED=${seed}`).toEqual([]);
    expect(tally.flows).toBe(sets * 50);
    // A run in which one of the answers hardly comes up would prove nothing.
    expect(tally.fates.captured).toBeGreaterThan(tally.flows / 10);
    expect(tally.fates.wire).toBeGreaterThan(tally.flows / 10);
  });
});
