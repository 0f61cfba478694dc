/** The differential test of one mechanism, for each scope that it announces. */
import { requires } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import type { Mechanism, Scope } from './kernel.ts';
import { runDifferential } from './run.ts';

const soak = process.env['WEIR_SOAK'] === '1';
const seed = Number(process.env['WEIR_SEED'] ?? Math.floor(Math.random() * 2 ** 32));

const FLOWS = 50;

/** How many sets of the soak a scope gets in a common run: forwarded flows meet the same rules by another way in. */
const SHARE: Readonly<Record<Scope, number>> = { output: 10, forward: 50, both: 50 };

/**
 * @param name of the mechanism, as a run says it.
 * @param needs what the machine must have beside namespaces and IPv6.
 * @param sets of each scope in the soak.
 */
export function mustAgree(
  name: string,
  mechanism: Mechanism,
  { needs, sets = 10_000 }: { readonly needs: readonly string[]; readonly sets?: number },
): void {
  const forward = mechanism.definition.capabilities.scopes.includes('forward');
  const scopes: readonly Scope[] = forward ? ['output', 'forward', 'both'] : ['output'];
  describe.skipIf(requires('namespaces', 'ipv6', ...needs))(`decide and the kernel agree: ${name}`, () => {
    for (const [index, scope] of scopes.entries()) {
      const count = soak ? sets : sets / SHARE[scope];
      const timeout = soak ? 1_200_000 : 300_000;
      test(`scope ${scope}, ${count} sets of ${FLOWS} flows, WEIR_SEED=${seed}`, { timeout }, async () => {
        const tally = await runDifferential(mechanism, { seed: seed + index, sets: count, flowsPerSet: FLOWS, scope });
        process.stderr.write(`differential ${name}, ${scope}: WEIR_SEED=${seed} ${JSON.stringify(tally.fates)}\n`);
        expect(tally.disagreements, `repeat with WEIR_SEED=${seed}`).toEqual([]);
        expect(tally.flows).toBe(count * FLOWS);
        // A run in which one of the answers hardly comes up would prove nothing.
        expect(tally.fates.captured).toBeGreaterThan(tally.flows / 10);
        expect(tally.fates.wire).toBeGreaterThan(tally.flows / 10);
      });
    }
  });
}
