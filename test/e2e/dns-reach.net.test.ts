/** How the host's queries get to Weir, and that nothing of it is left: with a real systemd-resolved, and by the hosts file. */
import { findResolved, requires, startPeer, WeirProcess, type TestHost } from '@weir/core/testing';
import { appendFileSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { loadScene, type LoadScene } from './load-scene.ts';

const CONFIG = {
  interceptor: 'nft',
  log: { level: 'info', format: 'json', flows: 'off' },
  resolver: { test: 'fatal' },
  services: [
    {
      name: 'web',
      addresses: ['web.internal', '*.apps.internal'],
      ports: [80],
      dialer: { type: 'direct', to: '10.1.0.1:9000' },
    },
  ],
};

async function served(host: TestHost, url: string): Promise<string> {
  const text = await host.check(['curl', '-sS', '-m', '8', url]);
  return (JSON.parse(text) as { server: string }).server;
}

/** Puts systemd-resolved into a host, as a distribution has it: on the bus, and /etc/resolv.conf a link to its stub. */
async function startResolved(host: TestHost): Promise<{ status(): Promise<string>; path: string }> {
  const found = findResolved();
  if (found === undefined) throw new Error('systemd-resolved is missing');
  const root = found.daemon.replace('/lib/systemd/systemd-resolved', '');
  const script = `
set -e
mkdir -p /run/etc && cp -a /etc/. /run/etc/ 2>/dev/null || :
mount --bind /run/etc /etc
grep -q systemd-resolve /etc/passwd || echo 'systemd-resolve:x:996:996::/:/usr/sbin/nologin' >> /etc/passwd
grep -q systemd-resolve /etc/group || echo 'systemd-resolve:x:996:' >> /etc/group
mkdir -p /etc/dbus-1/system.d /etc/systemd /run/dbus /run/systemd/resolve
cp ${root}/usr/share/dbus-1/system.d/org.freedesktop.resolve1.conf /etc/dbus-1/system.d/
printf '[Resolve]\\nDNS=10.1.0.1\\nLLMNR=no\\nMulticastDNS=no\\nCache=yes\\n' > /etc/systemd/resolved.conf
chown 996:996 /run/systemd/resolve
umount /etc/resolv.conf 2>/dev/null || :
rm -f /etc/resolv.conf && ln -s /run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
dbus-daemon --system --fork --nopidfile
`;
  await host.check(['sh', '-c', script]);
  host.spawn([found.daemon]);
  const path = `${dirname(found.resolvectl)}:${process.env['PATH']}`;
  const wait = 'for i in $(seq 100); do resolvectl --no-pager dns >/dev/null 2>&1 && exit 0; sleep 0.1; done; exit 1';
  await host.check(['sh', '-c', wait], { env: { PATH: path } });
  const command =
    'resolvectl --no-pager status; cat /etc/resolv.conf /run/systemd/resolve/*.conf; ls -l /etc/resolv.conf; ls /run/systemd/resolve/netif 2>/dev/null || :';
  return { path, status: () => host.check(['sh', '-c', command], { env: { PATH: path } }) };
}

/** dnsmasq on the server host, which resolved asks when it does not ask Weir. */
async function startZone({ server }: LoadScene): Promise<void> {
  const options = [
    '-k',
    '-C',
    '/dev/null',
    '-R',
    '-h',
    '--listen-address=10.1.0.1',
    '--bind-interfaces',
    '--pid-file=',
  ];
  server.spawn(['dnsmasq', ...options, '--user=root', '--log-facility=-', '--host-record=real.example,10.1.0.1']);
  await server.check([
    'sh',
    '-c',
    'for i in $(seq 100); do ss -lnu | grep -q 10.1.0.1:53 && exit 0; sleep 0.05; done; exit 1',
  ]);
}

describe.skipIf(requires('namespaces', 'nft', 'curl', 'dnsmasq', 'systemd-resolved'))('systemd-resolved', () => {
  test(
    'asks Weir for all names while it runs, and is as it was after a stop and after a kill',
    { timeout: 180_000 },
    async () => {
      await using scene = await loadScene();
      const { client, server } = scene;
      await startPeer(server, 'http-server', ['--listen', '10.1.0.1:9000', '--name', 'the service']);
      await startPeer(server, 'http-server', ['--listen', '10.1.0.1:80', '--name', 'the real host']);
      await startZone(scene);
      const resolved = await startResolved(client);
      const env = { PATH: resolved.path };
      expect(await served(client, 'http://real.example/')).toBe('the real host');
      // From then on it says which of its servers it uses.
      const before = await resolved.status();

      for (const end of ['SIGTERM', 'SIGKILL'] as const) {
        const weir = await WeirProcess.start(client, { config: CONFIG, env });
        const status = await weir.admin.status();
        expect(status.resolver).toMatchObject({ reach: 'systemd-resolved', selfTest: 'passed' });
        expect(status.resolver.reachReason).toMatch(/kept by systemd-resolved|nsswitch/);
        expect(await served(client, 'http://web.internal/')).toBe('the service');
        expect(await served(client, 'http://a.b.apps.internal/')).toBe('the service');
        // Weir's upstream is whom resolved would have asked, and not resolved itself.
        expect(status.resolver.upstreams).toEqual([{ address: '10.1.0.1', port: 53 }]);
        expect(await served(client, 'http://real.example/')).toBe('the real host');
        expect(await resolved.status()).not.toBe(before);
        weir.process.kill(end);
        await weir.process.waitForExit(60_000);
        await expect.poll(() => resolved.status(), { timeout: 15_000, interval: 300 }).toBe(before);
        // Neither resolved nor anybody else remembers an address that leads nowhere now.
        expect((await client.run(['getent', 'ahostsv4', 'web.internal'])).code).toBe(2);
        expect(await served(client, 'http://real.example/')).toBe('the real host');
        await weir[Symbol.asyncDispose]();
      }
    },
  );

  test(
    'is captured behind its back where capture is asked for, by the bus too, and remembers nothing afterwards',
    { timeout: 180_000 },
    async () => {
      await using scene = await loadScene();
      const { client, server } = scene;
      await startPeer(server, 'http-server', ['--listen', '10.1.0.1:9000', '--name', 'the service']);
      await startPeer(server, 'http-server', ['--listen', '10.1.0.1:80', '--name', 'the real host']);
      await startZone(scene);
      const resolved = await startResolved(client);
      const env = { PATH: resolved.path };
      const config = { ...CONFIG, resolver: { ...CONFIG.resolver, reach: 'capture' } };
      const overBus = () => client.run(['resolvectl', 'query', '-4', '--legend=no', 'web.internal'], { env });
      // Also that the name does not exist is remembered, and must not be.
      expect((await overBus()).code).not.toBe(0);
      expect(await served(client, 'http://real.example/')).toBe('the real host');
      const before = await resolved.status();
      for (const end of ['SIGTERM', 'SIGKILL'] as const) {
        const weir = await WeirProcess.start(client, { config, env });
        const { resolver } = await weir.admin.status();
        expect(resolver).toMatchObject({ reach: 'capture', selfTest: 'passed' });
        expect(resolver.reachReason).toMatch(/systemd-resolved asks 10\.1\.0\.1/);
        expect((await overBus()).stdout).toMatch(/^web\.internal: 100\./);
        expect(await served(client, 'http://web.internal/')).toBe('the service');
        expect(await served(client, 'http://real.example/')).toBe('the real host');
        expect(await resolved.status()).toBe(before);
        weir.process.kill(end);
        await weir.process.waitForExit(60_000);
        await expect.poll(async () => (await overBus()).code, { timeout: 15_000, interval: 300 }).not.toBe(0);
        expect(await served(client, 'http://real.example/')).toBe('the real host');
        await weir[Symbol.asyncDispose]();
      }
    },
  );

  test('asked for by name where it is not is an error that says so', { timeout: 60_000 }, async () => {
    await using scene = await loadScene();
    const config = { ...CONFIG, resolver: { reach: 'systemd-resolved' } };
    const weir = WeirProcess.launch(scene.client, { config });
    const { code } = await weir.process.waitForExit(30_000);
    expect(code).toBe(1);
    expect(weir.process.stderr).toMatch(
      /systemd-resolved does not answer \(resolvectl is not installed\)\.\nStart it \(systemctl start/,
    );
    await weir[Symbol.asyncDispose]();
  });
});

describe.skipIf(requires('namespaces', 'nft', 'curl'))('the hosts file', () => {
  const exact = {
    ...CONFIG,
    resolver: { reach: 'hosts:///etc/hosts', test: 'fatal' },
    services: [{ ...CONFIG.services[0], addresses: ['web.internal', 'two.internal'] }],
  };

  test(
    'has the names while Weir runs, and is as it was after a stop, a kill and a clean-up; edits stay',
    { timeout: 180_000 },
    async () => {
      await using scene = await loadScene();
      const { client, server } = scene;
      await startPeer(server, 'http-server', ['--listen', '10.1.0.1:9000', '--name', 'the service']);
      // A host of its own has a hosts file of its own.
      await client.check([
        'sh',
        '-c',
        'mkdir -p /run/h && printf "127.0.0.1 localhost\\n# no end" > /run/h/hosts && mount --bind /run/h/hosts /etc/hosts',
      ]);
      const path = client.path('/etc/hosts');
      let before = readFileSync(path, 'latin1');
      for (const end of ['SIGTERM', 'SIGKILL', 'edited'] as const) {
        const weir = await WeirProcess.start(client, { config: exact });
        expect((await weir.admin.status()).resolver).toMatchObject({ reach: 'hosts' });
        expect(await served(client, 'http://web.internal/')).toBe('the service');
        expect(
          readFileSync(path, 'latin1')
            .split('\n')
            .filter((line) => line.endsWith(' # weir default')),
        ).toHaveLength(4);
        await weir.reload({
          ...exact,
          services: [{ ...exact.services[0], addresses: ['web.internal', 'three.internal'] }],
        });
        expect(readFileSync(path, 'latin1')).toMatch(/ three\.internal #/);
        expect(readFileSync(path, 'latin1')).not.toMatch(/ two\.internal #/);
        if (end === 'edited') {
          appendFileSync(path, '192.0.2.9 foreign\n');
          before = `${before}\n192.0.2.9 foreign\n`;
        }
        weir.process.kill(end === 'SIGKILL' ? 'SIGKILL' : 'SIGTERM');
        await weir.process.waitForExit(60_000);
        await expect.poll(() => readFileSync(path, 'latin1'), { timeout: 15_000 }).toBe(before);
        await weir[Symbol.asyncDispose]();
      }
    },
  );

  test(
    'is put back by weir cleanup when the keeper was killed as well, also without the state',
    { timeout: 180_000 },
    async () => {
      await using scene = await loadScene();
      const { client } = scene;
      await client.check([
        'sh',
        '-c',
        'mkdir -p /run/h && echo 127.0.0.1 localhost > /run/h/hosts && mount --bind /run/h/hosts /etc/hosts',
      ]);
      const path = client.path('/etc/hosts');
      const before = readFileSync(path, 'latin1');
      for (const withState of [true, false]) {
        const weir = await WeirProcess.start(client, { config: exact });
        // The keeper first, then Weir: both are children of nobody else.
        for (const pid of client.processes()) {
          if (readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('weir-keeper')) process.kill(pid, 'SIGKILL');
        }
        weir.process.kill('SIGKILL');
        await weir.process.waitForExit(10_000);
        await sleep(500);
        expect(readFileSync(path, 'latin1')).not.toBe(before);
        if (!withState) await client.check(['sh', '-c', 'rm -rf /run/weir']);
        const cleaned = await weir.command('cleanup');
        expect(cleaned.code).toBe(0);
        expect(cleaned.stdout).toMatch(/took Weir's names out of \/etc\/hosts/);
        expect(readFileSync(path, 'latin1')).toBe(before);
        await weir[Symbol.asyncDispose]();
      }
    },
  );

  test('has no place for patterns, and Weir says so', { timeout: 60_000 }, async () => {
    await using scene = await loadScene();
    const config = { ...CONFIG, resolver: { reach: 'hosts:///etc/hosts' } };
    const weir = WeirProcess.launch(scene.client, { config });
    expect((await weir.process.waitForExit(30_000)).code).toBe(2);
    expect(weir.process.stderr).toMatch(/patterns.*hosts file has no place for them/);
    await weir[Symbol.asyncDispose]();
  });
});
