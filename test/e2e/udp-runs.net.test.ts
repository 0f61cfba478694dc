/** Runs of datagrams that the kernel joins (UDP_GRO) and cuts (UDP_SEGMENT): each arrives as it was sent, and alone. */
import { requires } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import { loadScene, scriptCommand, type LoadScene } from './load-scene.ts';

const service = (over: object = {}) => ({
  name: 'game',
  addresses: ['203.0.113.0/24', '2001:db8:5::/48'],
  ports: [7000],
  protocols: ['udp'],
  dialer: { type: 'direct', to: '10.1.0.1:9000' },
  ...over,
});

/** Runs, datagrams of a run, bytes of each, of the last. The longest is what 64 datagrams and 65,507 bytes allow. */
const SHAPES = [
  [20, 40, 1000, 1000],
  [20, 40, 1200, 1],
  [10, 64, 64, 63],
  [10, 2, 700, 699],
  [10, 45, 1452, 1452],
  [10, 64, 1, 1],
] as const;
/** With the empty one after each run. */
const DATAGRAMS = SHAPES.reduce((sum, [runs, count]) => sum + runs * (count + 1), 0);

async function load(scene: LoadScene, ...args: readonly (string | number)[]): Promise<unknown> {
  return JSON.parse(await scene.client.check(scriptCommand('run-load', args.map(String)), { timeoutMs: 60_000 }));
}

async function echo(scene: LoadScene, address = '10.1.0.1', most = 1452): Promise<void> {
  await scene.server.spawn(scriptCommand('run-echo', [address, '9000', String(most)])).waitFor(/listening/);
}

const right = (count: number) => ({ right: count, wrong: 0, lost: 0 });

async function allShapes(scene: LoadScene, address: string, port: number): Promise<void> {
  for (const [runs, count, bytes, tail] of SHAPES) {
    const what = `${address}: ${count} x ${bytes}, last ${tail}`;
    expect(await load(scene, address, port, runs, count, bytes, tail), what).toEqual(right(runs * (count + 1)));
  }
}

describe.skipIf(requires('namespaces', 'nft', 'ipv6'))('runs of datagrams', () => {
  test.each(['nft', 'proxy'] as const)(
    '%s: whole on their way, apart at its end',
    { timeout: 120_000 },
    async (how) => {
      await using scene = await loadScene();
      await echo(scene);
      await echo(scene, 'fd00:1::1');
      const six = service({
        name: 'six',
        addresses: ['2001:db8:6::/48'],
        dialer: { type: 'direct', to: '[fd00:1::1]:9000' },
      });
      const listen = (address: string) => (how === 'proxy' ? { listen: address } : {});
      const weir = await scene.start({
        interceptor: how,
        services: [service(listen('127.0.0.1:7000')), { ...six, ...listen('[::1]:7000') }],
      });
      const targets = how === 'proxy' ? ['127.0.0.1', '::1'] : ['203.0.113.7', '2001:db8:6::7'];
      for (const address of targets) await allShapes(scene, address, 7000);
      const { counters } = await weir.admin.status();
      const all = DATAGRAMS * targets.length;
      expect(counters).toMatchObject({ datagramsUp: all, datagramsDown: all, datagramsDropped: 0, sessionLimit: 0 });
      const runs = SHAPES.reduce((sum, [each]) => sum + each, 0) * targets.length;
      // The first of a point, or of a session, comes in pieces: it makes Weir ask for whole ones.
      expect(counters['datagramRunsUp']).toBeGreaterThan(runs * 0.9);
      expect(counters['datagramRunsUp']).toBeLessThanOrEqual(runs);
      // Transparent replies leave by a raw socket, which takes datagrams.
      if (how === 'nft') expect(counters['datagramRunsDown']).toBe(0);
      else expect(counters['datagramRunsDown']).toBeGreaterThan(runs * 0.5);
      // A point that hands over runs hands over single datagrams too, to sessions that it has and that it has not.
      const address = targets[0] ?? '';
      expect(await load(scene, address, 7000, 5, 7, 300, 9, 'singly')).toEqual(right(40));
      // The run that opens a session is longer than what may wait for one.
      expect(await load(scene, address, 7000, 1, 40, 1000, 10)).toEqual(right(41));
    },
  );

  test(
    'a listener on all addresses answers runs by the one that they came to, whichever worker has it',
    {
      timeout: 90_000,
    },
    async () => {
      await using scene = await loadScene();
      await echo(scene);
      const weir = await scene.start({
        interceptor: 'proxy',
        workers: 2,
        services: [service({ listen: '0.0.0.0:7000' }), service({ name: 'six', listen: '[::]:7001' })],
      });
      // Connected clients: a reply from another address never reaches them.
      for (const address of ['127.0.0.2', '10.1.0.2']) await allShapes(scene, address, 7000);
      for (const address of ['::1', 'fd00:1::2']) await allShapes(scene, address, 7001);
      const { counters } = await weir.admin.status();
      const all = DATAGRAMS * 4;
      expect(counters).toMatchObject({ datagramsUp: all, datagramsDown: all, datagramsDropped: 0 });
      const runs = SHAPES.reduce((sum, [each]) => sum + each, 0) * 4;
      expect(counters['datagramRunsDown']).toBeGreaterThan(runs * 0.5);
    },
  );

  test('tun carries them as the datagrams they are', { timeout: 60_000 }, async () => {
    await using scene = await loadScene();
    await echo(scene);
    const weir = await scene.start({ interceptor: 'tun', services: [service()] });
    await allShapes(scene, '203.0.113.7', 7000);
    const { counters } = await weir.admin.status();
    expect(counters).toMatchObject({ datagramsUp: DATAGRAMS, datagramsDown: DATAGRAMS, datagramsDropped: 0 });
  });

  test('where the way takes none whole, each datagram goes by itself', { timeout: 60_000 }, async () => {
    await using scene = await loadScene();
    await echo(scene, '10.1.0.1', 0);
    await scene.client.check(['ip', 'route', 'replace', '10.1.0.1/32', 'dev', 'eth0', 'mtu', '900']);
    const weir = await scene.start({ interceptor: 'proxy', services: [service({ listen: '127.0.0.1:7000' })] });
    expect(await load(scene, '127.0.0.1', 7000, 20, 40, 1200, 1)).toEqual(right(820));
    const before = (await weir.admin.status()).counters;
    // Runs whose datagrams are longer than the way's MTU are refused; fragments of one arrive.
    expect(before).toMatchObject({ datagramRunsUp: 0, datagramsUp: 820, datagramsDropped: 0 });
    expect(await load(scene, '127.0.0.1', 7000, 20, 40, 800, 1)).toEqual(right(820));
    expect((await weir.admin.status()).counters['datagramRunsUp']).toBe(20);
  });

  test('a tunnel gets them one by one', { timeout: 60_000 }, async () => {
    await using scene = await loadScene();
    await scene.server.spawn(scriptCommand('socks-relay', ['10.1.0.1', '1080', 'right', '0'])).waitFor(/listening/);
    const dialer = { type: 'socks5', address: '10.1.0.1:1080' };
    const weir = await scene.start({ services: [service({ dialer })] });
    for (const [runs, count, bytes, tail] of SHAPES.slice(0, 4)) {
      // What waits for the proxy's answer is bounded: the first datagram brings the association.
      const report = await load(scene, '203.0.113.7', 7000, runs, count, bytes, tail, 'greeting');
      expect(report, `${count} x ${bytes}`).toEqual(right(1 + runs * (count + 1)));
    }
    expect((await weir.admin.status()).counters).toMatchObject({ datagramRunsUp: 0, datagramsDropped: 0 });
  });
});
