/** Processes chosen by control group: groups that are there, that come, and that come again. */
import { requires, startPeer, type TestHost, type WeirProcess } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import { loadScene, type LoadScene } from './load-scene.ts';

/** Groups are the whole machine's, also in private hosts. */
const GROUP = `weir-test-${process.pid}`;

/** A scene whose client host has control groups of version 2 in their usual place; the test's own are removed after it. */
async function groupScene(): Promise<LoadScene> {
  const scene = await loadScene();
  await scene.client.check(['mount', '-t', 'cgroup2', 'none', '/sys/fs/cgroup']);
  await scene.client.addRoute('203.0.113.0/24', { via: '10.1.0.1' });
  await scene.server.addAddress('lo', '203.0.113.7/32');
  await startPeer(scene.server, 'http-server', ['--listen', '203.0.113.7:80', '--name', 'real']);
  await startPeer(scene.server, 'http-server', ['--listen', '10.1.0.1:8080', '--name', 'upstream']);
  return {
    ...scene,
    async [Symbol.asyncDispose]() {
      await group(scene.client, 'remove').catch(() => undefined);
      await scene[Symbol.asyncDispose]();
    },
  };
}

async function group(host: TestHost, what: 'make' | 'remove'): Promise<void> {
  const folders = [`/sys/fs/cgroup/${GROUP}`, `/sys/fs/cgroup/${GROUP}/sub`];
  if (what === 'make') await host.check(['mkdir', ...folders]);
  else await host.check(['rmdir', ...folders.toReversed()]);
}

/** Who answers a request that a process of that group makes; without one, a process of the root group. */
async function answer(host: TestHost, path = ''): Promise<string> {
  const script = 'echo $$ > "/sys/fs/cgroup/$0/cgroup.procs"; exec curl -sS -m 5 http://203.0.113.7/';
  return (JSON.parse(await host.check(['sh', '-ec', script, path])) as { server: string }).server;
}

interface Mechanism {
  readonly name: string;
  readonly needs: string;
  /** Said in every configuration. */
  readonly config: object;
  /** What on-crash makes different in the rules. */
  readonly onCrash: readonly string[];
}

const MECHANISMS: readonly Mechanism[] = [
  { name: 'nft', needs: 'nft', config: { interceptor: 'nft' }, onCrash: ['open', 'closed'] },
  ...['nft', 'legacy'].map((variant) => ({
    name: `tproxy-iptables (${variant})`,
    needs: `iptables-${variant}`,
    config: { interceptor: 'tproxy-iptables', interceptors: { 'tproxy-iptables': { variant } } },
    onCrash: ['open'],
  })),
];

for (const { name, needs, config, onCrash } of MECHANISMS) {
  const start = (scene: LoadScene, capture: object): Promise<WeirProcess> => {
    const dialer = { type: 'direct', to: '10.1.0.1:8080' };
    return scene.start({
      ...config,
      services: [{ name: 'web', addresses: ['203.0.113.0/24'], ports: [80], dialer }],
      resolver: { listen: [], reach: 'none', test: 'off' },
      capture,
    });
  };

  describe.skipIf(requires('root', 'namespaces', needs, 'curl'))(`control groups, ${name}`, () => {
    for (const crash of onCrash) {
      test(`only: and what is below it, on-crash ${crash}`, { timeout: 60_000 }, async () => {
        await using scene = await groupScene();
        const { client } = scene;
        await group(client, 'make');
        const before = await client.state();
        const weir = await start(scene, { only: [`cgroup:/${GROUP}`], 'on-crash': crash });
        expect(await answer(client)).toBe('real');
        expect(await answer(client, GROUP)).toBe('upstream');
        expect(await answer(client, `${GROUP}/sub`)).toBe('upstream');
        await new Promise((resolve) => setTimeout(resolve, 2500));
        expect((await weir.admin.status()).counters['driftFound'], 'what is listed of it is no drift').toBe(0);
        expect((await weir.stop()).code).toBe(0);
        expect(await client.state()).toBe(before);
      });
    }

    test('except: only the group below is left alone', { timeout: 60_000 }, async () => {
      await using scene = await groupScene();
      const { client } = scene;
      await group(client, 'make');
      await start(scene, { except: [`cgroup:/${GROUP}/sub`] });
      expect(await answer(client)).toBe('upstream');
      expect(await answer(client, GROUP)).toBe('upstream');
      expect(await answer(client, `${GROUP}/sub`)).toBe('real');
    });

    test('a group may come later, go, and come again', { timeout: 60_000 }, async () => {
      await using scene = await groupScene();
      const { client } = scene;
      const weir = await start(scene, { only: [`cgroup:/${GROUP}`] });
      expect(await answer(client), 'nobody is in a group that is not there').toBe('real');
      for (const round of [1, 2]) {
        await group(client, 'make');
        await expect.poll(() => answer(client, GROUP), { timeout: 6000, message: `round ${round}` }).toBe('upstream');
        expect(await answer(client)).toBe('real');
        await group(client, 'remove');
      }
      expect((await weir.admin.status()).counters['driftFound']).toBe(0);
    });
  });
}
