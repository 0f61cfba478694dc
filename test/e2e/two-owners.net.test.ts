/** Two owners with otherwise default configuration in one network namespace, by different mechanisms. */
import { requires, runClients, startPeer, WeirProcess } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import { loadScene, scriptCommand } from './load-scene.ts';

const PAIRS = [
  ['nft', 'tproxy-iptables'],
  ['nft', 'ebpf-sklookup'],
  ['nft', 'tun'],
  ['tproxy-iptables', 'ebpf-sklookup'],
  ['ebpf-sklookup', 'tun'],
] as const;

const document = (owner: string, interceptor: string, prefixes: readonly string[], port: number) => ({
  owner,
  interceptor,
  log: { level: 'warn', format: 'json', flows: 'off' },
  services: [{ name: owner, addresses: prefixes, ports: [80], dialer: { type: 'direct', to: `10.1.0.1:${port}` } }],
});

describe.skipIf(requires('namespaces', 'nft', 'ipv6', 'tproxy-iptables', 'bpf', 'tun'))('two owners', () => {
  for (const pair of PAIRS) {
    test(
      `${pair.join(' and ')}: each takes its own, and the stop of one leaves the other's flows`,
      { timeout: 120_000 },
      async () => {
        await using scene = await loadScene();
        const { client, server } = scene;
        await startPeer(server, 'tcp-server', ['--listen', '10.1.0.1:9000', '--mode', 'echo']);
        await startPeer(server, 'tcp-server', ['--listen', '10.1.0.1:9001', '--mode', 'echo']);
        const before = await client.state();
        for (const [first, second] of [pair, [pair[1], pair[0]] as const]) {
          await using one = await WeirProcess.start(client, {
            config: document('one', first, ['203.0.113.0/24', '2001:db8:1::/48'], 9000),
          });
          await using two = await WeirProcess.start(client, {
            config: document('two', second, ['198.51.100.0/24', '2001:db8:2::/48'], 9001),
          });
          const targets = ['203.0.113.7:80', '[2001:db8:1::7]:80', '198.51.100.7:80', '[2001:db8:2::7]:80'];
          for (const target of targets) {
            const report = await runClients(client, target, { mode: 'burst', count: 20, parallel: 10 });
            expect(report.outcomes, `${target} with ${first} before ${second}`).toEqual({ eof: 20 });
          }
          expect((await one.admin.status()).services[0]?.totalFlows).toBe(40);
          expect((await two.admin.status()).services[0]?.totalFlows).toBe(40);

          const held = client.spawn(scriptCommand('held-connections', ['198.51.100.7', '80', '50']));
          await held.waitFor(/held 50/);
          expect((await one.stop()).code).toBe(0);
          const after = await runClients(client, '198.51.100.7:80', { mode: 'burst', count: 20, parallel: 10 });
          expect(after.outcomes).toEqual({ eof: 20 });
          held.stdin.write('mark\nreport\n');
          await held.waitForExit();
          expect(JSON.parse(held.stdout.trim().split('\n').at(-1) ?? '')).toMatchObject({ alive: 50, resets: 0 });
          expect((await two.stop()).code).toBe(0);
        }
        expect(await client.state()).toBe(before);
      },
    );
  }
});
