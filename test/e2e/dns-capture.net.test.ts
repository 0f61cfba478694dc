/** `reach: capture`: queries to the host's own servers come to Weir, and no file is touched. */
import { requires, startPeer, WeirProcess, type ConfigurationDocument, type TestHost } from '@weir/core/testing';
import { statSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { loadScene, scriptCommand, type LoadScene } from './load-scene.ts';

/** Those that capture UDP, with the group of tests that they need. */
const MECHANISMS = [
  { id: 'nft', group: 'nft' },
  { id: 'tproxy-iptables', group: 'tproxy-iptables' },
  { id: 'ebpf-sklookup', group: 'bpf' },
  { id: 'tun', group: 'tun' },
];
const LISTEN = ['udp://127.0.0.1:5399', 'tcp://127.0.0.1:5399'];

function config(interceptor: string, resolver: Readonly<Record<string, unknown>> = {}): ConfigurationDocument {
  return {
    interceptor,
    log: { level: 'info', format: 'json', flows: 'closed' },
    resolver: { listen: LISTEN, test: 'fatal', ...resolver },
    services: [
      {
        name: 'web',
        addresses: ['web.internal', '*.apps.internal'],
        ports: [80],
        dialer: { type: 'direct', to: '10.1.0.1:9000' },
      },
    ],
  };
}

/** dnsmasq in the foreground. */
async function startDnsmasq(
  host: TestHost,
  addresses: readonly string[],
  ...options: readonly string[]
): Promise<void> {
  const fixed = ['-d', '-C', '/dev/null', '-R', '-h', '--bind-interfaces', '--pid-file=', '--log-facility=-'];
  const listen = addresses.map((address) => `--listen-address=${address}`);
  const dnsmasq = host.spawn(['dnsmasq', ...fixed, ...listen, ...options]);
  await expect.poll(() => dnsmasq.exit?.code ?? dnsmasq.stderr, { timeout: 8000 }).toMatch(/started, version/);
}

async function startScene(): Promise<LoadScene> {
  const scene = await loadScene();
  const { client, server } = scene;
  await server.addAddress('eth0', '10.1.0.3/24');
  await startPeer(server, 'http-server', ['--listen', '10.1.0.1:9000', '--name', 'the service']);
  await startPeer(server, 'http-server', ['--listen', '10.1.0.1:80', '--name', 'the real host']);
  const records = ['--host-record=real.example,10.1.0.1', '--local=/internal/', '--txt-record=real.example,told'];
  await startDnsmasq(server, ['10.1.0.1', '10.1.0.3', 'fd00:1::1'], ...records);
  await client.writeResolvConf('nameserver 10.1.0.1\nnameserver fd00:1::1\n');
  return scene;
}

async function dig(host: TestHost, ...question: readonly string[]): Promise<string> {
  return (await host.run(['dig', '+short', '+tries=1', '+time=3', ...question])).stdout.trim();
}

async function served(host: TestHost, url: string): Promise<string> {
  return (JSON.parse(await host.check(['curl', '-sS', '-m', '8', url])) as { server: string }).server;
}

describe.skipIf(requires('namespaces', 'curl', 'dig', 'dnsmasq'))('captured queries', () => {
  test.each(MECHANISMS.filter(({ group }) => !requires(group)))(
    '$id: UDP and TCP, of both families, found by auto; nothing is left of it; no file is written',
    { timeout: 120_000 },
    async ({ id }) => {
      await using scene = await startScene();
      const { client } = scene;
      const before = statSync(client.resolvConfPath, { bigint: true });
      for (const end of ['SIGTERM', 'SIGKILL'] as const) {
        const weir = await WeirProcess.start(client, { config: config(id) });
        const { resolver } = await weir.admin.status();
        expect(resolver).toMatchObject({ reach: 'capture', selfTest: 'passed' });
        expect(resolver.reachReason).toMatch(/resolv\.conf names 10\.1\.0\.1, fd00:1::1.*no file is changed/);
        for (const server of ['@10.1.0.1', '@fd00:1::1']) {
          expect(await dig(client, server, 'web.internal')).toMatch(/^100\./);
          expect(await dig(client, server, '+tcp', 'x.apps.internal', 'AAAA')).toMatch(/^fd64:/);
          expect(await dig(client, server, 'real.example', 'TXT')).toBe('"told"');
        }
        // Somebody else's server is nobody's business.
        expect(await dig(client, '@10.1.0.3', 'web.internal')).toBe('');
        expect(await served(client, 'http://web.internal/')).toBe('the service');
        expect(await served(client, 'http://real.example/')).toBe('the real host');
        // Queries are no flows that anybody wants to read of.
        const flows = await weir.ended(1);
        expect(flows.map(({ name }) => name)).toEqual(['web.internal']);
        weir.process.kill(end);
        await weir.process.waitForExit(60_000);
        await expect.poll(() => dig(client, '@10.1.0.1', 'web.internal'), { timeout: 8000 }).toBe('');
        expect(await dig(client, '@10.1.0.1', 'real.example')).toBe('10.1.0.1');
        await weir[Symbol.asyncDispose]();
      }
      const after = statSync(client.resolvConfPath, { bigint: true });
      expect([after.ino, after.mtimeNs, after.ctimeNs]).toEqual([before.ino, before.mtimeNs, before.ctimeNs]);
    },
  );

  test.skipIf(requires('nft'))(
    'follow the servers of a host that moves, and give no query away under load',
    { timeout: 120_000 },
    async () => {
      await using scene = await startScene();
      const { client } = scene;
      const weir = await scene.start(config('nft', { reach: 'capture' }));
      await client.writeResolvConf('nameserver 10.1.0.3\n');
      await expect
        .poll(() => dig(client, '@10.1.0.3', 'web.internal'), { timeout: 2000, interval: 100 })
        .toMatch(/^100\./);
      expect(await dig(client, '@10.1.0.1', 'web.internal')).toBe('');
      // Who is asked for other names has followed too.
      expect((await weir.admin.status()).resolver.upstreams).toEqual([{ address: '10.1.0.3', port: 53 }]);
      // Each from a port of its own.
      const asked = await client.check(
        scriptCommand('parallel-lookup', ['10.1.0.3', '53', 'go.apps.internal', '2000']),
      );
      expect(JSON.parse(asked)).toMatchObject({ both: 2000 });
      await client.writeResolvConf('');
      await expect.poll(() => weir.process.stderr, { timeout: 4000 }).toMatch(/names do not reach Weir/);
      await client.writeResolvConf('nameserver 10.1.0.1\n');
      await expect.poll(() => dig(client, '@10.1.0.1', 'web.internal'), { timeout: 4000 }).toMatch(/^100\./);
    },
  );

  test.skipIf(requires('nft', 'tun', 'bpf'))(
    'a resolver on loopback is captured by nft and is Weir’s upstream; others cannot, and auto goes on',
    { timeout: 180_000 },
    async () => {
      await using scene = await startScene();
      const { client } = scene;
      const original = 'nameserver 127.0.0.1\n';
      await client.writeResolvConf(original);
      await startDnsmasq(client, ['127.0.0.1'], '--server=10.1.0.1', '--host-record=stub.example,10.1.0.1');
      const weir = await WeirProcess.start(client, { config: config('nft') });
      expect((await weir.admin.status()).resolver).toMatchObject({ reach: 'capture', selfTest: 'passed' });
      expect(await served(client, 'http://web.internal/')).toBe('the service');
      expect(await served(client, 'http://real.example/')).toBe('the real host');
      expect(await dig(client, 'stub.example')).toBe('10.1.0.1');
      await weir.stop();
      await weir[Symbol.asyncDispose]();

      const listen = ['udp://127.0.0.54:53', 'tcp://127.0.0.54:53'];
      for (const id of ['tun', 'ebpf-sklookup']) {
        const other = await WeirProcess.start(client, { config: config(id, { listen }) });
        const { resolver } = await other.admin.status();
        expect(resolver).toMatchObject({ reach: 'resolv-conf', selfTest: 'passed' });
        expect(resolver.reachReason).toContain(`127.0.0.1 is left out: ${id} cannot capture addresses of this host`);
        await other.stop();
        await other[Symbol.asyncDispose]();
        expect(await client.readResolvConf()).toBe(original);
      }
    },
  );

  test.skipIf(requires('nft'))(
    'what NAT takes elsewhere is found out by auto, which goes on to resolv.conf',
    { timeout: 120_000 },
    async () => {
      await using scene = await startScene();
      const { client } = scene;
      const original = 'nameserver 127.0.0.12\n';
      await client.writeResolvConf(original);
      // As Docker does with its own: another port, and nothing on port 53.
      await startDnsmasq(client, ['127.0.0.12'], '-p', '5353', '--server=10.1.0.1');
      writeFileSync(
        client.path('/run/nat.nft'),
        'table ip nat {\nchain out {\ntype nat hook output priority -100;\nip daddr 127.0.0.12 udp dport 53 dnat to 127.0.0.12:5353\n}\n}\n',
      );
      await client.check(['nft', '-f', '/run/nat.nft']);
      const weir = await WeirProcess.start(client, {
        config: config('nft', { listen: ['udp://127.0.0.1:53', 'tcp://127.0.0.1:53'] }),
      });
      const { resolver } = await weir.admin.status();
      expect(resolver).toMatchObject({ reach: 'resolv-conf', selfTest: 'passed' });
      expect(resolver.reachReason).toMatch(/nft did not capture a query of this host/);
      expect(await served(client, 'http://web.internal/')).toBe('the service');
      await weir.stop();
      await weir[Symbol.asyncDispose]();
      expect(await client.readResolvConf()).toBe(original);
    },
  );

  test.skipIf(requires('nft'))(
    'of other types are answered at the far side of a dialer where the service says so',
    { timeout: 60_000 },
    async () => {
      await using scene = await startScene();
      const { client, server } = scene;
      await startDnsmasq(server, ['10.1.0.1'], '-p', '5353', '--mx-host=web.internal,mail.far.example');
      const document = config('nft', {
        upstreams: ['system', { server: 'udp://192.0.2.53', for: ['web.internal'], dialer: 'far' }],
      });
      const [web] = document['services'] as readonly object[];
      await scene.start({
        ...document,
        dialers: { far: { type: 'direct', to: '10.1.0.1:5353' } },
        services: [{ ...web, resolve: 'upstream' }],
      });
      expect(await dig(client, 'web.internal', 'MX')).toBe('1 mail.far.example.');
      expect(await dig(client, 'web.internal')).toMatch(/^100\./);
      // No way round what is captured.
      expect(await dig(client, 'web.internal', 'HTTPS')).toBe('');
    },
  );
});
