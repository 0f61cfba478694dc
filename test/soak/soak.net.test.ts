/**
 * Soak: hundreds of thousands of flows through each mechanism, after which Weir holds what it held before. 200,000 of
 * TCP and as many UDP sessions with WEIR_SOAK=1 (`npm run soak -- test/soak`), a fiftieth otherwise. One line of figures each.
 */
import { requires } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import { figuresOf, line, type Figures } from './figures.ts';
import { definitionOf, soakScene, type LoadReport, type SoakScene } from './scene.ts';

const soak = process.env['WEIR_SOAK'] === '1';
const FLOWS = soak ? 200_000 : 4000;
/** Before anything is compared: buffers, tables and compiled code come with the first flows. */
const WARM_UP = soak ? 20_000 : 1000;
/** What may have come on top, in bytes: the heap is collected when V8 likes, and records of the last flows are kept. */
const GROWTH = 48 * 2 ** 20;
/** Sources of one NAT address, for each protocol. */
const NAT_PORTS = 64_512;

const MECHANISMS: ReadonlyArray<readonly [id: string, needs: readonly string[]]> = [
  ['nft', ['nft']],
  ['tproxy-iptables', ['tproxy-iptables']],
  ['ebpf-sklookup', ['root', 'bpf']],
  ['tun', ['tun']],
  ['proxy', []],
];

/** Waits until everything of the load has gone, and says what is there then. */
async function settled(scene: SoakScene, before: Figures): Promise<Figures> {
  let now = await figuresOf(scene);
  const isBack = ({ flows, conntrack, descriptors }: Figures): boolean =>
    flows === 0 && conntrack <= before.conntrack + 8 && descriptors <= before.descriptors;
  await expect
    .poll(async () => isBack((now = await figuresOf(scene))), {
      timeout: 90_000,
      interval: 500,
      message: `what is held comes back to ${JSON.stringify(before)}`,
    })
    .toBe(true);
  return now;
}

function said(protocol: 'tcp' | 'udp', report: LoadReport): string {
  const rate = `${Math.round((FLOWS / report.ms) * 1000)}/s, ${report.most} at once`;
  if (protocol === 'udp') return `${FLOWS} sessions, ${rate}, ${report.again} asked again`;
  const { finished, reset, abandoned } = report;
  return `${FLOWS} flows, ${rate}, ${finished} by FIN, ${reset} by RST, ${abandoned} abandoned`;
}

describe.skipIf(requires('namespaces'))('soak', () => {
  for (const [id, needs] of MECHANISMS) {
    test.skipIf(requires(...needs))(
      `${id}: ${FLOWS} flows leave nothing behind`,
      { timeout: soak ? 1_800_000 : 120_000 },
      async () => {
        const { capabilities } = await definitionOf(id);
        await using scene = await soakScene(id);
        const udp = capabilities.networks.some(({ protocol }) => protocol === 'udp');
        const start = await figuresOf(scene);
        for (const protocol of udp ? (['tcp', 'udp'] as const) : (['tcp'] as const)) {
          const cold = await figuresOf(scene);
          await scene.load(protocol, WARM_UP);
          const before = await settled(scene, { ...start, descriptors: start.descriptors + 70 });
          const report = await scene.load(protocol, FLOWS);
          const after = await settled(scene, { ...before, descriptors: before.descriptors + 70 });
          process.stdout.write(
            `${line(`${id} ${protocol}, from ${scene.from}`, before, after, said(protocol, report))}\n`,
          );

          expect(report).toMatchObject({ right: FLOWS, wrong: 0, timeout: 0, errors: {} });
          expect(report.most).toBeGreaterThanOrEqual(256);
          if (protocol === 'tcp') {
            expect(report).toMatchObject({ reset: FLOWS / 2, abandoned: FLOWS / 10, finished: FLOWS * 0.4 });
          }
          const grown = (key: string): number => (after.counters[key] ?? 0) - (before.counters[key] ?? 0);
          // A port that the kernel gives twice within a second is one session with two datagrams.
          expect(grown('ended')).toBeGreaterThanOrEqual(FLOWS * (protocol === 'udp' ? 0.98 : 1));
          for (const key of ['flowLimit', 'sessionLimit', 'descriptorLimit', 'dialError', 'dialLimit', 'writeFailed']) {
            expect(grown(key), key).toBe(0);
          }
          // A source of UDP rests for 30 s, so that one address of tun carries 2,150 new sessions a second: who finds
          // none free is dropped, counted, and asks again.
          expect(grown('natExhausted')).toBeLessThanOrEqual(report.again);
          // With the warm-up, whose clients come again while their sources rest, and get those.
          const opened = (after.counters['natOpened'] ?? 0) - (cold.counters['natOpened'] ?? 0);
          if (id === 'tun' && soak) expect(opened / NAT_PORTS).toBeGreaterThan(3);
          expect(after.journal).toBe(start.journal);
          expect(after.resident - before.resident).toBeLessThan(GROWTH);
        }
        expect((await scene.weir.stop()).code).toBe(0);
      },
    );
  }
});
