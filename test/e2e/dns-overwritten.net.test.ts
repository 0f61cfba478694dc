/** A resolv.conf that others write while Weir has it: noticed, counted, taken up again, and theirs is what is put back. */
import { requires, startPeer, WeirProcess, type TestHost } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import { loadScene } from './load-scene.ts';

function config(onDrift: string) {
  return {
    interceptor: 'nft',
    log: { level: 'info', format: 'json', flows: 'off' },
    capture: { 'on-drift': onDrift },
    resolver: { reach: 'resolv-conf', test: 'fatal' },
    services: [
      { name: 'web', addresses: ['web.internal'], ports: [80], dialer: { type: 'direct', to: '10.1.0.1:9000' } },
    ],
  };
}

const resolves = async (host: TestHost): Promise<boolean> =>
  (await host.run(['getent', 'ahostsv4', 'web.internal'])).code === 0;

describe.skipIf(requires('namespaces', 'nft', 'curl'))('an overwritten resolv.conf', () => {
  test(
    'is taken up again within two seconds, and what was written is what a stop and a kill put back',
    { timeout: 180_000 },
    async () => {
      await using scene = await loadScene();
      const { client } = scene;
      await startPeer(scene.server, 'http-server', ['--listen', '10.1.0.1:9000', '--name', 'the service']);
      await client.writeResolvConf('nameserver 10.1.0.1\nsearch first.example\n');
      for (const end of ['SIGTERM', 'SIGKILL'] as const) {
        const weir = await WeirProcess.start(client, { config: config('repair') });
        expect((await client.readResolvConf()).split('\n')[1]).toBe('nameserver 127.0.0.1');
        const foreign = `# by a DHCP client\nnameserver 10.1.0.9\nsearch ${end.toLowerCase()}.example\n`;
        await client.writeResolvConf(foreign);
        const text = () => client.readResolvConf();
        await expect
          .poll(text, { timeout: 2000, interval: 50 })
          .toMatch(/^# weir default[^]*^nameserver 127\.0\.0\.1$/m);
        expect(await text()).toMatch(new RegExp(`^search ${end.toLowerCase()}\\.example$`, 'm'));
        expect(await resolves(client)).toBe(true);
        await expect.poll(async () => (await weir.admin.status()).counters['driftRepaired'], { timeout: 4000 }).toBe(1);
        const status = await weir.admin.status();
        expect(status.drift.last).toEqual([
          { object: '/etc/resolv.conf', expected: expect.anything(), found: 'nameserver 10.1.0.9' },
        ]);
        expect(status.resolver.upstreams).toEqual([{ address: '10.1.0.9', port: 53 }]);
        expect(weir.process.stderr).toMatch(/somebody changed what Weir had set/);
        // An edit of Weir's own file: the lines of the edit stay, with the servers of the original.
        await client.writeResolvConf(`${await text()}options timeout:3\n`);
        await expect.poll(text, { timeout: 2000, interval: 50 }).toMatch(/^#< options timeout:3$/m);
        weir.process.kill(end);
        await weir.process.waitForExit(60_000);
        const wanted = `nameserver 10.1.0.9\nsearch ${end.toLowerCase()}.example\noptions timeout:3\n`;
        await expect.poll(text, { timeout: 15_000 }).toBe(wanted);
        await weir[Symbol.asyncDispose]();
      }
    },
  );

  test('ends Weir with exit 5 under fail, and is left alone under ignore', { timeout: 120_000 }, async () => {
    await using scene = await loadScene();
    const { client } = scene;
    const foreign = 'nameserver 10.1.0.9\n';
    for (const policy of ['fail', 'ignore']) {
      await client.writeResolvConf('nameserver 10.1.0.1\n');
      const weir = await WeirProcess.start(client, { config: config(policy) });
      await client.writeResolvConf(foreign);
      if (policy === 'fail') {
        expect((await weir.process.waitForExit(20_000)).code).toBe(5);
        expect(weir.process.stderr).toMatch(/no longer has what was set: \/etc\/resolv\.conf/);
      } else {
        await new Promise((resolve) => setTimeout(resolve, 2500));
        expect(await resolves(client)).toBe(false);
        await weir.stop();
      }
      expect(await client.readResolvConf()).toBe(foreign);
      await weir[Symbol.asyncDispose]();
    }
  });
});
