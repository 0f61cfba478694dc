/** The chain of `auto` as it is built now, the switches that hide its members, and a host to run it on. */
import type { InterceptorDefinition, Plugin, SelectionEntry, SelectionReport } from '@weir/core';
import {
  type ConfigurationDocument,
  REQUIREMENTS,
  startPeer,
  type TestHost,
  TestNetwork,
  WeirProcess,
} from '@weir/core/testing';
import ebpfSklookup from '@weir/ebpf-sklookup';
import nft from '@weir/nft';
import proxy from '@weir/proxy';
import tproxyIptables from '@weir/tproxy-iptables';
import tun from '@weir/tun';

const PLUGINS: readonly Plugin[] = [nft, tproxyIptables, ebpfSklookup, tun, proxy];

/** What the tests look at, highest priority first. */
export const CHAIN: ReadonlyArray<Pick<InterceptorDefinition, 'id' | 'capabilities'>> = PLUGINS.flatMap(
  ({ interceptors = [] }) => interceptors,
)
  .filter(({ built }) => built !== false)
  .toSorted((a, b) => b.priority - a.priority);

export const TRANSPARENT: readonly string[] = CHAIN.filter(({ capabilities }) => capabilities.transparent).map(
  ({ id }) => id,
);

/** The groups of requirements that their members' own tests name. */
export const GROUPS: readonly string[] = TRANSPARENT.filter((id) => REQUIREMENTS.some(({ name }) => name === id));

/** Environment that makes a member see a machine on which it cannot work. */
const HIDING: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  nft: { WEIR_NFT_LIBRARY: 'off', WEIR_NFT_BINARY: 'off' },
  'tproxy-iptables': { WEIR_IPTABLES: 'off' },
  'ebpf-sklookup': { WEIR_SKLOOKUP: 'off' },
  tun: { WEIR_TUN: 'off' },
};

export function hide(ids: readonly string[]): Readonly<Record<string, string>> {
  return Object.assign({}, ...ids.map((id) => HIDING[id] ?? {})) as Readonly<Record<string, string>>;
}

/** Where the service's listener is, for when the chain ends at proxy. */
export const LISTENER = '127.0.0.1:9080';

export class Scene implements AsyncDisposable {
  /** 10.1.0.2, with a default route to the neighbour. */
  readonly host: TestHost;
  readonly #network: TestNetwork;

  private constructor(network: TestNetwork, host: TestHost) {
    this.#network = network;
    this.host = host;
  }

  /** The neighbour answers as `upstream` on port 8080 and, behind the captured prefix, as `real` on port 80. */
  static async create(): Promise<Scene> {
    const network = await TestNetwork.create();
    const host = await network.host('host');
    const neighbour = await network.host('neighbour');
    await network.link(host, neighbour, { ipv4: ['10.1.0.2/24', '10.1.0.1/24'] });
    await host.addRoute('default', { via: '10.1.0.1' });
    await neighbour.addAddress('lo', '203.0.113.7/32');
    await startPeer(neighbour, 'http-server', ['--listen', '10.1.0.1:8080', '--name', 'upstream']);
    await startPeer(neighbour, 'http-server', ['--listen', '203.0.113.7:80', '--name', 'real']);
    return new Scene(network, host);
  }

  /** @param interceptor a list means `auto` over exactly these */
  configuration(interceptor: string | readonly string[] = 'auto'): ConfigurationDocument {
    return {
      interceptor,
      resolver: { listen: [], reach: 'none', test: 'off' },
      timeouts: { drain: '1s' },
      services: [
        {
          name: 'web',
          addresses: ['203.0.113.0/24'],
          ports: [80],
          dialer: { type: 'direct', to: '10.1.0.1:8080' },
          listen: LISTENER,
        },
      ],
    };
  }

  start(env: Readonly<Record<string, string>> = {}, interceptor?: readonly string[]): Promise<WeirProcess> {
    return WeirProcess.start(this.host, { config: this.configuration(interceptor), env, args: ['--json'] });
  }

  /** `upstream` when the connection was captured, `real` when it was not. */
  async answers(url = 'http://203.0.113.7/'): Promise<string> {
    const { stdout, stderr } = await this.host.run(['curl', '-sS', '-m', '5', url]);
    return stdout === '' ? stderr : (JSON.parse(stdout) as { readonly server: string }).server;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#network[Symbol.asyncDispose]();
  }
}

/** `nft unsupported, proxy selected`. */
export function outcomes({ entries }: SelectionReport): string {
  return entries.map(({ interceptor, outcome }) => `${interceptor} ${outcome}`).join(', ');
}

export function entryOf({ entries }: SelectionReport, id: string): SelectionEntry {
  const found = entries.find(({ interceptor }) => interceptor === id);
  if (found === undefined) throw new Error(`${id} is not in the report: ${JSON.stringify(entries)}`);
  return found;
}
