/** Names on real traffic: what a service takes by name, what it leaves, and where a name's own address counts. */
import { requires, runClients, startPeer, type HostProcess, type TestHost } from '@weir/core/testing';
import { writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { loadScene, type LoadScene } from './load-scene.ts';

/** dnsmasq on the server host as the upstream of the client host; its records are a hosts file. */
class Zone {
  readonly #server: TestHost;
  readonly #dnsmasq: HostProcess;

  private constructor(server: TestHost, dnsmasq: HostProcess) {
    this.#server = server;
    this.#dnsmasq = dnsmasq;
  }

  static async start({ client, server }: LoadScene, records: Readonly<Record<string, string>>): Promise<Zone> {
    await client.writeResolvConf('nameserver 10.1.0.1\n');
    writeFileSync(server.path('/run/zone'), lines(records));
    // -d: in the foreground, and as whoever started it, since a user namespace has no other user.
    const options = ['-d', '-p', '53', '--listen-address=10.1.0.1', '--bind-interfaces', '-R', '-h', '--local-ttl=0'];
    // Names without records are NXDOMAIN and not refused, as on a public server.
    const files = ['--addn-hosts=/run/zone', '--pid-file=', '--local=/internal/', '--log-facility=-'];
    const dnsmasq = server.spawn(['dnsmasq', ...options, ...files]);
    await server.check([
      'sh',
      '-c',
      'for i in $(seq 100); do ss -lnu | grep -q 10.1.0.1:53 && exit 0; sleep 0.05; done; exit 1',
    ]);
    return new Zone(server, dnsmasq);
  }

  async change(records: Readonly<Record<string, string>>): Promise<void> {
    writeFileSync(this.#server.path('/run/zone'), lines(records));
    this.#dnsmasq.kill('SIGHUP');
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}

function lines(records: Readonly<Record<string, string>>): string {
  return Object.entries(records)
    .map(([name, address]) => `${address} ${name}\n`)
    .join('');
}

async function servedBy(host: TestHost, url: string): Promise<string> {
  const { server } = JSON.parse(await host.check(['curl', '-4sS', '-m', '8', url])) as { server: string };
  return server;
}

describe.skipIf(requires('namespaces', 'nft', 'curl', 'dnsmasq'))('names', () => {
  test('plain direct follows a real A record that changes between two connections', { timeout: 60_000 }, async () => {
    await using scene = await loadScene();
    const { client, server } = scene;
    for (const last of [11, 12]) {
      await server.addAddress('eth0', `10.1.0.${last}/24`);
      await startPeer(server, 'http-server', ['--listen', `10.1.0.${last}:80`, '--name', `host ${last}`]);
    }
    const zone = await Zone.start(scene, { 'moving.internal': '10.1.0.11' });
    const weir = await scene.start({ services: [{ name: 'moving', addresses: ['moving.internal'], ports: [80] }] });
    expect(await servedBy(client, 'http://moving.internal/')).toBe('host 11');
    await zone.change({ 'moving.internal': '10.1.0.12' });
    expect(await servedBy(client, 'http://moving.internal/')).toBe('host 12');
    const flows = await weir.ended(2);
    expect(flows.map(({ name, service, upstream }) => [name, service, upstream?.address])).toEqual([
      ['moving.internal', 'moving', '10.1.0.11'],
      ['moving.internal', 'moving', '10.1.0.12'],
    ]);
  });

  test(
    'a port that no service takes reaches the real host, or is reset where there is none',
    { timeout: 60_000 },
    async () => {
      await using scene = await loadScene();
      const { client, server } = scene;
      await startPeer(server, 'http-server', ['--listen', '10.1.0.1:81', '--name', 'the real host']);
      await startPeer(server, 'http-server', ['--listen', '10.1.0.1:9000', '--name', 'the service']);
      await Zone.start(scene, { 'real.internal': '10.1.0.1' });
      const dialer = { type: 'direct', to: '10.1.0.1:9000' };
      const weir = await scene.start({
        services: [{ name: 'web', addresses: ['real.internal', 'made-up.internal'], ports: [80], dialer }],
      });
      expect(await servedBy(client, 'http://real.internal/')).toBe('the service');
      expect(await servedBy(client, 'http://made-up.internal/')).toBe('the service');
      expect(await servedBy(client, 'http://real.internal:81/')).toBe('the real host');
      expect((await runClients(client, 'real.internal:82', { mode: 'read' })).outcomes).toEqual({ ECONNRESET: 1 });
      expect((await runClients(client, 'made-up.internal:81', { mode: 'read' })).outcomes).toEqual({ ECONNRESET: 1 });
      // In the order in which servers close, and where the machine is slow a client tries its second address as well.
      const ends = async () => {
        const flows = await weir.ended(5);
        const told = flows.map(({ name, original, service, outcome }) =>
          [`${name}:${original.port}`, service ?? 'none', outcome].join(' '),
        );
        return [...new Set(told)].toSorted();
      };
      await expect
        .poll(ends)
        .toEqual([
          'made-up.internal:80 web closed',
          'made-up.internal:81 none dial-unresolved',
          'real.internal:80 web closed',
          'real.internal:81 none closed',
          'real.internal:82 none dial-refused',
        ]);
    },
  );

  test('a name in `to:` is resolved by upstreams and never by Weir itself', { timeout: 60_000 }, async () => {
    await using scene = await loadScene();
    const { client, server } = scene;
    await startPeer(server, 'http-server', ['--listen', '10.1.0.1:9000', '--name', 'behind the name']);
    await Zone.start(scene, { 'loop.internal': '10.1.0.1' });
    // The service captures the very name it dials.
    const dialer = { type: 'direct', to: 'loop.internal:9000' };
    await scene.start({ services: [{ name: 'loop', addresses: ['loop.internal', '203.0.113.0/24'], dialer }] });
    expect(await servedBy(client, 'http://loop.internal/')).toBe('behind the name');
    expect(await servedBy(client, 'http://203.0.113.9/')).toBe('behind the name');
  });

  test('the most specific name wins, and a removed one is reached as without Weir', { timeout: 60_000 }, async () => {
    await using scene = await loadScene();
    const { client, server } = scene;
    for (const port of [80, 9001, 9002, 9003]) {
      await startPeer(server, 'http-server', ['--listen', `10.1.0.1:${port}`, '--name', `port ${port}`]);
    }
    await Zone.start(scene, { 'a.b.internal': '10.1.0.1' });
    const service = (name: string, address: string, port: number) => ({
      name,
      addresses: [address],
      ports: [80],
      dialer: { type: 'direct', to: `10.1.0.1:${port}` },
    });
    const [wide, narrow] = [service('wide', '*.internal', 9001), service('narrow', '*.b.internal', 9002)];
    const exact = service('exact', 'a.b.internal', 9003);
    const weir = await scene.start({ services: [wide, narrow, exact] });
    expect(await servedBy(client, 'http://a.b.internal/')).toBe('port 9003');
    expect(await servedBy(client, 'http://x.b.internal/')).toBe('port 9002');
    expect(await servedBy(client, 'http://x.internal/')).toBe('port 9001');
    const held = (await client.check(['getent', 'ahostsv4', 'a.b.internal'])).split(' ')[0];
    await weir.reload({ interceptor: 'nft', services: [wide, narrow] });
    expect(await servedBy(client, 'http://a.b.internal/')).toBe('port 9002');
    await weir.reload({ interceptor: 'nft', services: [{ ...wide, addresses: ['other.internal'] }] });
    expect(await servedBy(client, 'http://a.b.internal/')).toBe('port 80');
    // Who still has the old address is carried to the real host.
    expect(await servedBy(client, `http://${held}/`)).toBe('port 80');
  });

  test(
    'known names of another type are empty, unknown ones are forwarded, and nobody to ask is REFUSED',
    { timeout: 60_000 },
    async () => {
      await using scene = await loadScene();
      const { client } = scene;
      await Zone.start(scene, { 'elsewhere.internal': '10.1.0.77' });
      await scene.start({ services: [{ name: 'web', addresses: ['web.internal', '*.apps.internal'] }] });
      const ask = async (...question: readonly string[]): Promise<string> =>
        client.check(['dig', '+tries=1', '+time=3', ...question]);
      expect(await ask('web.internal', 'MX')).toMatch(/status: NOERROR[^]*ANSWER: 0/);
      expect(await ask('web.internal', 'A')).toMatch(/web\.internal\.\s+60\s+IN\s+A\s+100\./);
      expect(await ask('+tcp', 'x.y.apps.internal', 'AAAA')).toMatch(/60\s+IN\s+AAAA\s+fd64:7765:6972:/);
      expect(await ask('+short', 'elsewhere.internal')).toBe('10.1.0.77\n');
      expect(await ask('nobody.internal')).toMatch(/status: NXDOMAIN/);
      await scene.server.check(['ip', 'link', 'set', 'eth0', 'down']);
      expect(await ask('web.internal', 'A')).toMatch(/100\./);
      expect(await client.check(['dig', '+tries=1', '+time=9', 'unknown.example'])).toMatch(/status: REFUSED/);
    },
  );
});
