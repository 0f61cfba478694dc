/**
 * The scene of every compliance case: the host on which Weir runs, without default route, and one neighbour that plays
 * both the real hosts behind the captured prefixes and the upstreams that the configuration names instead. Clients run on
 * the host itself, or, for forwarded traffic, on a third one whose gateway it is.
 */
import { strict as assert } from 'node:assert';
import { TestNetwork } from '../netns.ts';
import type { HostProcess } from '../host-process.ts';
import { startPeer } from '../peers.ts';
import type { TestHost } from '../test-host.ts';
import { WeirProcess, type ConfigurationDocument, type WeirOptions, type WeirStart } from '../weir-process.ts';

/** The interceptor under test, and how Weir is run with it. */
export interface ComplianceEnvironment {
  readonly interceptor: string;
  /** argv of `weir`; default: this build's. */
  readonly command?: readonly string[];
  /** It captures nothing: clients connect to listeners. For {@link EXPLICIT_TCP_CASES}. */
  readonly explicit?: boolean;
  /** Forwarded traffic is captured only where the host passes packets on. */
  readonly needsForwarding?: boolean;
  /** Merged into every configuration, e.g. `plugins` or `interceptors`. */
  readonly config?: ConfigurationDocument;
}

/** One address family's half of the scene. */
export interface Side {
  readonly family: 4 | 6;
  /** The captured prefix, and the address in it that the clients use. */
  readonly prefix: string;
  readonly captured: string;
  /** Another address of the prefix. */
  readonly other: string;
  /** The neighbour's own address, where upstreams listen. */
  readonly upstream: string;
  /** `captured` and `upstream` as they stand in front of `:port`. */
  readonly capturedHost: string;
  readonly otherHost: string;
  readonly upstreamHost: string;
  readonly any: string;
}

export const SIDES: readonly Side[] = [
  {
    family: 4,
    prefix: '203.0.113.0/24',
    captured: '203.0.113.7',
    other: '203.0.113.200',
    upstream: '10.1.0.1',
    capturedHost: '203.0.113.7',
    otherHost: '203.0.113.200',
    upstreamHost: '10.1.0.1',
    any: '0.0.0.0',
  },
  {
    family: 6,
    prefix: '2001:db8:1::/48',
    captured: '2001:db8:1::7',
    other: '2001:db8:1::200',
    upstream: 'fd00:1::1',
    capturedHost: '[2001:db8:1::7]',
    otherHost: '[2001:db8:1::200]',
    upstreamHost: '[fd00:1::1]',
    any: '[::]',
  },
];

/** What an HTTP peer says about a request. */
export interface Seen {
  readonly server: string;
  readonly source: { readonly address: string; readonly port: number };
  readonly local: { readonly address: string; readonly port: number };
}

function listenerOf({ family }: Pick<Side, 'family'>, port: number): string {
  return `${family === 4 ? '127.0.0.1' : '[::1]'}:${1000 + port}`;
}

/** A service of one prefix and one port, with the listener that clients of an explicit mechanism connect to. */
function withListener(service: {
  readonly addresses: readonly string[];
  readonly ports: readonly number[];
}): typeof service & { readonly listen: string } {
  const [address = ''] = service.addresses;
  const [port = 0] = service.ports;
  return { ...service, listen: listenerOf({ family: address.includes(':') ? 6 : 4 }, port) };
}

/** Where the clients are: on the host of Weir, or behind it. */
export type StageScope = 'output' | 'forward';

export interface StageOptions {
  /** The captured prefixes also have a real route to the neighbour. Default false: no route at all. */
  readonly routed?: boolean;
  /** Default `output`. */
  readonly scope?: StageScope;
  /** The host passes packets on (`ip_forward`). Default: in the scope `forward`, where there is a route. */
  readonly forwarding?: boolean;
}

/** Addresses of the client by scope and family. */
const CLIENTS: Readonly<Record<StageScope, Readonly<Record<4 | 6, string>>>> = {
  output: { 4: '10.1.0.2', 6: 'fd00:1::2' },
  forward: { 4: '10.2.0.2', 6: 'fd00:2::2' },
};

/** The device of the host by which the clients' packets come in, where they are forwarded. */
const LAN_DEVICE = 'lan0';

export class Stage implements AsyncDisposable {
  readonly environment: ComplianceEnvironment;
  readonly scope: StageScope;
  /** Where Weir runs: 10.1.0.2, fd00:1::2. */
  readonly host: TestHost;
  /** Where the clients run: the host, or behind it 10.2.0.2, fd00:2::2. */
  readonly client: TestHost;
  /** 10.1.0.1, fd00:1::1, and every address that the sides name as captured or other. */
  readonly neighbour: TestHost;
  readonly #network: TestNetwork;
  readonly #running: WeirProcess[] = [];

  private constructor(
    environment: ComplianceEnvironment,
    network: TestNetwork,
    scope: StageScope,
    hosts: Pick<Stage, 'host' | 'client' | 'neighbour'>,
  ) {
    this.environment = environment;
    this.#network = network;
    this.scope = scope;
    this.host = hosts.host;
    this.client = hosts.client;
    this.neighbour = hosts.neighbour;
  }

  static async create(environment: ComplianceEnvironment, options: StageOptions = {}): Promise<Stage> {
    const { routed = false, scope = 'output' } = options;
    const network = await TestNetwork.create();
    try {
      const passesOn = routed || environment.needsForwarding === true;
      const forwarding = options.forwarding ?? (scope === 'forward' && passesOn);
      const [host, neighbour, behind] = await Promise.all([
        network.host('host', { forwarding }),
        network.host('neighbour'),
        scope === 'forward' ? network.host('client') : undefined,
      ]);
      await network.link(host, neighbour, {
        ipv4: ['10.1.0.2/24', '10.1.0.1/24'],
        ipv6: ['fd00:1::2/64', 'fd00:1::1/64'],
      });
      await neighbour.addAddress(
        'lo',
        ...SIDES.flatMap(({ family, captured, other }) =>
          [captured, other].map((address) => `${address}/${family === 4 ? 32 : 128}`),
        ),
      );
      if (routed) await host.ip(SIDES.map(({ prefix, upstream }) => `route add ${prefix} via ${upstream}`));
      if (behind !== undefined) await putBehind(network, behind, host, neighbour);
      const client = behind ?? host;
      return new Stage(environment, network, scope, { host, client, neighbour });
    } catch (error) {
      await network[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Starts Weir with these services and whatever else the configuration should hold. */
  async weir(config: ConfigurationDocument, options: WeirStart = {}): Promise<WeirProcess> {
    const weir = await WeirProcess.start(this.host, this.weirOptions(config, options));
    this.#running.push(weir);
    return weir;
  }

  /** What {@link weir} starts with, for cases that start it themselves. */
  weirOptions(config: ConfigurationDocument, options: WeirStart = {}): WeirOptions {
    const command = options.command ?? this.environment.command;
    return { ...options, ...(command ? { command } : {}), config: this.configuration(config) };
  }

  /** A configuration for the interceptor under test, quiet about names unless the case asks for them. */
  configuration(config: ConfigurationDocument): ConfigurationDocument {
    const { services } = config;
    return {
      interceptor: this.environment.interceptor,
      resolver: { listen: [], reach: 'none', test: 'off' },
      ...(this.scope === 'forward' ? { capture: { scopes: ['forward'], forward: { interfaces: [LAN_DEVICE] } } } : {}),
      ...this.environment.config,
      ...config,
      ...(this.environment.explicit && Array.isArray(services) ? { services: services.map(withListener) } : {}),
    };
  }

  /** Where clients connect to for a service of one of these ports: the captured address, or the service's listener. */
  target(side: Side, port = 80): string {
    return this.environment.explicit ? listenerOf(side, port) : `${side.capturedHost}:${port}`;
  }

  /** {@link target} of each side. */
  targets(port = 80): readonly string[] {
    return SIDES.map((side) => this.target(side, port));
  }

  /** The address from which a client's packets of that family come. */
  source({ family }: Pick<Side, 'family'>): string {
    return CLIENTS[this.scope][family];
  }

  /** A UDP server on the neighbour, at these endpoints. */
  async udp(name: string, endpoints: readonly string[], mode: 'echo' | 'seen' = 'seen'): Promise<HostProcess> {
    const listen = endpoints.flatMap((endpoint) => ['--listen', endpoint]);
    return startPeer(this.neighbour, 'udp-server', [...listen, '--name', name, '--mode', mode]);
  }

  /** An HTTP server on the neighbour; on every address it has. */
  async http(name: string, ...ports: readonly number[]): Promise<void> {
    const listen = ports.flatMap((port) => SIDES.flatMap(({ any }) => ['--listen', `${any}:${port}`]));
    await startPeer(this.neighbour, 'http-server', [...listen, '--name', name]);
  }

  /** What an HTTP server saw of a request from the client. @throws AssertionError when there was no answer. */
  async get(url: string, ...flags: readonly string[]): Promise<Seen> {
    const result = await this.client.run(['curl', '-sS', '-m', '10', ...flags, url]);
    assert.equal(result.code, 0, `curl ${url}: ${result.stderr}`);
    return JSON.parse(result.stdout) as Seen;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const weir of this.#running) await weir[Symbol.asyncDispose]();
    await this.#network[Symbol.asyncDispose]();
  }
}

/** The host of Weir becomes the client's only way to everywhere; the neighbour knows the way back. */
async function putBehind(network: TestNetwork, client: TestHost, host: TestHost, neighbour: TestHost): Promise<void> {
  await network.link(host, client, {
    ipv4: ['10.2.0.1/24', '10.2.0.2/24'],
    ipv6: ['fd00:2::1/64', 'fd00:2::2/64'],
    devices: [LAN_DEVICE, 'eth0'],
  });
  await client.ip(['route add default via 10.2.0.1', 'route add default via fd00:2::1']);
  await neighbour.ip(['route add 10.2.0.0/24 via 10.1.0.2', 'route add fd00:2::/64 via fd00:1::2']);
}
