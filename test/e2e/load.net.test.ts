/** The data plane under load and under faults: no byte lost, nothing hangs, everything bounded. */
import { runClients, requires, startPeer, type HostProcess, type TestHost } from '@weir/core/testing';
import { writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { loadScene, openDescriptors, residentBytes, scriptCommand } from './load-scene.ts';

const MiB = 2 ** 20;
const web = (ports: readonly (number | string)[], to: string, name = 'web') => ({
  name,
  addresses: ['203.0.113.0/24'],
  ports,
  dialer: { type: 'direct', to },
});

/** Starts a script that is spoken to by lines. */
async function script(host: TestHost, name: string, args: readonly string[], ready: RegExp): Promise<HostProcess> {
  const process = host.spawn(scriptCommand(name, args));
  await process.waitFor(ready, 60_000);
  return process;
}

async function lastLine(process: HostProcess): Promise<Record<string, unknown>> {
  await process.waitForExit(60_000);
  return JSON.parse(process.stdout.trim().split('\n').at(-1) ?? '') as Record<string, unknown>;
}

describe.skipIf(requires('namespaces', 'nft', 'curl'))('load', () => {
  test('data and FIN in one burst from both sides, 1,000 times', { timeout: 120_000 }, async () => {
    await using scene = await loadScene();
    const { client, server } = scene;
    const source = await startPeer(server, 'tcp-server', [
      '--listen',
      '10.1.0.1:9000',
      '--mode',
      'source',
      '--bytes',
      '3000',
    ]);
    const weir = await scene.start({ services: [web([80], '10.1.0.1:9000')] });
    const report = await runClients(client, '203.0.113.7:80', {
      mode: 'burst',
      bytes: 2000,
      count: 1000,
      parallel: 50,
    });
    expect(report.outcomes).toEqual({ eof: 1000 });
    expect(report.read).toBe(3000 * 1000);
    await source.waitForLines('end 2000', 1000);
    const flows = await weir.ended(1000);
    expect(flows.filter((flow) => flow.outcome !== 'closed')).toEqual([]);
    expect(flows.reduce((sum, flow) => sum + flow.bytesUp, 0)).toBe(2000 * 1000);
  });

  test('1 GiB each way unchanged, spliced', { timeout: 180_000 }, async () => {
    await using scene = await loadScene();
    const { client, server } = scene;
    await startPeer(server, 'http-server', ['--listen', '10.1.0.1:8080']);
    const weir = await scene.start({ services: [web([80], '10.1.0.1:8080')] });
    const direct = 'curl -sS http://10.1.0.1:8080/bytes?n=1073741824 | sha256sum';
    const captured = 'curl -sS http://203.0.113.7/bytes?n=1073741824 | sha256sum';
    const [real] = (await server.check(['sh', '-c', direct], { timeoutMs: 120_000 })).split(' ');
    const [down] = (await client.check(['sh', '-c', captured], { timeoutMs: 120_000 })).split(' ');
    expect(down).toBe(real);
    const upload = 'head -c 1073741824 /dev/zero | curl -sS -T - -X POST -H "Expect:" http://203.0.113.7/sink';
    const zeros = 'head -c 1073741824 /dev/zero | sha256sum';
    const sink = JSON.parse(await client.check(['sh', '-c', upload], { timeoutMs: 120_000 })) as Record<
      string,
      unknown
    >;
    const [expected] = (await server.check(['sh', '-c', zeros], { timeoutMs: 120_000 })).split(' ');
    expect(sink).toMatchObject({ length: 2 ** 30, sha256: expected });
    const flows = await weir.ended(2);
    expect(flows.map((flow) => [flow.relay, flow.outcome])).toEqual([
      ['splice', 'closed'],
      ['splice', 'closed'],
    ]);
    expect(flows[0]?.bytesDown).toBeGreaterThan(2 ** 30);
    expect(flows[1]?.bytesUp).toBeGreaterThan(2 ** 30);
  });

  test('1,000 clients that never read cost at most 16 MiB', { timeout: 120_000 }, async () => {
    await using scene = await loadScene();
    const { client, server } = scene;
    // Small socket buffers, so that what nobody reads does not fit into them.
    for (const host of [client, server]) {
      await host.setSysctl('net.ipv4.tcp_wmem', '4096 16384 65536');
      await host.setSysctl('net.ipv4.tcp_rmem', '4096 16384 65536');
    }
    await startPeer(server, 'tcp-server', ['--listen', '10.1.0.1:9000', '--mode', 'drain', '--bytes', String(MiB)]);
    const weir = await scene.start({ services: [web([80], '10.1.0.1:9000')] });
    // What the first flows bring in once: code, shared memory of the first slots.
    await runClients(client, '203.0.113.7:80', { mode: 'mute', count: 20, parallel: 20, timeoutMs: 1000 });
    const before = residentBytes(weir.process.pid);
    const descriptors = openDescriptors(weir.process.pid);
    const clients = runClients(client, '203.0.113.7:80', {
      mode: 'mute',
      count: 1000,
      parallel: 1000,
      timeoutMs: 25_000,
    });
    // Totals only: a list of a thousand flows would itself be memory of the process.
    const counters = async () => (await weir.admin.status()).counters;
    await expect.poll(async () => (await counters())['active'], { timeout: 15_000, interval: 500 }).toBe(1000);
    // Until every flow has filled what it may fill.
    let carried = 0;
    const settled = async () => {
      const before = carried;
      carried = (await counters())['bytesDown'] ?? 0;
      return carried > 0 && carried === before;
    };
    await expect.poll(settled, { timeout: 15_000, interval: 1000 }).toBe(true);
    const grown = residentBytes(weir.process.pid) - before;
    await clients;
    expect(carried).toBeGreaterThan(1000 * 16 * 1024);
    expect(grown).toBeLessThan(16 * MiB);
    await expect
      .poll(() => openDescriptors(weir.process.pid), { timeout: 10_000 })
      .toBeLessThanOrEqual(descriptors + 140);
  });

  test(
    '5,000 flows to an upstream that never answers leave a busy service its rate',
    { timeout: 120_000 },
    async () => {
      await using scene = await loadScene();
      const { client, server } = scene;
      await startPeer(server, 'tcp-server', ['--listen', '10.1.0.1:9000', '--mode', 'echo']);
      // SYNs to this port are dropped: nobody answers, not even with RST.
      const silence =
        'add table ip t; add chain ip t i { type filter hook input priority 0; }; add rule ip t i tcp dport 9009 drop';
      await server.check(['nft', silence]);
      const weir = await scene.start({
        timeouts: { connect: '4s' },
        services: [web([80], '10.1.0.1:9000', 'busy'), web([81], '10.1.0.1:9009', 'silent')],
      });
      const alone = await script(client, 'steady-requests', ['203.0.113.7', '80', '200'], /running/);
      await new Promise((resolve) => setTimeout(resolve, 2000));
      alone.stdin.end();
      const before = await lastLine(alone);
      const beside = await script(client, 'steady-requests', ['203.0.113.7', '80', '200'], /running/);
      const silent = await runClients(client, '203.0.113.7:81', { mode: 'burst', count: 5000, parallel: 2500 });
      beside.stdin.end();
      const during = await lastLine(beside);
      expect(before['failures']).toEqual({});
      expect(during['failures']).toEqual({});
      const rate = (report: Record<string, unknown>) => Number(report['done']) / Number(report['seconds']);
      expect(rate(during)).toBeGreaterThan(0.9 * rate(before));
      // Each was refused: at the limit at once, the others when their time was over.
      expect(silent.outcomes).toEqual({ ECONNRESET: 5000 });
      const { counters } = await weir.admin.status();
      expect(counters['dialTimeout']).toBeGreaterThanOrEqual(256);
      expect((counters['dialTimeout'] ?? 0) + (counters['dialLimit'] ?? 0)).toBe(5000);
    },
  );

  test(
    'a worker that throws resets its clients within 100 ms, and nobody else notices',
    { timeout: 60_000 },
    async () => {
      await using scene = await loadScene();
      const { client, server } = scene;
      await startPeer(server, 'tcp-server', ['--listen', '10.1.0.1:9000', '--mode', 'echo']);
      const document = {
        interceptor: 'nft',
        workers: 2,
        log: { level: 'error', format: 'json' },
        services: [web([80], '10.1.0.1:9000')],
      };
      writeFileSync(client.path('/run/embedded.json'), JSON.stringify(document));
      const weir = await script(client, 'embedded-weir', ['/run/embedded.json'], /"ready":true/);
      const descriptors = openDescriptors(weir.pid);
      const held = await script(client, 'held-connections', ['203.0.113.7', '80', '200'], /held 200/);
      held.stdin.write('mark\n');
      await held.waitFor(/marked/);
      weir.stdin.write('crash 0\n');
      await weir.waitFor(/crashed/);
      // New flows work at once, on both workers.
      const after = await runClients(client, '203.0.113.7:80', { mode: 'burst', count: 100, parallel: 10 });
      expect(after.outcomes).toEqual({ eof: 100 });
      held.stdin.write('report\n');
      const report = await lastLine(held);
      expect(report['ends']).toBe(0);
      expect(report['resets']).toBeGreaterThan(20);
      expect(report['alive']).toBe(200 - Number(report['resets']));
      expect(report['latest']).toBeLessThan(100);
      weir.stdin.write('flows\n');
      await weir.waitFor(/worker-died/);
      await expect.poll(() => openDescriptors(weir.pid), { timeout: 5000 }).toBeLessThanOrEqual(descriptors + 8);
      weir.stdin.write('stop\n');
      await weir.waitFor(/"stopped":true/);
    },
  );

  test('10,000 fresh wildcard names resolved and connected to at once', { timeout: 120_000 }, async () => {
    await using scene = await loadScene();
    const { client, server } = scene;
    await startPeer(server, 'tcp-server', ['--listen', '10.1.0.1:9000', '--mode', 'echo']);
    await scene.start({
      services: [{ name: 'apps', addresses: ['*.apps.internal'], dialer: { type: 'direct', to: '10.1.0.1:9000' } }],
    });
    const names = client.spawn(scriptCommand('fresh-names', ['apps.internal', '7000', '10000', '400']));
    expect(await lastLine(names)).toEqual({ right: 10_000, addresses: 10_000, failures: {} });
  });

  test('reloads under 200 connections a second: none fails, living flows go on', { timeout: 60_000 }, async () => {
    await using scene = await loadScene();
    const { client, server } = scene;
    await startPeer(server, 'tcp-server', ['--listen', '10.1.0.1:9000', '--mode', 'echo']);
    const keep = web([80], '10.1.0.1:9000');
    const weir = await scene.start({ services: [keep] });
    const held = await script(client, 'held-connections', ['203.0.113.7', '80', '20'], /held 20/);
    const steady = await script(client, 'steady-requests', ['203.0.113.7', '80', '200'], /running/);
    for (let round = 0; round < 12; round++) {
      const extra = round % 3 === 0 ? [] : [web([`${9000 + round}-${9100 + round}`], '10.1.0.1:9000', `extra${round}`)];
      const named = {
        name: 'named',
        addresses: [`r${round}.internal`],
        dialer: { type: 'direct', to: '10.1.0.1:9000' },
      };
      await weir.reload({ interceptor: 'nft', services: [...extra, keep, named] });
      await new Promise((resolve) => setTimeout(resolve, 150));
    }
    // A bad file keeps what there was.
    await expect(weir.reload({ interceptor: 'nft', services: [{ ...keep, ports: [70_000] }] })).rejects.toThrow();
    await weir.reload({ interceptor: 'nft', services: [{ ...keep, ports: [80, 81] }] });
    steady.stdin.end();
    const report = await lastLine(steady);
    expect(report['failures']).toEqual({});
    expect(report['done']).toBeGreaterThan(200);
    // The service that the held flows came by goes away, and they stay.
    await weir.reload({ interceptor: 'nft', services: [{ ...keep, name: 'other', ports: [8080] }] });
    held.stdin.write('mark\nreport\n');
    expect(await lastLine(held)).toMatchObject({ alive: 20, resets: 0, ends: 0 });
  });
});
