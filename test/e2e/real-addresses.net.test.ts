/** `address: real`: names keep the addresses that upstreams know, and these are steered while the name has them. */
import { requires, startPeer, type HostProcess, type TestHost } from '@weir/core/testing';
import { writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { loadScene, type LoadScene } from './load-scene.ts';

type Records = Readonly<Record<string, readonly string[]>>;

function zoneText(records: Records): string {
  return Object.entries(records)
    .flatMap(([name, addresses]) => addresses.map((address) => `${address} ${name}\n`))
    .join('');
}

/** dnsmasq on the server host, whose answers hold for a second. */
async function startZone(
  { client, server }: LoadScene,
  records: Records,
): Promise<(records: Records) => Promise<void>> {
  await client.writeResolvConf('nameserver 10.1.0.1\n');
  writeFileSync(server.path('/run/zone'), zoneText(records));
  const options = ['-d', '-C', '/dev/null', '-R', '-h', '--bind-interfaces', '--pid-file=', '--log-facility=-'];
  const dnsmasq: HostProcess = server.spawn([
    'dnsmasq',
    ...options,
    '--listen-address=10.1.0.1',
    '--addn-hosts=/run/zone',
    '--local=/internal/',
    '--local-ttl=1',
  ]);
  await expect.poll(() => dnsmasq.stderr, { timeout: 8000 }).toMatch(/started, version/);
  return async (next) => {
    const read = dnsmasq.stderr.split('read /run/zone').length;
    writeFileSync(server.path('/run/zone'), zoneText(next));
    dnsmasq.kill('SIGHUP');
    await expect.poll(() => dnsmasq.stderr.split('read /run/zone').length, { timeout: 8000 }).toBeGreaterThan(read);
  };
}

async function dig(host: TestHost, ...question: readonly string[]): Promise<readonly string[]> {
  const { stdout } = await host.run(['dig', '+short', '+tries=1', '+time=4', ...question]);
  return stdout.trim().split('\n').toSorted();
}

async function served(host: TestHost, url: string): Promise<string> {
  return (JSON.parse(await host.check(['curl', '-4sS', '-m', '8', url])) as { server: string }).server;
}

const service = (name: string, address: string, more: Readonly<Record<string, unknown>> = {}) => ({
  name,
  addresses: [address],
  address: 'real',
  ports: [80],
  ...more,
});
const to = (port: number) => ({ dialer: { type: 'direct', to: `10.1.0.1:${port}` } });

describe.skipIf(requires('namespaces', 'nft', 'curl', 'dig', 'dnsmasq'))('real addresses', () => {
  test(
    'are answered once they are steered, followed when they change, and left when nobody names them',
    { timeout: 120_000 },
    async () => {
      await using scene = await loadScene();
      const { client, server } = scene;
      for (const last of [11, 12, 13]) {
        await server.addAddress('eth0', `10.1.0.${last}/24`);
        const listen = ['--listen', `10.1.0.${last}:80`, '--listen', `10.1.0.${last}:81`];
        await startPeer(server, 'http-server', [...listen, '--name', `host ${last}`]);
      }
      for (const port of [9001, 9002]) {
        await startPeer(server, 'http-server', ['--listen', `10.1.0.1:${port}`, '--name', `port ${port}`]);
      }
      const records: Records = {
        'moving.internal': ['10.1.0.11'],
        'own.internal': ['10.1.0.13'],
        'a.cdn.internal': ['10.1.0.13'],
        'trap.internal': ['127.0.0.1', '10.1.0.2'],
      };
      const change = await startZone(scene, records);
      const services = [
        service('moving', 'moving.internal', to(9001)),
        service('cdn', '*.cdn.internal', to(9002)),
        service('own', 'own.internal'),
        service('trap', 'trap.internal', to(9001)),
      ];
      const weir = await scene.start({ services, resolver: { test: 'fatal' } });
      expect(await dig(client, 'moving.internal')).toEqual(['10.1.0.11']);
      expect(await served(client, 'http://moving.internal/')).toBe('port 9001');
      // The port that no service wants is nobody's business, and no flow of Weir's.
      expect(await served(client, 'http://moving.internal:81/')).toBe('host 11');
      expect(await served(client, 'http://10.1.0.12/')).toBe('host 12');
      // Of two names on one address the exact one says more; its dialer goes where the client meant to.
      expect(await dig(client, 'a.cdn.internal')).toEqual(['10.1.0.13']);
      expect(await served(client, 'http://own.internal/')).toBe('host 13');
      expect(await served(client, 'http://a.cdn.internal/')).toBe('host 13');
      // What an upstream says does not take this host's own traffic.
      expect(await dig(client, 'trap.internal')).toEqual(['10.1.0.2', '127.0.0.1']);
      await startPeer(client, 'http-server', [
        '--listen',
        '127.0.0.1:80',
        '--listen',
        '10.1.0.2:80',
        '--name',
        'itself',
      ]);
      for (const address of ['127.0.0.1', '10.1.0.2'])
        expect(await served(client, `http://${address}/`)).toBe('itself');
      const flows = await weir.ended(3);
      expect(
        flows.map(({ name, service: taken, original, upstream }) => [name, taken, original.address, upstream?.address]),
      ).toEqual([
        ['moving.internal', 'moving', '10.1.0.11', '10.1.0.1'],
        ['own.internal', 'own', '10.1.0.13', '10.1.0.13'],
        ['own.internal', 'own', '10.1.0.13', '10.1.0.13'],
      ]);

      await change({ ...records, 'moving.internal': ['10.1.0.12'] });
      await expect.poll(() => dig(client, 'moving.internal'), { timeout: 4000 }).toEqual(['10.1.0.12']);
      expect(await served(client, 'http://moving.internal/')).toBe('port 9001');
      // Who still has the old one.
      expect(await served(client, 'http://10.1.0.11/')).toBe('port 9001');
      const names = JSON.parse((await weir.command('dns', 'names', '--json')).stdout) as Array<{ name: string }>;
      expect(names.find(({ name }) => name === 'moving.internal')).toMatchObject({
        real: ['10.1.0.11', '10.1.0.12'],
        services: ['moving'],
        configured: true,
      });
      const told = await weir.command('dns', 'query', 'moving.internal');
      expect(told.stdout).toMatch(/answered by real[^]*10\.1\.0\.12/);
      expect((await weir.admin.status()).resolver.counters).toMatchObject({ assigned: 0, realLimitHits: 0 });

      // As long as no upstream answers, what is known is answered.
      await server.check(['sh', '-c', 'ip link set eth0 down']);
      await new Promise((resolve) => setTimeout(resolve, 1500));
      expect(await weir.admin.query('moving.internal', 'A')).toMatchObject({
        answers: [{ data: '10.1.0.12', ttl: 5 }],
      });
      await server.check(['sh', '-c', 'ip link set eth0 up']);

      const [, ...others] = services;
      await weir.reload({
        interceptor: 'nft',
        services: [service('moving', 'moving.internal', { ...to(9001), address: 'assigned' }), ...others],
      });
      expect((await dig(client, 'moving.internal'))[0]).toMatch(/^100\./);
      await expect.poll(() => served(client, 'http://10.1.0.12/'), { timeout: 4000 }).toBe('host 12');
    },
  );

  test(
    'that a name no longer has stay steered while flows to them live, whoever asks for the name meanwhile',
    { timeout: 60_000 },
    async () => {
      await using scene = await loadScene();
      const { client, server } = scene;
      for (const last of [11, 12]) {
        await server.addAddress('eth0', `10.1.0.${last}/24`);
        await startPeer(server, 'http-server', ['--listen', `10.1.0.${last}:80`, '--name', `host ${last}`]);
      }
      await startPeer(server, 'http-server', ['--listen', '10.1.0.1:9001', '--name', 'port 9001']);
      const change = await startZone(scene, { 'moving.internal': ['10.1.0.11'] });
      const weir = await scene.start({
        services: [service('moving', 'moving.internal', to(9001))],
        resolver: { test: 'fatal', ttl: '1s', keep: '2s' },
      });
      expect(await dig(client, 'moving.internal')).toEqual(['10.1.0.11']);
      const flow = client.spawn(['bash', '-c', 'exec 3<>/dev/tcp/moving.internal/80; echo open; exec sleep 60']);
      await flow.waitFor(/open/);
      const living = async () => (await weir.admin.flows(99)).filter(({ name }) => name === 'moving.internal');
      await expect.poll(living).toMatchObject([{ original: { address: '10.1.0.11', port: 80 } }]);

      await change({ 'moving.internal': ['10.1.0.12'] });
      await expect.poll(() => dig(client, 'moving.internal'), { timeout: 4000 }).toEqual(['10.1.0.12']);
      // Longer than an address without flows stays.
      for (const until = performance.now() + 4500; performance.now() < until;) {
        expect(await served(client, 'http://moving.internal/')).toBe('port 9001');
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
      expect(await served(client, 'http://10.1.0.11/')).toBe('port 9001');
      expect(flow.exit).toBeUndefined();
      flow.kill('SIGKILL');
      const asked = async (): Promise<string> => {
        expect(await served(client, 'http://moving.internal/')).toBe('port 9001');
        return served(client, 'http://10.1.0.11/');
      };
      await expect.poll(asked, { timeout: 15_000, interval: 700 }).toBe('host 11');
      const [name] = await weir.admin.names(9);
      expect(name).toMatchObject({ name: 'moving.internal', real: ['10.1.0.12'] });
    },
  );

  test(
    'are bounded: one too many is SERVFAIL and counted, and nothing goes round Weir',
    { timeout: 60_000 },
    async () => {
      await using scene = await loadScene();
      const { client } = scene;
      const many = Array.from({ length: 20 }, (_, i) => `10.9.0.${i + 1}`);
      await startZone(scene, { 'many.internal': many, 'one.internal': ['10.9.1.1'], 'two.internal': ['10.9.1.2'] });
      const weir = await scene.start({
        services: [service('all', '*.internal', to(9001))],
        limits: { 'real-addresses': 17 },
        resolver: { test: 'fatal' },
      });
      expect(await dig(client, 'many.internal')).toHaveLength(16);
      expect(await dig(client, 'one.internal')).toEqual(['10.9.1.1']);
      expect(await client.check(['dig', '+tries=1', 'two.internal'])).toMatch(/status: SERVFAIL/);
      const { resolver } = await weir.admin.status();
      expect(resolver).toMatchObject({ realAddresses: 17 });
      expect(resolver.counters['realLimitHits']).toBeGreaterThanOrEqual(2);
      // IPv6 of a name that has none.
      expect(await client.check(['dig', '+tries=1', 'one.internal', 'AAAA'])).toMatch(/status: NOERROR[^]*ANSWER: 0/);
    },
  );
});
