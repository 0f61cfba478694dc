/** Drift on a living host: noticed within two seconds, mended, logged and counted, whatever of it was taken away. */
import { requires, runClients, startPeer, type WeirProcess } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import { loadScene, type LoadScene } from './load-scene.ts';

const SERVICES = [
  { name: 'web', addresses: ['203.0.113.0/24'], ports: [80], dialer: { type: 'direct', to: '10.1.0.1:8080' } },
  { name: 'web6', addresses: ['2001:db8:5::/48'], ports: [80], dialer: { type: 'direct', to: '[fd00:1::1]:8080' } },
];
const TARGETS = ['203.0.113.7:80', '[2001:db8:5::7]:80'];

interface LogLine {
  readonly time: number | string;
  readonly msg: string;
}

function logged(weir: WeirProcess, message: string): readonly LogLine[] {
  return `${weir.process.stdout}\n${weir.process.stderr}`
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as LogLine)
    .filter(({ msg }) => msg === message);
}

async function captured(scene: LoadScene): Promise<void> {
  for (const target of TARGETS) {
    const { outcomes } = await runClients(scene.client, target, { mode: 'exchange' });
    expect(outcomes, target).toEqual({ eof: 1 });
  }
}

/** Without the handles of nftables objects and their order, which are others when they were made again. */
async function stateOf(scene: LoadScene): Promise<string> {
  const lines = (await scene.client.state()).replaceAll(/,"handle":\d+/g, '').split('\n');
  return lines.toSorted((a, b) => (a < b ? -1 : 1)).join('\n');
}

async function start(scene: LoadScene, capture: object): Promise<WeirProcess> {
  await startPeer(scene.server, 'tcp-server', ['--listen', '0.0.0.0:8080', '--listen', '[::]:8080', '--mode', 'echo']);
  return scene.start({ services: SERVICES, capture, resolver: { listen: [], reach: 'none', test: 'off' } });
}

/** Without owner tables, and with them: those the kernel guards itself. */
const ANYTHING = [
  'nft flush ruleset',
  'nft delete table inet weir_default',
  'nft flush chain inet weir_default out',
  'nft add rule inet weir_default pre counter drop',
];
const ROUTING = [
  'ip rule del pref 9500',
  'ip rule del pref 32800; ip -6 rule del pref 32800',
  'ip route flush table 22497; ip -6 route flush table 22497',
  'ip route flush table 22498; ip -6 route flush table 22498',
  'ip rule flush; ip rule add pref 32766 lookup main; ip rule add pref 32767 lookup default',
];

describe.skipIf(requires('namespaces', 'nft', 'ipv6'))('drift of nft', () => {
  for (const [onCrash, commands] of [
    ['closed', [...ANYTHING, ...ROUTING]],
    ['open', ROUTING],
  ] as const) {
    test(`is mended within two seconds, on-crash ${onCrash}`, { timeout: 120_000 }, async () => {
      await using scene = await loadScene();
      const before = await scene.client.state();
      const weir = await start(scene, { 'on-crash': onCrash });
      const right = await stateOf(scene);
      await captured(scene);
      for (const [index, command] of commands.entries()) {
        const seen = logged(weir, 'drift repaired').length;
        await scene.client.check(['sh', '-ec', command]);
        const begun = Date.now();
        await expect.poll(() => logged(weir, 'drift repaired').length, { timeout: 6000 }).toBeGreaterThan(seen);
        const at = logged(weir, 'drift repaired')[seen]?.time;
        expect(new Date(at ?? 0).getTime() - begun, command).toBeLessThan(2000);
        expect(await stateOf(scene), command).toBe(right);
        await captured(scene);
        const { counters, drift } = await weir.admin.status();
        expect(counters['driftRepaired']).toBeGreaterThan(index);
        expect(counters['driftFound']).toBe(counters['driftRepaired']);
        expect(drift.last.length).toBeGreaterThan(0);
      }
      // Nobody touches anything any more, so that nothing is found any more.
      const found = logged(weir, 'somebody changed what Weir had set').length;
      await new Promise((resolve) => setTimeout(resolve, 2500));
      expect(logged(weir, 'somebody changed what Weir had set')).toHaveLength(found);
      expect((await weir.stop()).code).toBe(0);
      expect(await scene.client.state()).toBe(before);
    });
  }

  test('an owner table is out of reach of flush ruleset and delete table', { timeout: 60_000 }, async () => {
    await using scene = await loadScene();
    const weir = await start(scene, { 'on-crash': 'open' });
    await scene.client.check(['nft', 'flush', 'ruleset']);
    const removal = await scene.client.run(['nft', 'delete', 'table', 'inet', 'weir_default']);
    expect(removal.stderr).toContain('Operation not permitted');
    await new Promise((resolve) => setTimeout(resolve, 2500));
    await captured(scene);
    expect((await weir.admin.status()).counters['driftFound']).toBe(0);
  });

  test('living flows go on while drift is mended', { timeout: 60_000 }, async () => {
    await using scene = await loadScene();
    const weir = await start(scene, { 'on-crash': 'closed' });
    const held = TARGETS.map((target) =>
      runClients(scene.client, target, { mode: 'trickle', bytes: 20_000, timeoutMs: 20_000 }),
    );
    for (const command of ['nft flush ruleset', 'ip route flush table 22497', 'ip rule del pref 9500']) {
      const { counters } = await weir.admin.status();
      await scene.client.check(['sh', '-ec', command]);
      await expect
        .poll(async () => (await weir.admin.status()).counters['driftRepaired'], { timeout: 6000 })
        .toBeGreaterThan(counters['driftRepaired'] ?? 0);
    }
    for (const { outcomes } of await Promise.all(held)) expect(outcomes).toEqual({ eof: 1 });
  });

  test('on-drift: fail ends the run with exit code 5, and the host is put back', { timeout: 60_000 }, async () => {
    await using scene = await loadScene();
    const before = await scene.client.state();
    const weir = await start(scene, { 'on-drift': 'fail' });
    await scene.client.check(['ip', 'rule', 'del', 'pref', '9500']);
    expect((await weir.process.waitForExit(10_000)).code).toBe(5);
    expect(weir.process.stderr + weir.process.stdout).toContain('ip rule 9500');
    expect(await scene.client.state()).toBe(before);
  });

  test('on-drift: ignore leaves what others did', { timeout: 60_000 }, async () => {
    await using scene = await loadScene();
    const before = await scene.client.state();
    const weir = await start(scene, { 'on-drift': 'ignore' });
    await scene.client.check(['ip', 'rule', 'del', 'pref', '9500']);
    await new Promise((resolve) => setTimeout(resolve, 2500));
    expect(await scene.client.check(['ip', 'rule'])).not.toContain('9500');
    expect((await weir.admin.status()).counters['driftFound']).toBe(0);
    expect((await weir.stop()).code).toBe(0);
    expect(await scene.client.state()).toBe(before);
  });
});
