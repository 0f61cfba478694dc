/** UDP listeners: by command line and by file, without any privilege and without capture. */
import { requires, WeirProcess } from '@weir/core/testing';
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
});
