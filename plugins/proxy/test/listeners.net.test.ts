/** The listeners of the proxy interceptor in a host: where flows go, who may come, and what a reload changes. */
import { clientArguments, peerCommand, requires, runClients, startPeer, WeirProcess } from '@weir/core/testing';
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { document, Scene, service } from './scene.ts';

const A = '127.0.0.1:9001';
const B = '127.0.0.1:9002';
/** How curl ends when it is reset, sooner or later. */
const CUT = [7, 56];

describe.skipIf(requires('namespaces', 'ipv6', 'nft', 'curl'))('listeners', () => {
  test('lead to one target each, an address, a name or `to`, over both families; the host is not changed', async () => {
    await using scene = await Scene.create();
    await scene.servers();
    const hosts = scene.host.path('/etc/hosts');
    writeFileSync(hosts, `${readFileSync(hosts, 'utf8')}\n10.1.0.1 one.internal\nfd00:1::1 one.internal\n`);
    const before = await scene.host.state();
    const weir = await scene.weir([
      service('address', 8001, A),
      { name: 'name', addresses: ['one.internal'], ports: [8001], listen: '[::1]:9001' },
      {
        name: 'elsewhere',
        addresses: ['*.internal', '203.0.113.0/24'],
        dialer: { type: 'direct', to: '[fd00:1::1]:8002' },
        listen: B,
      },
    ]);
    expect(await scene.asks(`http://${A}/`)).toBe('one');
    expect(await scene.asks('http://[::1]:9001/')).toBe('one');
    expect(await scene.asks(`http://${B}/`)).toBe('two');
    const records = await weir.ended(3);
    expect(records.map(({ service: name, interceptor, outcome }) => ({ name, interceptor, outcome }))).toEqual(
      ['address', 'name', 'elsewhere'].map((name) => ({ name, interceptor: 'proxy', outcome: 'closed' })),
    );
    expect(records[1]?.upstream).toEqual({ address: 'fd00:1::1', port: 8001 });
    expect(records[2]?.original).toEqual({ address: '127.0.0.1', port: 9002 });
    expect(await scene.host.state()).toBe(before);
    expect(scene.host.processes(), 'no keeper').toEqual([weir.process.pid]);
    const { selection } = await weir.admin.status();
    expect(selection).toMatchObject({ selected: 'proxy', transparent: false });
    expect((await weir.stop()).code).toBe(0);
    expect(await scene.host.state()).toBe(before);
    expect(weir.leftInStateDirectory()).toEqual([]);
  });

  test('are what the plan says', async () => {
    await using scene = await Scene.create();
    const weir = await scene.weir([service('one', 8001, A), service('two', 8002, '[::1]:9002')]);
    const plan = await weir.command('plan', '--json', '/run/weir-test/default.yaml');
    const { steps } = JSON.parse(plan.stdout) as { steps: readonly { tool: string; text: string }[] };
    expect(steps.map(({ tool }) => tool)).toEqual(['listen']);
    const planned = steps[0]?.text.split('\n').filter((line) => line !== '');
    const sockets = await scene.host.check(['ss', '-Hltn']);
    const listening = sockets.split('\n').flatMap((line) => line.trim().split(/\s+/)[3] ?? []);
    expect(planned?.map((line) => line.split(' ')[1]).toSorted()).toEqual(listening.toSorted());
  });

  test('a reload opens, closes, keeps and redirects; living flows go on', async () => {
    await using scene = await Scene.create();
    await scene.servers();
    await startPeer(scene.neighbour, 'tcp-server', ['--listen', '0.0.0.0:8080', '--mode', 'echo']);
    const echo = (listen: string) => service('echo', 8080, listen);
    const weir = await scene.weir([echo('127.0.0.1:9080'), service('web', 8001, A)]);
    const held = scene.host.spawn(
      peerCommand('tcp-client', clientArguments('127.0.0.1:9080', { mode: 'hold', count: 3, timeoutMs: 60_000 })),
    );
    await held.waitFor(/held 3\n/);

    await weir.reload(document([service('web', 8002, A), service('new', 8001, B)]));
    expect(await scene.asks(`http://${A}/`), 'the same listener, another target').toBe('two');
    expect(await scene.asks(`http://${B}/`), 'a new one').toBe('one');
    expect(await scene.asks('http://127.0.0.1:9080/'), 'one that is gone refuses').toBe(7);
    expect(held.exit, 'flows of a listener that is gone live').toBeUndefined();

    await weir.reload(document([service('web', 8002, '0.0.0.0:9001'), echo('127.0.0.1:9080')]));
    expect(await scene.asks('http://10.1.0.2:9001/', scene.neighbour), 'from loopback to all addresses').toBe('two');
    expect(await scene.asks(`http://${B}/`)).toBe(7);
    held.stdin.end();
    await held.waitForExit();
    expect(held.stdout).toContain('"outcomes":{"eof":3}');
  });

  test('a reload that cannot be had changes nothing', async () => {
    await using scene = await Scene.create();
    await scene.servers();
    await startPeer(scene.host, 'tcp-server', ['--listen', '127.0.0.1:9002', '--mode', 'silent']);
    const weir = await scene.weir([service('web', 8001, A)]);
    const refused = async (services: readonly object[], reason: RegExp) => {
      await expect(weir.reload(document(services))).rejects.toThrow(reason);
      expect(await scene.asks(`http://${A}/`)).toBe('one');
    };
    await refused(
      [service('web', 8002, A), service('taken', 8002, B)],
      /cannot listen on 127\.0\.0\.1:9002 \(tcp\) for taken: another process holds that port/,
    );
    await refused(
      [service('web', 8002, A, { addresses: ['10.1.0.0/24'] })],
      /the service web has more than one address/,
    );
    await refused([{ name: 'web', addresses: ['10.1.0.1'], ports: [8001] }], /no service has `listen:`/);
  });

  test('a service with `sources` refuses clients from elsewhere', async () => {
    await using scene = await Scene.create();
    await scene.servers();
    const weir = await scene.weir([
      service('four', 8001, '0.0.0.0:9001', { sources: ['10.1.0.1'] }),
      service('six', 8001, '[::]:9001', { sources: ['fd00:1::1/128'] }),
    ]);
    expect(await scene.asks('http://10.1.0.2:9001/', scene.neighbour)).toBe('one');
    expect(await scene.asks('http://[fd00:1::2]:9001/', scene.neighbour)).toBe('one');
    expect(await scene.asks('http://127.0.0.1:9001/')).toBeOneOf(CUT);
    expect(await scene.asks('http://[::1]:9001/')).toBeOneOf(CUT);
    const outcomes = (await weir.ended(4)).map(({ outcome }) => outcome);
    expect(outcomes).toEqual(['closed', 'closed', 'denied', 'denied']);
  });

  test('a dial that would come back to a listener is refused, whichever address leads there', async () => {
    await using scene = await Scene.create();
    await scene.servers();
    const loop = (name: string, listen: string, to: string) => ({
      name,
      addresses: ['10.1.0.1'],
      listen,
      dialer: { type: 'direct', to },
    });
    const weir = await scene.weir([
      loop('itself', A, A),
      loop('own', '0.0.0.0:9003', '10.1.0.2:9003'),
      loop('other', B, '127.0.0.2:9003'),
      loop('six', '[::]:9004', '[fd00:1::2]:9004'),
      loop('unspecified', '127.0.0.1:9005', '0.0.0.0:9003'),
      service('web', 8001, '127.0.0.1:9006'),
    ]);
    for (const url of [A, '127.0.0.1:9003', B, '[::1]:9004', '127.0.0.1:9005']) {
      expect(await scene.asks(`http://${url}/`), url).toBeOneOf(CUT);
    }
    expect((await weir.ended(5)).map(({ outcome }) => outcome)).toEqual(Array.from({ length: 5 }, () => 'dial-loop'));
    expect(await scene.asks('http://127.0.0.1:9006/')).toBe('one');
  });

  test('a drain refuses new flows at once and lets the living ones end', async () => {
    await using scene = await Scene.create();
    await startPeer(scene.neighbour, 'tcp-server', ['--listen', '0.0.0.0:8080', '--mode', 'echo']);
    const weir = await scene.weir([service('echo', 8080, A)], { timeouts: { drain: '30s' } });
    const held = scene.host.spawn(
      peerCommand('tcp-client', clientArguments(A, { mode: 'hold', count: 2, timeoutMs: 60_000 })),
    );
    await held.waitFor(/held 2\n/);
    const drained = weir.admin.drain();
    await expect
      .poll(async () => (await runClients(scene.host, A, { mode: 'read' })).outcomes, { timeout: 10_000 })
      .toEqual({ ECONNREFUSED: 1 });
    held.stdin.end();
    await held.waitForExit();
    expect(held.stdout).toContain('"outcomes":{"eof":2}');
    expect(await drained).toEqual({ remaining: 0 });
  });

  test('two instances cannot share a port unseen', async () => {
    await using scene = await Scene.create();
    await scene.weir([service('web', 8001, A)], { workers: 2 });
    await using second = WeirProcess.launch(scene.host, {
      config: document([service('web', 8001, A)], { owner: 'second', workers: 2 }),
    });
    expect((await second.process.waitForExit(20_000)).code).toBe(1);
    expect(second.process.stderr).toMatch(
      /weir: Weir cannot listen on 127\.0\.0\.1:9001 \(tcp\) for web: another process holds that port\.\n[^]*Find it with `ss/,
    );
  });
});
