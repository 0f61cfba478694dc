/** UDP through SOCKS5 (RFC 1928, UDP ASSOCIATE): real proxies, and every way in which a relay can be wrong. */
import { requires, runDatagrams, startPeer, type HostProcess, type TestHost } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import { loadScene, openDescriptors, scriptCommand, type LoadScene } from './load-scene.ts';

const QUIET = { resolver: { reach: 'none', test: 'off' } };

const game = (dialer: unknown, port = 7000, name = 'game') => ({
  name,
  addresses: ['203.0.113.0/24', '2001:db8:5::/48', 'only-there.internal'],
  ports: [port],
  protocols: ['udp'],
  dialer,
});
const socks = (port: number, address = '10.1.0.1') => ({ type: 'socks5', address: `${address}:${port}` });

async function relay(scene: LoadScene, mode: string, port: number, argument = 0, address = '10.1.0.1') {
  const process = scene.server.spawn(scriptCommand('socks-relay', [address, String(port), mode, String(argument)]));
  await process.waitFor(/listening/);
  return process;
}

async function load(scene: LoadScene, ...args: readonly (string | number)[]): Promise<unknown> {
  return JSON.parse(await scene.client.check(scriptCommand('udp-load', args.map(String)), { timeoutMs: 60_000 }));
}

const right = (count: number) => ({ right: count, wrong: 0, lost: 0 });

/** How many control connections the relay has now. */
function controlsOf(process: HostProcess): number {
  return Number([...process.stdout.matchAll(/^(?:open|closed) (\d+)$/gm)].at(-1)?.[1] ?? 0);
}

const DANTE = `logoutput: stderr
internal: 10.1.0.1 port = 1080
external: lo
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 command: udpassociate udpreply }
`;

const V2RAY = JSON.stringify({
  log: { loglevel: 'warning' },
  inbounds: [{ port: 1080, listen: '10.1.0.1', protocol: 'socks', settings: { udp: true, ip: '10.1.0.1' } }],
  outbounds: [{ protocol: 'freedom' }],
});

async function proxyOf(server: TestHost, program: 'danted' | 'v2ray'): Promise<void> {
  await server.addAddress('lo', '203.0.113.7/32');
  await server.addAddress('lo', '203.0.113.8/32');
  await server.check([
    'sh',
    '-c',
    'cat /etc/hosts > /run/hosts; echo "203.0.113.8 only-there.internal" >> /run/hosts; mount --bind /run/hosts /etc/hosts',
  ]);
  await server.check(['sh', '-c', 'cat > /run/proxy.conf'], { input: program === 'danted' ? DANTE : V2RAY });
  const commands = { danted: ['danted', '-f', '/run/proxy.conf'], v2ray: ['v2ray', '-config', '/run/proxy.conf'] };
  server.spawn(commands[program]);
  const listening = 'for i in $(seq 200); do ss -lnt | grep -q 10.1.0.1:1080 && exit 0; sleep 0.05; done; exit 1';
  await server.check(['sh', '-c', listening]);
}

describe.skipIf(requires('namespaces', 'nft'))('udp through socks5', () => {
  test.skipIf(requires('root')).for(['danted', 'v2ray'] as const)(
    'through %s: by address and by a name that only the proxy can resolve',
    { timeout: 60_000 },
    async (program, { skip }) => {
      if (requires(program)) skip(`${program} is not installed`);
      await using scene = await loadScene();
      await proxyOf(scene.server, program);
      for (const address of ['203.0.113.7', '203.0.113.8']) {
        await startPeer(scene.server, 'udp-server', ['--listen', `${address}:7000`, '--mode', 'echo']);
      }
      const weir = await scene.start({ services: [game(socks(1080))], timeouts: { 'udp-idle': '1s' } });
      const before = openDescriptors(weir.process.pid);
      expect(await load(scene, '203.0.113.7', 7000, 20, 5, 300)).toEqual(right(100));
      const address = (await scene.client.check(['getent', 'ahostsv4', 'only-there.internal'])).split(' ')[0] ?? '';
      expect(await load(scene, address, 7000, 5, 3, 1200)).toEqual(right(15));
      const ended = await weir.ended(25);
      expect(
        ended.every(({ outcome, dialer, bytesUp, bytesDown }) => {
          return outcome === 'closed' && dialer === 'game#1' && bytesUp === bytesDown && [1500, 3600].includes(bytesUp);
        }),
        JSON.stringify(ended.slice(0, 3)),
      ).toBe(true);
      expect(ended.filter(({ name }) => name === 'only-there.internal').length).toBe(5);
      // With the sessions their control connections are gone.
      await expect.poll(() => openDescriptors(weir.process.pid), { timeout: 5000 }).toBeLessThanOrEqual(before);
      expect(await scene.client.check(['ss', '-Htn', 'state', 'established', 'dport = :1080'])).toBe('');
    },
  );

  test('names as names, IPv6 both ways, and a relay at the unspecified address', { timeout: 60_000 }, async () => {
    await using scene = await loadScene();
    const [here, six] = [await relay(scene, 'zero', 1080), await relay(scene, 'right', 1086, 0, 'fd00:1::1')];
    const weir = await scene.start({
      services: [game(socks(1080)), game({ type: 'socks5', address: '[fd00:1::1]:1086' }, 7006, 'six')],
    });
    const named = (await scene.client.check(['getent', 'ahostsv4', 'only-there.internal'])).split(' ')[0] ?? '';
    for (const [address, port] of [
      ['203.0.113.7', 7000],
      ['2001:db8:5::7', 7000],
      [named, 7000],
      ['203.0.113.7', 7006],
      ['2001:db8:5::7', 7006],
    ] as const) {
      expect(await load(scene, address, port, 5, 4, 100), `${address} ${port}`).toEqual(right(20));
    }
    // A proxy that has lost its power is missed although nothing is sent by these connections.
    const controls = await scene.client.check(['ss', '-Htno', 'dport = :1080']);
    expect(controls).not.toBe('');
    for (const each of controls.trim().split('\n')) expect(each).toContain('timer:(keepalive');
    const v4 = Buffer.from([203, 0, 113, 7]).toString('hex');
    const v6 = '20010db8000500000000000000000007';
    for (const destination of [`to ${v4} 7000`, `to ${v6} 7000`, 'to only-there.internal 7000']) {
      expect(here.stdout).toContain(destination);
    }
    expect(six.stdout).toContain(`to ${v4} 7006`);
    expect(six.stdout).toContain(`to ${v6} 7006`);
    // The largest datagram still fits with ten bytes in front; one byte more does not and is counted, alone.
    expect(await load(scene, '203.0.113.7', 7000, 1, 1, 65_497)).toEqual(right(1));
    const { counters } = await weir.admin.status();
    expect(counters).toMatchObject({
      datagramsUp: 101,
      datagramsDown: 101,
      datagramsDropped: 0,
      datagramsMalformed: 0,
    });
    expect(await load(scene, '203.0.113.7', 7000, 1, 1, 65_498)).toEqual({ right: 0, wrong: 0, lost: 1 });
    expect((await weir.admin.status()).counters).toMatchObject({ datagramsDropped: 1 });
  });

  test(
    'the session ends with its control connection, and the control connection with its session',
    { timeout: 60_000 },
    async () => {
      await using scene = await loadScene();
      const relays = [
        await relay(scene, 'hangup', 1080, 5),
        await relay(scene, 'reset', 1081, 5),
        await relay(scene, 'right', 1082),
      ];
      const weir = await scene.start({
        ...QUIET,
        services: relays.map((_, n) => game(socks(1080 + n), 7000 + n, `game${n}`)),
        timeouts: { 'udp-idle': '2s' },
      });
      const before = openDescriptors(weir.process.pid);
      for (const port of [7000, 7001, 7002]) {
        // The same client goes on after its association was ended: at most the datagram on its way is lost.
        const report = (await load(scene, '203.0.113.7', port, 1, 8, 64)) as { right: number; wrong: number };
        expect(report.right, `${port}`).toBeGreaterThanOrEqual(7);
        expect(report.wrong).toBe(0);
      }
      const ended = await weir.ended(5);
      const outcomes = (service: string) =>
        ended.filter((flow) => flow.service === service).map(({ outcome }) => outcome);
      expect(outcomes('game0')).toEqual(['closed', 'closed']);
      expect(outcomes('game1')).toEqual(['upstream-reset', 'closed']);
      expect(outcomes('game2')).toEqual(['closed']);
      for (const one of relays) await expect.poll(() => controlsOf(one)).toBe(0);
      // One may be the connection of the command that has just asked.
      await expect.poll(() => openDescriptors(weir.process.pid)).toBeLessThanOrEqual(before);
    },
  );

  test('fragments, half headers, foreign sources and noise are dropped and counted', { timeout: 60_000 }, async () => {
    await using scene = await loadScene();
    await relay(scene, 'fragments', 1080);
    await relay(scene, 'noise', 1081, 7);
    const weir = await scene.start({ ...QUIET, services: [game(socks(1080)), game(socks(1081), 7001, 'noise')] });
    expect(await load(scene, '203.0.113.7', 7000, 20, 5, 100)).toEqual(right(100));
    expect((await weir.admin.status()).counters).toMatchObject({ datagramsMalformed: 600, datagramsDown: 100 });
    expect(await load(scene, '203.0.113.7', 7001, 20, 5, 100)).toEqual(right(100));
    expect((await weir.admin.status()).counters).toMatchObject({ datagramsMalformed: 1400, datagramsDown: 200 });
  });

  const FAULTS: ReadonlyArray<readonly [mode: string, argument: number, outcome: string]> = [
    ['refuse', 7, 'dial-protocol'],
    ['refuse', 2, 'denied'],
    ['stall', 0, 'dial-timeout'],
    ['name', 0, 'dial-protocol'],
    ['portless', 0, 'dial-protocol'],
    ['chatty', 200_000, 'upstream-reset'],
  ];

  test(
    'what a relay refuses, forgets or floods ends the session, and the next dialer has its turn',
    { timeout: 60_000 },
    async () => {
      await using scene = await loadScene();
      const services = [];
      const dialers: Record<string, unknown> = { good: socks(1080) };
      await relay(scene, 'right', 1080);
      for (const [index, [mode, argument]] of FAULTS.entries()) {
        await relay(scene, mode, 2000 + index, argument);
        dialers[`bad${index}`] = socks(2000 + index);
        services.push(game(`bad${index}`, 3000 + index, `fault${index}`));
        services.push(game([`bad${index}`, 'good'], 4000 + index, `chain${index}`));
      }
      const weir = await scene.start({
        ...QUIET,
        dialers,
        services,
        timeouts: { connect: '2s', handshake: '1s', 'udp-idle': '2s' },
      });
      const before = openDescriptors(weir.process.pid);
      const ask = (port: number, timeoutMs: number) =>
        runDatagrams(scene.client, [`203.0.113.7:${port}`], { count: 5, timeoutMs });
      await Promise.all(
        FAULTS.map(async ([mode, argument, outcome], index) => {
          const what = `${mode} ${argument}`;
          const report = await ask(3000 + index, 500);
          if (mode !== 'chatty') expect(report, what).toMatchObject({ right: 0, lost: 5 });
          const outcomes = async () => {
            const flows = await weir.admin.recentFlows(1000);
            return [...new Set(flows.filter(({ service }) => service === `fault${index}`).map((flow) => flow.outcome))];
          };
          await expect.poll(outcomes, { message: what, timeout: 5000 }).toContain(outcome);
          if (mode !== 'chatty') expect(await ask(4000 + index, 4000), what).toMatchObject({ right: 5, lost: 0 });
        }),
      );
      await expect.poll(async () => (await weir.admin.flows(100)).length, { timeout: 8000 }).toBe(0);
      // One may be the connection of the command that has just asked.
      await expect.poll(() => openDescriptors(weir.process.pid)).toBeLessThanOrEqual(before);
    },
  );
});
