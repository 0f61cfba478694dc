/** UDP on real traffic: sessions, replies from where the client wrote to, names, limits, idle ends. */
import { requires } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import { loadScene, openDescriptors, scriptCommand, type LoadScene } from './load-scene.ts';

const service = (over: object = {}) => ({
  name: 'game',
  addresses: ['203.0.113.0/24', '2001:db8:5::/48', 'game.internal'],
  ports: [7000],
  protocols: ['udp'],
  dialer: { type: 'direct', to: '10.1.0.1:9000' },
  ...over,
});

async function echo(scene: LoadScene, address = '10.1.0.1', port = 9000): Promise<void> {
  await scene.server.spawn(scriptCommand('udp-echo', [address, String(port)])).waitFor(/listening/);
}

async function load(scene: LoadScene, ...args: readonly (string | number)[]): Promise<unknown> {
  return JSON.parse(await scene.client.check(scriptCommand('udp-load', args.map(String)), { timeoutMs: 60_000 }));
}

describe.skipIf(requires('namespaces', 'nft'))('udp', () => {
  test(
    'IPv4 and IPv6, small and fragmented, answered from the address the client wrote to',
    { timeout: 60_000 },
    async () => {
      await using scene = await loadScene();
      await echo(scene);
      const weir = await scene.start({ services: [service()] });
      expect(await load(scene, '203.0.113.7', 7000, 50, 4, 64)).toEqual({ right: 200, wrong: 0, lost: 0 });
      expect(await load(scene, '2001:db8:5::7', 7000, 50, 4, 64)).toEqual({ right: 200, wrong: 0, lost: 0 });
      expect(await load(scene, '203.0.113.7', 7000, 5, 4, 4000)).toEqual({ right: 20, wrong: 0, lost: 0 });
      expect(await load(scene, '2001:db8:5::7', 7000, 5, 4, 4000)).toEqual({ right: 20, wrong: 0, lost: 0 });
      const flows = await weir.admin.flows(1000);
      expect(flows.length).toBe(110);
      expect(flows[0]).toMatchObject({
        protocol: 'udp',
        service: 'game',
        upstream: { address: '10.1.0.1', port: 9000 },
      });
      const { counters } = await weir.admin.status();
      expect(counters).toMatchObject({ datagramsUp: 440, datagramsDown: 440, datagramsDropped: 0 });
    },
  );

  test('by name, and a port that no service takes reaches nobody', { timeout: 60_000 }, async () => {
    await using scene = await loadScene();
    await echo(scene);
    await scene.start({ services: [service()] });
    const address = (await scene.client.check(['getent', 'ahostsv4', 'game.internal'])).split(' ')[0] ?? '';
    expect(await load(scene, address, 7000, 10, 2, 100)).toEqual({ right: 20, wrong: 0, lost: 0 });
    expect(await load(scene, address, 7001, 2, 1, 100)).toEqual({ right: 0, wrong: 0, lost: 2 });
  });

  test(
    'a wildcard of one client to two destinations, and two clients of one, are kept apart',
    { timeout: 60_000 },
    async () => {
      await using scene = await loadScene();
      await echo(scene, '10.1.0.1', 9000);
      await echo(scene, '10.1.0.1', 9001);
      const weir = await scene.start({
        services: [
          service(),
          service({ name: 'other', ports: [7001], dialer: { type: 'direct', to: '10.1.0.1:9001' } }),
        ],
      });
      const [one, two] = await Promise.all([
        load(scene, '203.0.113.7', 7000, 20, 5, 64),
        load(scene, '203.0.113.7', 7001, 20, 5, 64),
      ]);
      expect([one, two]).toEqual(Array(2).fill({ right: 100, wrong: 0, lost: 0 }));
      const flows = await weir.admin.flows(1000);
      expect(new Set(flows.map(({ source, original }) => `${source.port} ${original.port}`)).size).toBe(40);
    },
  );

  test(
    'idle sessions end, sessions over the limit are dropped and counted, no descriptor stays',
    { timeout: 60_000 },
    async () => {
      await using scene = await loadScene();
      await echo(scene);
      const weir = await scene.start({
        timeouts: { 'udp-idle': '1s' },
        limits: { 'udp-sessions': 30 },
        services: [service()],
      });
      const before = openDescriptors(weir.process.pid);
      expect(await load(scene, '203.0.113.7', 7000, 40, 1, 64)).toEqual({ right: 30, wrong: 0, lost: 10 });
      expect((await weir.admin.status()).counters['sessionLimit']).toBe(10);
      await expect.poll(async () => (await weir.admin.flows(100)).length, { timeout: 5000 }).toBe(0);
      // One may be the connection of the command that has just asked.
      await expect.poll(() => openDescriptors(weir.process.pid)).toBeLessThanOrEqual(before);
      const ended = await weir.ended(30);
      expect(
        ended.every(
          ({ protocol, outcome, bytesUp, bytesDown }) =>
            protocol === 'udp' && outcome === 'closed' && bytesUp === 64 && bytesDown === 64,
        ),
      ).toBe(true);
      expect(await load(scene, '203.0.113.7', 7000, 20, 2, 64)).toEqual({ right: 40, wrong: 0, lost: 0 });
    },
  );

  test(
    'a closed upstream port does not end the session: it answers when it is there',
    { timeout: 60_000 },
    async () => {
      await using scene = await loadScene();
      const weir = await scene.start({ services: [service()] });
      expect(await load(scene, '203.0.113.7', 7000, 1, 1, 64)).toEqual({ right: 0, wrong: 0, lost: 1 });
      expect((await weir.admin.status()).counters['datagramsRefused']).toBeGreaterThan(0);
      await echo(scene);
      expect(await load(scene, '203.0.113.7', 7000, 5, 2, 64)).toEqual({ right: 10, wrong: 0, lost: 0 });
    },
  );

  test('a drain does not wait for silent sessions', { timeout: 60_000 }, async () => {
    await using scene = await loadScene();
    await echo(scene);
    const before = await scene.client.state();
    const weir = await scene.start({ services: [service()] });
    await load(scene, '203.0.113.7', 7000, 20, 1, 64);
    const begun = Date.now();
    const { code } = await weir.stop();
    expect(code).toBe(0);
    expect(Date.now() - begun).toBeLessThan(8000);
    expect(await scene.client.state()).toBe(before);
  });
});
