import { requires } from '@weir/core/testing';
import { tproxyIptables } from '@weir/tproxy-iptables';
import { describe, expect, test } from 'vitest';
import { runDifferential } from './run.ts';

const soak = process.env['WEIR_SOAK'] === '1';
const seed = Number(process.env['WEIR_SEED'] ?? Math.floor(Math.random() * 2 ** 32));
const sets = soak ? 5000 : 500;

describe.skipIf(requires('namespaces', 'iptables-nft', 'iptables-legacy', 'ipv6'))(
  'decide and the kernel agree',
  () => {
    for (const variant of ['nft', 'legacy']) {
      test(
        `tproxy-iptables (${variant}), ${sets} sets of 50 flows, WEIR_SEED=${seed}`,
        { timeout: soak ? 1_200_000 : 300_000 },
        async () => {
          const mechanism = { definition: tproxyIptables, options: { variant } };
          const tally = await runDifferential(mechanism, { seed, sets, flowsPerSet: 50 });
          const fates = JSON.stringify(tally.fates);
          process.stderr.write(`differential tproxy-iptables (${variant}): WEIR_SEED=${seed} ${fates}\n`);
          expect(tally.disagreements, `repeat with WEIR_SEED=${seed}`).toEqual([]);
          expect(tally.flows).toBe(sets * 50);
          // A run in which one of the answers hardly comes up would prove nothing.
          expect(tally.fates.captured).toBeGreaterThan(tally.flows / 10);
          expect(tally.fates.wire).toBeGreaterThan(tally.flows / 10);
        },
      );
    }
  },
);
