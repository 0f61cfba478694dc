/** Random datagrams into every UDP socket that Weir has, for each mechanism: no crash, no leak, and a count that says why. */
import type { Plugin } from '@weir/core';
import { requires, runDatagrams, startPeer } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import { COLLECTING, loadScene, openDescriptors, residentBytes, scriptCommand } from './load-scene.ts';

const soak = process.env['WEIR_SOAK'] === '1';
const COUNT = soak ? 20_000 : 1000;
const SEED = Number(process.env['WEIR_SEED'] ?? Date.now() % 1_000_000);

const MECHANISMS: ReadonlyArray<readonly [id: string, needs: readonly string[]]> = [
  ['nft', ['nft']],
  ['tproxy-iptables', ['tproxy-iptables']],
  ['ebpf-sklookup', ['root', 'bpf']],
  ['tun', ['tun']],
  ['proxy', []],
];

async function carriesUdp(id: string): Promise<boolean> {
  const { default: plugin } = (await import(`@weir/${id}`)) as { readonly default: Plugin };
  const networks = plugin.interceptors?.[0]?.capabilities.networks ?? [];
  return networks.some(({ protocol }) => protocol === 'udp');
}

describe.skipIf(requires('namespaces', 'ipv6'))(`random datagrams, seed ${SEED}`, () => {
  for (const [id, needs] of MECHANISMS) {
    test.skipIf(requires(...needs))(id, { timeout: soak ? 300_000 : 60_000 }, async ({ skip }) => {
      if (!(await carriesUdp(id))) skip(`${id} carries no UDP`);
      await using scene = await loadScene();
      const { client, server } = scene;
      await startPeer(server, 'udp-server', ['--listen', '10.1.0.1:9000', '--mode', 'echo']);
      const explicit = id === 'proxy';
      const weir = await scene.start(
        {
          interceptor: id,
          resolver: explicit ? {} : { listen: ['udp://127.0.0.1:53'], reach: 'none', test: 'off' },
          services: [
            {
              name: 'game',
              addresses: ['203.0.113.0/24', 'game.internal'],
              ports: [7000],
              protocols: ['udp'],
              dialer: { type: 'direct', to: '10.1.0.1:9000' },
              ...(explicit ? { listen: '0.0.0.0:7000' } : {}),
            },
          ],
          timeouts: { 'udp-idle': '500ms' },
        },
        COLLECTING,
      );
      const { pid } = weir.process;
      const target = explicit ? '10.1.0.2:7000' : '203.0.113.7:7000';
      expect(await runDatagrams(client, [target], { count: 50 })).toMatchObject({ right: 50 });
      const settled = async () => (await weir.admin.flows(10)).length;
      await expect.poll(settled, { timeout: 10_000 }).toBe(0);
      const [descriptors, resident] = [openDescriptors(pid), residentBytes(pid)];

      // Every UDP socket of the host but those of other processes, at the address it has or at one that leads to it.
      const listing = await client.check(['ss', '-Hnulp']);
      const own = listing.split('\n').filter((each) => each.includes(`pid=${pid},`));
      const points = own.map((each) =>
        (each.trim().split(/\s+/)[3] ?? '').replace(/%[^:]*/, '').replace('0.0.0.0', '10.1.0.2'),
      );
      expect(points.length, listing).toBeGreaterThan(0);
      const noise = scriptCommand('udp-noise', [String(SEED), String(COUNT), target, ...points]);
      process.stdout.write(`${id}: random datagrams to ${target} and ${points.join(', ')}\n`);
      await client.check(noise, { timeoutMs: 280_000 });
      const outside = points.filter((point) => !/^(127\.|\[?::1)/.test(point));
      if (outside.length > 0) await server.run(scriptCommand('udp-noise', [String(SEED), String(COUNT), ...outside]));

      await expect.poll(settled, { timeout: 15_000 }).toBe(0);
      const { counters, workers } = await weir.admin.status();
      // What comes to a point without capture would come back to it, or is from nobody that the mechanism knows.
      const why = (counters['dialLoop'] ?? 0) + (counters['datagramsDropped'] ?? 0);
      if (!explicit) expect(why, JSON.stringify(counters)).toBeGreaterThan(COUNT / 2);
      expect(workers.map(({ deaths }) => deaths)).toEqual([0]);
      // One may be the connection of the command that has just asked.
      await expect.poll(() => openDescriptors(pid), { timeout: 5000 }).toBeLessThanOrEqual(descriptors);
      expect(residentBytes(pid) - resident).toBeLessThan(24 * 2 ** 20);
      expect(await runDatagrams(client, [target], { count: 50 })).toMatchObject({ right: 50, wrong: 0 });
      if (!explicit && requires('dig') === false) {
        const answer = await client.check(['dig', '+short', '@127.0.0.1', 'game.internal']);
        expect(answer).toMatch(/^100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])\./);
      }
    });
  }
});
