/** What stands in the way of capture is found before Weir says that it captures, for each protocol and family. */
import { requires, WeirProcess } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import { loadScene } from './load-scene.ts';

const config = (over: object) => ({
  interceptor: 'nft',
  log: { level: 'info', format: 'json', flows: 'off' },
  resolver: { listen: [], reach: 'none', test: 'off' },
  services: [{ name: 'all', addresses: ['203.0.113.0/24', '2001:db8:5::/48'], protocols: ['tcp', 'udp'] }],
  ...over,
});

describe.skipIf(requires('namespaces', 'nft', 'ipv6'))('canaries', () => {
  for (const [match, missing] of [
    ['ip protocol udp', 'udp 192.0.2.1'],
    ['ip6 nexthdr udp', 'udp 2001:db8::1'],
    ['ip protocol tcp', 'tcp 192.0.2.1'],
    ['ip6 nexthdr tcp', 'tcp 2001:db8::1'],
  ]) {
    test(`find somebody who drops ${missing}`, { timeout: 60_000 }, async () => {
      await using scene = await loadScene();
      const chain = `chain i { type filter hook input priority 0; iifname lo ${match} drop; }`;
      await scene.client.check(['nft', `table inet other { ${chain}; }`]);
      const before = await scene.client.state();
      await using weir = WeirProcess.launch(scene.client, { config: config({}) });
      expect((await weir.process.waitForExit(20_000)).code).toBe(3);
      const said = weir.process.stdout + weir.process.stderr;
      expect(said).toContain('ineffective');
      expect(said).toContain(`${missing} port`);
      expect(await scene.client.state()).toBe(before);
    });
  }

  test('are not sent for forwarded traffic alone, and that is told', { timeout: 60_000 }, async () => {
    await using scene = await loadScene();
    const capture = { scopes: ['forward'], forward: { interfaces: ['eth0'] } };
    const weir = await scene.start(config({ capture }));
    const { selection } = await weir.admin.status();
    expect(selection.unproven).toEqual(['forward']);
    const selected = selection.entries.find(({ outcome }) => outcome === 'selected');
    expect(selected?.reason).toContain('forwarded traffic is not proven by a test flow');
    expect(await scene.client.check(['nft', 'list', 'ruleset'])).not.toContain('192.0.2.1');
  });

  test('leave nothing of them behind once they have arrived', { timeout: 60_000 }, async () => {
    await using scene = await loadScene();
    const weir = await scene.start(config({}));
    expect(await scene.client.check(['nft', 'list', 'ruleset'])).not.toMatch(/192\.0\.2\.1|2001:db8::1 /);
    expect(await weir.admin.flows(10)).toEqual([]);
    expect(await weir.admin.recentFlows(10)).toEqual([]);
    expect((await weir.admin.status()).counters['accepted']).toBe(0);
  });
});
