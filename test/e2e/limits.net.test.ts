/** Bounds, timeouts and the other relay: what happens at the edges, and that it is counted. */
import { requires, runClients, startPeer, type HostProcess, type TestHost } from '@weir/core/testing';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { loadScene, openDescriptors, scriptCommand } from './load-scene.ts';

const web = (dialer: unknown, ports: readonly number[] = [80], name = 'web') => ({
  name,
  addresses: ['203.0.113.0/24', 'web.internal'],
  ports,
  dialer,
});
const to = (port: number) => ({ type: 'direct', to: `10.1.0.1:${port}` });
const PLUGIN = fileURLToPath(new URL('./plugins/stream-dialers.ts', import.meta.url));

async function held(host: TestHost, count: number, port = 80): Promise<HostProcess> {
  const process = host.spawn(scriptCommand('held-connections', ['203.0.113.7', String(port), String(count)]));
  await process.waitFor(new RegExp(`held ${count}`), 30_000);
  return process;
}

describe.skipIf(requires('namespaces', 'nft', 'curl'))('limits', () => {
  test(
    'flows beyond the limit are reset and counted, and room that comes free is used',
    { timeout: 60_000 },
    async () => {
      await using scene = await loadScene();
      await startPeer(scene.server, 'tcp-server', ['--listen', '10.1.0.1:9000', '--mode', 'echo']);
      const weir = await scene.start({ limits: { flows: 50 }, services: [web(to(9000))] });
      const clients = await held(scene.client, 50);
      const over = await runClients(scene.client, '203.0.113.7:80', { mode: 'burst', count: 20, parallel: 20 });
      expect(over.outcomes).toEqual({ ECONNRESET: 20 });
      expect((await weir.admin.status()).counters['flowLimit']).toBe(20);
      clients.stdin.write('report\n');
      await clients.waitForExit();
      await expect.poll(async () => (await weir.admin.flows(100)).length).toBe(0);
      const after = await runClients(scene.client, '203.0.113.7:80', { mode: 'burst', count: 20, parallel: 20 });
      expect(after.outcomes).toEqual({ eof: 20 });
    },
  );

  test(
    'without descriptors new clients are reset, living flows go on, and it recovers',
    { timeout: 60_000 },
    async () => {
      await using scene = await loadScene();
      const { client } = scene;
      await startPeer(scene.server, 'tcp-server', ['--listen', '10.1.0.1:9000', '--mode', 'echo']);
      const weir = await scene.start({ services: [web(to(9000))] });
      const used = openDescriptors(weir.process.pid);
      const clients = await held(client, 20);
      await client.check(['prlimit', '--pid', String(weir.process.pid), `--nofile=${used + 60}:${used + 60}`]);
      const over = await runClients(client, '203.0.113.7:80', {
        mode: 'burst',
        count: 200,
        parallel: 200,
        timeoutMs: 8000,
      });
      expect(Object.keys(over.outcomes).toSorted()).toEqual(['ECONNRESET', 'eof']);
      expect(over.outcomes['ECONNRESET']).toBeGreaterThan(0);
      const { counters } = await weir.admin.status();
      expect((counters['descriptorLimit'] ?? 0) + (counters['dialLimit'] ?? 0)).toBeGreaterThan(0);
      const after = await runClients(client, '203.0.113.7:80', { mode: 'burst', count: 10, parallel: 1 });
      expect(after.outcomes).toEqual({ eof: 10 });
      clients.stdin.write('report\n');
      await clients.waitForExit();
      expect(clients.stdout).toContain('"alive":20');
    },
  );

  test('a half-closed flow without traffic ends after its own timeout', { timeout: 60_000 }, async () => {
    await using scene = await loadScene();
    await startPeer(scene.server, 'tcp-server', ['--listen', '10.1.0.1:9000', '--mode', 'silent']);
    const weir = await scene.start({ timeouts: { 'half-closed': '1s', idle: '1h' }, services: [web(to(9000))] });
    const report = await runClients(scene.client, '203.0.113.7:80', { mode: 'read', timeoutMs: 8000 });
    expect(report.outcomes).toEqual({ ECONNRESET: 1 });
    expect((await weir.ended(1)).map((flow) => flow.outcome)).toEqual(['half-closed-timeout']);
    expect((await weir.admin.status()).counters['halfClosedTimeout']).toBe(1);
  });

  test('four workers share the flows, and all of them are told', { timeout: 60_000 }, async () => {
    await using scene = await loadScene();
    await startPeer(scene.server, 'tcp-server', ['--listen', '10.1.0.1:9000', '--mode', 'echo']);
    const weir = await scene.start({ workers: 4, services: [web(to(9000))] });
    const clients = await held(scene.client, 200);
    const { workers, services } = await weir.admin.status();
    expect(workers.map(({ activeFlows }) => activeFlows > 10)).toEqual([true, true, true, true]);
    expect(services[0]).toMatchObject({ name: 'web', activeFlows: 200 });
    await weir.reload({ interceptor: 'nft', services: [web(to(9000), [80, 81])] });
    const report = await runClients(scene.client, '203.0.113.7:81', { mode: 'burst', count: 100, parallel: 20 });
    expect(report.outcomes).toEqual({ eof: 100 });
    clients.stdin.write('report\n');
    await clients.waitForExit();
    expect(clients.stdout).toContain('"alive":200');
  });

  test(
    'stream dialers: a Duplex and a descriptor, bursts, half-close, refusal, stall',
    { timeout: 60_000 },
    async () => {
      await using scene = await loadScene();
      await startPeer(scene.server, 'tcp-server', ['--listen', '10.1.0.1:9000', '--mode', 'echo']);
      const stream = (mode: string) => ({ type: 'test-stream', mode, address: '10.1.0.1', port: 9000 });
      const weir = await scene.start({
        plugins: [PLUGIN],
        timeouts: { connect: '1s' },
        services: [
          web(stream('duplex'), [80], 'duplex'),
          web(stream('socket'), [81], 'socket'),
          web(stream('broken'), [82], 'broken'),
          web(stream('stalled'), [83], 'stalled'),
        ],
      });
      const bursts = { mode: 'burst', bytes: 200_000, count: 50, parallel: 10 };
      const duplex = await runClients(scene.client, '203.0.113.7:80', bursts);
      expect(duplex).toMatchObject({ outcomes: { eof: 50 }, read: 50 * 200_000 });
      const socket = await runClients(scene.client, 'web.internal:81', bursts);
      expect(socket).toMatchObject({ outcomes: { eof: 50 }, read: 50 * (200_000 + 'to web.internal:81 '.length) });
      for (const port of [82, 83]) {
        expect((await runClients(scene.client, `203.0.113.7:${port}`, { mode: 'read' })).outcomes).toEqual({
          ECONNRESET: 1,
        });
      }
      const flows = await weir.ended(102);
      const of = (service: string) => flows.filter((flow) => flow.service === service);
      expect(of('duplex').map(({ relay, outcome, bytesUp }) => [relay, outcome, bytesUp])).toEqual(
        Array(50).fill(['stream', 'closed', 200_000]),
      );
      expect(
        new Set(of('socket').map(({ relay, outcome, bytesUp }) => `${relay === 'stream'} ${outcome} ${bytesUp}`)),
      ).toEqual(new Set(['false closed 200000']));
      expect(of('broken').map(({ outcome }) => outcome)).toEqual(['dial-unreachable']);
      expect(of('stalled').map(({ outcome }) => outcome)).toEqual(['dial-timeout']);
    },
  );

  test('on-crash closed: what was captured stays blocked until cleanup', { timeout: 60_000 }, async () => {
    await using scene = await loadScene();
    const { client, server } = scene;
    // The captured addresses are real ones too: without Weir they would be reached.
    await server.addAddress('lo', '203.0.113.7/32');
    await client.addRoute('203.0.113.0/24', { via: '10.1.0.1' });
    await startPeer(server, 'http-server', ['--listen', '203.0.113.7:80', '--name', 'in the clear']);
    await startPeer(server, 'http-server', ['--listen', '10.1.0.1:9000', '--name', 'carried']);
    const before = await client.state();
    const weir = await scene.start({ capture: { 'on-crash': 'closed' }, services: [web(to(9000))] });
    expect(await client.check(['curl', '-sS', '-m', '3', 'http://203.0.113.7/'])).toContain('carried');
    weir.process.kill('SIGKILL');
    await weir.process.waitForExit();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect((await client.run(['curl', '-sS', '-m', '2', 'http://203.0.113.7/'])).code).not.toBe(0);
    expect((await client.run(['getent', 'ahosts', 'web.internal'])).code).not.toBe(0);
    expect((await weir.command('cleanup')).code).toBe(0);
    expect(await client.check(['curl', '-sS', '-m', '3', 'http://203.0.113.7/'])).toContain('in the clear');
    expect(await client.state()).toBe(before);
  });
});
