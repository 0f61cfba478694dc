import { requires } from '@weir/core/testing';
import { tun } from '@weir/tun';
import { describe, expect, test } from 'vitest';
import type { Mechanism } from './kernel.ts';
import { runDifferential } from './run.ts';

const soak = process.env['WEIR_SOAK'] === '1';
const seed = Number(process.env['WEIR_SEED'] ?? Math.floor(Math.random() * 2 ** 32));
const sets = soak ? 10_000 : 1000;

const mechanism: Mechanism = {
  definition: tun,
  // What captured local flows come from: sources are no part of what this mechanism can choose by.
  source: { 4: '169.254.84.1', 6: 'fd64:7765:6972:ffff::1' },
  refusesOwnAddresses: true,
};

describe.skipIf(requires('namespaces', 'tun', 'ipv6'))('decide and the kernel agree', () => {
  test(`tun, ${sets} sets of 50 flows, WEIR_SEED=${seed}`, { timeout: soak ? 1_200_000 : 300_000 }, async () => {
    const tally = await runDifferential(mechanism, { seed, sets, flowsPerSet: 50 });
    process.stderr.write(`differential tun: WEIR_SEED=${seed} ${JSON.stringify(tally.fates)}\n`);
    expect(tally.disagreements, `repeat with WEIR_SEED=${seed}`).toEqual([]);
    expect(tally.flows).toBe(sets * 50);
    // A run in which one of the answers hardly comes up would prove nothing.
    expect(tally.fates.captured).toBeGreaterThan(tally.flows / 10);
    expect(tally.fates.wire).toBeGreaterThan(tally.flows / 10);
  });
});
