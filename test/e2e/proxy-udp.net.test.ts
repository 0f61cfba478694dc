/** UDP listeners: by command line and by file, without any privilege and without capture. */
import { requires, runDatagrams, WeirProcess } from '@weir/core/testing';
import { writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { loadScene, scriptCommand } from './load-scene.ts';

const services = [
  { name: 'dns', addresses: ['10.1.0.1'], ports: [9000], protocols: ['udp'] },
  { name: 'both', addresses: ['10.1.0.1'], ports: [9001], protocols: ['tcp', 'udp'], listen: '127.0.0.1:8001' },
];

describe.skipIf(requires('namespaces'))('udp listeners', () => {
  test('carry datagrams to their service and answer from where they listen', { timeout: 60_000 }, async () => {
    await using scene = await loadScene();
    const { client, server } = scene;
    for (const port of ['9000', '9001']) {
      await server.spawn(scriptCommand('udp-echo', ['10.1.0.1', port])).waitFor(/listening/);
    }
    const load = async (port: string): Promise<unknown> =>
      JSON.parse(await client.check(scriptCommand('udp-load', ['127.0.0.1', port, '20', '5', '200'])));
    const all = { right: 100, wrong: 0, lost: 0 };

    writeFileSync(client.path('/run/weir.yaml'), JSON.stringify({ services }), { mode: 0o600 });
    const verb = ['proxy', 'dns:5300:udp'];
    await using byHand = WeirProcess.launch(client, { file: '/run/weir.yaml', verb });
    expect(await byHand.running()).toBe(true);
    expect(await load('5300')).toEqual(all);
    expect((await byHand.stop()).code).toBe(0);

    await scene.start({ interceptor: 'proxy', services });
    expect(await load('8001')).toEqual(all);
  });

  test('on all addresses they answer from the one that the client wrote to', { timeout: 60_000 }, async () => {
    await using scene = await loadScene();
    const { client, server } = scene;
    await server.spawn(scriptCommand('udp-echo', ['10.1.0.1', '9000'])).waitFor(/listening/);
    for (const address of ['10.1.0.3/24', '10.9.9.9/32', 'fd00:1::3/64', 'fd00:9::9/128']) {
      await client.addAddress(address.includes('/32') || address.includes('/128') ? 'lo' : 'eth0', address);
    }
    const target = { type: 'direct', to: '10.1.0.1:9000' };
    const common = { addresses: ['10.1.0.1'], ports: [9000], protocols: ['udp'], dialer: target };
    const weir = await scene.start({
      interceptor: 'proxy',
      services: [
        { name: 'four', ...common, listen: '0.0.0.0:8000' },
        { name: 'six', ...common, listen: '[::]:8006' },
      ],
    });
    const four = ['10.1.0.2', '10.1.0.3', '10.9.9.9'].map((address) => `${address}:8000`);
    const six = ['fd00:1::2', 'fd00:1::3', 'fd00:9::9'].map((address) => `[${address}]:8006`);
    // One socket writes to all of them in turn; udp-client wants each answer from the address it wrote to.
    for (const host of [client, server]) {
      for (const [targets, gateway] of [
        [four, '10.1.0.2'],
        [six, 'fd00:1::2'],
      ] as const) {
        const far = targets[2]?.includes('[') ? 'fd00:9::9/128' : '10.9.9.9/32';
        if (host === server) await server.check(['ip', 'route', 'add', far, 'via', gateway]);
        const report = await runDatagrams(host, targets, { count: 5, rounds: 3, timeoutMs: 2000 });
        expect(report, `${host.name} ${targets.join(' ')}`).toMatchObject({ right: 45, wrong: 0, lost: 0 });
      }
    }
    const local = await runDatagrams(client, ['127.0.0.1:8000', '127.0.0.9:8000'], { count: 2, timeoutMs: 2000 });
    expect(local).toMatchObject({ right: 4, wrong: 0, lost: 0 });
    const originals = (await weir.admin.flows(1000)).map(({ original }) => original.address);
    expect(new Set(originals)).toEqual(
      new Set(['10.1.0.2', '10.1.0.3', '10.9.9.9', 'fd00:1::2', 'fd00:1::3', 'fd00:9::9', '127.0.0.1', '127.0.0.9']),
    );
  });
});
