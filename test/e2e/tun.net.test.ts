/** What only the tun mechanism has: a device that can vanish, packets of other sizes, fragments, few sources, a pump. */
import { clientArguments, datagramArguments, peerCommand, requires, runClients, startPeer } from '@weir/core/testing';
import { cpus } from 'node:os';
import { describe, expect, test } from 'vitest';
import { loadScene, scriptCommand, type LoadScene } from './load-scene.ts';

const soak = process.env['WEIR_SOAK'] === '1';

const TCP = {
  name: 'web',
  addresses: ['203.0.113.0/24'],
  ports: [80],
  dialer: { type: 'direct', to: '10.1.0.1:8080' },
};
const TCP6 = {
  ...TCP,
  name: 'web6',
  addresses: ['2001:db8:7::/48'],
  dialer: { type: 'direct', to: '[fd00:1::1]:8080' },
};
const UDP = {
  ...TCP,
  name: 'game',
  ports: [7000],
  protocols: ['udp'],
  dialer: { type: 'direct', to: '10.1.0.1:9000' },
};
const TARGETS = ['203.0.113.7:80', '[2001:db8:7::1]:80'];

/** Echo servers behind both captured prefixes. */
async function echo(made: LoadScene): Promise<void> {
  const listen = ['--listen', '10.1.0.1:8080', '--listen', '[fd00:1::1]:8080'];
  await startPeer(made.server, 'tcp-server', [...listen, '--mode', 'echo']);
}

function config(options: object = {}, over: object = {}): Record<string, unknown> {
  return {
    interceptor: 'tun',
    interceptors: { tun: options },
    resolver: { listen: [], reach: 'none', test: 'off' },
    services: [TCP, TCP6, UDP],
    ...over,
  };
}

describe.skipIf(requires('namespaces', 'tun', 'ipv6'))('tun', () => {
  test.each([
    ['super-packets at the MTU of a LAN', { mtu: 1500 }],
    ['no offload at the MTU of a LAN', { mtu: 1500, offload: 'off' }],
    ['no offload', { offload: 'off' }],
    ['the smallest MTU', { mtu: 1280 }],
  ])('%s: bytes and datagrams arrive unchanged', { timeout: 60_000 }, async (_, options) => {
    await using made = await loadScene();
    await echo(made);
    await made.server.spawn(scriptCommand('udp-echo', ['10.1.0.1', '9000'])).waitFor(/listening/);
    const weir = await made.start(config(options));
    const spread = await made.client.check(['cat', '/sys/class/net/weirtun0/queues/rx-0/rps_cpus']);
    expect(/^[0,]*$/.test(spread.trim()), 'packets are received by other processors, where there are any').toBe(
      cpus().length < 2,
    );
    for (const target of TARGETS) {
      const report = await runClients(made.client, target, { mode: 'exchange', bytes: 2 ** 21, timeoutMs: 30_000 });
      expect(report.outcomes).toEqual({ eof: 1 });
      expect(report.read).toBe(2 ** 21);
    }
    // 4,000 bytes are fragments where the MTU is less.
    const udp = await made.client.check(scriptCommand('udp-load', ['203.0.113.7', '7000', '5', '4', '4000']));
    expect(JSON.parse(udp)).toEqual({ right: 20, wrong: 0, lost: 0 });
    const { counters } = await weir.admin.status();
    expect(counters).toMatchObject({ droppedFragment: 0, droppedMalformed: 0, writeFailed: 0, natExhausted: 0 });
    expect(counters['natOpened']).toBeGreaterThan(6);
  });

  test('only flows of the chosen users are captured', { timeout: 60_000 }, async () => {
    await using made = await loadScene();
    await echo(made);
    await startPeer(made.server, 'udp-server', ['--listen', '10.1.0.1:9000', '--mode', 'echo']);
    await made.start(config({}, { capture: { only: ['uid:1000-1999'], except: ['uid:1500'] } }));
    const as = async (uid: number, argv: readonly string[]): Promise<unknown> => {
      const user = ['setpriv', '--reuid', String(uid), '--regid', String(uid), '--clear-groups'];
      return JSON.parse(await made.client.check([...user, ...argv], { timeoutMs: 20_000 }));
    };
    const datagram = peerCommand('udp-client', datagramArguments(['203.0.113.7:7000'], { timeoutMs: 2000 }));
    // The host has no route to the captured addresses, which tells who is captured from who is not.
    for (const [uid, isCaptured] of [
      [1000, true],
      [1999, true],
      [1500, false],
      [2000, false],
      [0, false],
    ] as const) {
      for (const target of TARGETS) {
        const client = peerCommand('tcp-client', clientArguments(target, { mode: 'exchange', timeoutMs: 5000 }));
        expect(await as(uid, client), `uid ${uid} to ${target}`).toMatchObject({
          outcomes: isCaptured ? { eof: 1 } : { ENETUNREACH: 1 },
        });
      }
      expect(await as(uid, datagram), `a datagram of uid ${uid}`).toMatchObject({ right: isCaptured ? 1 : 0 });
    }
  });

  test('a device that somebody removed is made again, and living flows go on', { timeout: 60_000 }, async () => {
    await using made = await loadScene();
    await echo(made);
    const weir = await made.start(config());
    const held = made.client.spawn(
      peerCommand('tcp-client', clientArguments(TARGETS[0] ?? '', { mode: 'hold', timeoutMs: 60_000 })),
    );
    await held.waitFor(/held/);
    for (const damage of ['ip link del weirtun0', 'ip link set weirtun0 down', 'ip addr flush dev weirtun0']) {
      await made.client.check(['sh', '-c', damage]);
      await expect
        .poll(
          async () => (await runClients(made.client, TARGETS[0] ?? '', { mode: 'exchange', timeoutMs: 2000 })).outcomes,
          {
            timeout: 15_000,
          },
        )
        .toEqual({ eof: 1 });
      await expect.poll(async () => (await weir.admin.status()).drift.repaired, { timeout: 5000 }).toBeGreaterThan(0);
    }
    held.stdin.end();
    await held.waitForExit();
    expect(held.stdout).toContain('"eof":1');
    const { code } = await weir.stop();
    expect(code).toBe(0);
  });

  test('killed with on-crash closed, what was captured stays blocked until cleanup', { timeout: 60_000 }, async () => {
    await using made = await loadScene();
    await echo(made);
    // The captured addresses are real ones too: without Weir they would be reached.
    await made.server.addAddress('lo', '203.0.113.7/32');
    await made.server.addAddress('lo', '2001:db8:7::1/128');
    await made.client.addRoute('203.0.113.0/24', { via: '10.1.0.1' });
    await made.client.addRoute('2001:db8:7::/48', { via: 'fd00:1::1' });
    await startPeer(made.server, 'tcp-server', [
      ...TARGETS.flatMap((target) => ['--listen', target]),
      '--mode',
      'echo',
    ]);
    const before = await made.client.state();
    const weir = await made.start(config({}, { capture: { 'on-crash': 'closed' } }));
    weir.process.kill('SIGKILL');
    await weir.process.waitForExit();
    for (const target of TARGETS) {
      const { outcomes } = await runClients(made.client, target, { mode: 'read', timeoutMs: 2000 });
      expect(outcomes).toEqual({ timeout: 1 });
    }
    expect((await weir.command('cleanup')).code).toBe(0);
    expect(await made.client.state()).toBe(before);
    for (const target of TARGETS) {
      expect((await runClients(made.client, target, { mode: 'exchange' })).outcomes).toEqual({ eof: 1 });
    }
  });

  test('hidden by WEIR_TUN=off, it says so', { timeout: 30_000 }, async () => {
    await using made = await loadScene();
    await echo(made);
    await expect(made.start(config(), { WEIR_TUN: 'off' })).rejects.toThrow(/WEIR_TUN=off/);
  });

  const flows = soak ? 200_000 : 5000;
  test(
    `${flows} flows out of one address, a part of them reset, leave nothing behind`,
    { timeout: soak ? 1_800_000 : 120_000 },
    async () => {
      await using made = await loadScene();
      await echo(made);
      const weir = await made.start(config({ 'nat-addresses': 1 }));
      let failed = 0;
      for (let done = 0; done < flows; done += 1000) {
        const mode = done % 2000 === 0 ? 'exchange' : 'reset';
        const report = await runClients(made.client, TARGETS[0] ?? '', {
          mode,
          count: 1000,
          parallel: 64,
          timeoutMs: 60_000,
        });
        const { eof = 0, closed = 0 } = report.outcomes as Record<string, number>;
        failed += 1000 - eof - closed;
      }
      expect(failed).toBe(0);
      const { counters } = await weir.admin.status();
      expect(counters).toMatchObject({ natExhausted: 0, writeFailed: 0, droppedUnknown: 0, denied: 0 });
      expect(counters['natOpened']).toBeGreaterThanOrEqual(flows);
      await expect.poll(async () => (await weir.admin.flows(10)).length, { timeout: 10_000 }).toBe(0);
    },
  );
});
