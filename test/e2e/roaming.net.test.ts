/** A host that moves: addresses, routes and nameservers change while Weir runs, and what it captures goes along. */
import {
  requires,
  startPeer,
  TestNetwork,
  WeirProcess,
  type ConfigurationDocument,
  type TestHost,
} from '@weir/core/testing';
import { describe, expect, test } from 'vitest';

/** A laptop between two networks; `a` is 10.1.0.1, `b` 10.2.0.1, and both serve 203.0.113.7. */
class Places implements AsyncDisposable {
  readonly #network: TestNetwork;
  readonly laptop: TestHost;
  readonly a: TestHost;
  readonly b: TestHost;
  #weir: WeirProcess | undefined;

  private constructor(network: TestNetwork, laptop: TestHost, a: TestHost, b: TestHost) {
    this.#network = network;
    this.laptop = laptop;
    this.a = a;
    this.b = b;
  }

  static async create(): Promise<Places> {
    const network = await TestNetwork.create();
    const [laptop, a, b] = [await network.host('laptop'), await network.host('a'), await network.host('b')];
    await network.link(laptop, a, { devices: ['eth0', 'eth0'] });
    await network.link(laptop, b, { devices: ['eth1', 'eth0'] });
    for (const [place, address] of [
      [a, '10.1.0.1'],
      [b, '10.2.0.1'],
    ] as const) {
      await place.addAddress('eth0', `${address}/24`);
      await place.addAddress('lo', '203.0.113.7/32');
      await startPeer(place, 'http-server', ['--listen', '0.0.0.0:80', '--name', place.name]);
    }
    return new Places(network, laptop, a, b);
  }

  /** The laptop is in that network, and in no other. */
  async move(to: 'a' | 'b'): Promise<void> {
    const [device, net] = to === 'a' ? ['eth0', '10.1.0'] : ['eth1', '10.2.0'];
    const script = `ip -4 address flush scope global; ip address add ${net}.2/24 dev ${device}; ip route add default via ${net}.1`;
    await this.laptop.check(['sh', '-ec', script]);
  }

  async weir(config: ConfigurationDocument): Promise<WeirProcess> {
    const document = {
      interceptor: 'nft',
      log: { level: 'info', format: 'json', flows: 'off' },
      resolver: { listen: [], reach: 'none', test: 'off' },
      timeouts: { connect: '1s' },
      ...config,
    };
    this.#weir = await WeirProcess.start(this.laptop, { config: document });
    return this.#weir;
  }

  /** Who answers a request from the laptop; `nobody` when it fails. */
  async answer(address: string): Promise<string> {
    const { code, stdout } = await this.laptop.run(['curl', '-sS', '-m', '3', `http://${address}/`]);
    return code === 0 ? (JSON.parse(stdout) as { server: string }).server : 'nobody';
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#weir?.[Symbol.asyncDispose]();
    await this.#network[Symbol.asyncDispose]();
  }
}

async function followed(weir: WeirProcess, changes: number): Promise<void> {
  const count = async () => (await weir.admin.status()).counters['hostChanges'];
  await expect.poll(count, { timeout: 6000 }).toBeGreaterThanOrEqual(changes);
}

async function originals(weir: WeirProcess, least: number): Promise<readonly string[]> {
  return (await weir.ended(least)).map(({ original }) => original.address);
}

describe.skipIf(requires('namespaces', 'nft', 'curl'))('roaming', () => {
  test('connected networks and the default route are followed', { timeout: 60_000 }, async () => {
    await using places = await Places.create();
    await places.move('a');
    const weir = await places.weir({ services: [{ name: 'all', addresses: ['0.0.0.0/0'], ports: [80] }] });
    expect(await places.answer('203.0.113.7')).toBe('a');
    expect(await places.answer('10.1.0.1')).toBe('a');
    expect(await places.answer('10.2.0.1')).toBe('nobody');
    expect(await originals(weir, 2), 'the connected network is left alone').toEqual(['203.0.113.7', '10.2.0.1']);
    await places.move('b');
    await followed(weir, 1);
    expect(await places.answer('203.0.113.7')).toBe('b');
    expect(await places.answer('10.2.0.1')).toBe('b');
    expect(await places.answer('10.1.0.1')).toBe('nobody');
    expect((await originals(weir, 4)).slice(2)).toEqual(['203.0.113.7', '10.1.0.1']);
    expect((await weir.admin.status()).counters['driftFound'], 'a move is no drift').toBe(0);
    expect((await weir.stop()).code).toBe(0);
  });

  test('without a default route, captured flows get the source that there is', { timeout: 60_000 }, async () => {
    await using places = await Places.create();
    await places.laptop.addAddress('eth0', '10.1.0.2/24');
    const weir = await places.weir({
      services: [
        { name: 'web', addresses: ['198.51.100.0/24'], ports: [80], dialer: { type: 'direct', to: '10.1.0.1:80' } },
      ],
    });
    expect(await places.answer('198.51.100.7')).toBe('a');
    // The kernel takes routes along whose source it is.
    await places.laptop.check([
      'sh',
      '-ec',
      'ip address del 10.1.0.2/24 dev eth0; sleep 1; ip address add 10.1.0.3/24 dev eth0',
    ]);
    await followed(weir, 2);
    expect(await places.answer('198.51.100.7')).toBe('a');
    const sources = (await weir.ended(2)).map(({ source }) => source.address);
    expect(sources[0]).toBe('10.1.0.2');
    expect(sources.at(-1)).toBe('10.1.0.3');
    expect((await weir.stop()).code).toBe(0);
  });

  test.skipIf(requires('dnsmasq', 'dig'))('upstreams follow resolv.conf', { timeout: 60_000 }, async () => {
    await using places = await Places.create();
    for (const [place, address] of [
      [places.a, '10.1.0.1'],
      [places.b, '10.2.0.1'],
    ] as const) {
      const options = ['-d', '-p', '53', `--listen-address=${address}`, '--bind-interfaces', '-R', '-h', '--pid-file='];
      place.spawn(['dnsmasq', ...options, `--address=/place.internal/${address}`]);
    }
    await places.move('a');
    await places.laptop.writeResolvConf('nameserver 10.1.0.1\n');
    const weir = await places.weir({
      services: [{ name: 'web', addresses: ['web.internal'], ports: [80] }],
      resolver: { listen: ['udp://127.0.0.1:53'], reach: 'none', test: 'off', upstreams: ['system'] },
    });
    const ask = () => places.laptop.check(['dig', '+short', '+tries=3', '+time=2', '@127.0.0.1', 'place.internal']);
    expect((await ask()).trim()).toBe('10.1.0.1');
    await places.move('b');
    await places.laptop.writeResolvConf('nameserver 10.2.0.1\n');
    await expect.poll(async () => (await ask()).trim(), { timeout: 10_000 }).toBe('10.2.0.1');
    expect(JSON.stringify((await weir.admin.status()).resolver.upstreams)).toContain('10.2.0.1');
  });
});
