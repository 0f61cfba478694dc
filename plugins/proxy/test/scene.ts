/** A host with Weir's listeners, and a neighbour with the real servers and with clients from elsewhere. */
import {
  startPeer,
  type TestHost,
  TestNetwork,
  WeirProcess,
  type ConfigurationDocument,
  type WeirStart,
} from '@weir/core/testing';

export class Scene implements AsyncDisposable {
  readonly host: TestHost;
  readonly neighbour: TestHost;
  readonly #network: TestNetwork;
  readonly #running: WeirProcess[] = [];

  private constructor(network: TestNetwork, host: TestHost, neighbour: TestHost) {
    this.#network = network;
    this.host = host;
    this.neighbour = neighbour;
  }

  /** 10.1.0.2 and fd00:1::2 are the host's addresses, 10.1.0.1 and fd00:1::1 the neighbour's. */
  static async create(): Promise<Scene> {
    const network = await TestNetwork.create();
    const host = await network.host('host', { resolvConfKind: 'file' });
    const neighbour = await network.host('neighbour');
    await network.link(host, neighbour, {
      ipv4: ['10.1.0.2/24', '10.1.0.1/24'],
      ipv6: ['fd00:1::2/64', 'fd00:1::1/64'],
    });
    return new Scene(network, host, neighbour);
  }

  /** HTTP servers on the neighbour that say which one they are: `one` on port 8001, `two` on 8002. */
  async servers(): Promise<void> {
    for (const [name, port] of [
      ['one', 8001],
      ['two', 8002],
    ] as const) {
      const listen = ['--listen', `0.0.0.0:${port}`, '--listen', `[::]:${port}`];
      await startPeer(this.neighbour, 'http-server', [...listen, '--name', name]);
    }
  }

  /** Runs the proxy interceptor for these services. */
  async weir(
    services: readonly object[],
    more: ConfigurationDocument = {},
    start: WeirStart = {},
  ): Promise<WeirProcess> {
    const weir = await WeirProcess.start(this.host, { ...start, config: document(services, more) });
    this.#running.push(weir);
    return weir;
  }

  /** Which server answers a request of the host or the neighbour, or curl's exit code, 7 when it is refused. */
  async asks(url: string, from: TestHost = this.host): Promise<string | number> {
    const { code, stdout } = await from.run(['curl', '-sS', '-m', '5', url]);
    return code === 0 ? (JSON.parse(stdout) as { server: string }).server : (code ?? -1);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const weir of this.#running) await weir[Symbol.asyncDispose]();
    await this.#network[Symbol.asyncDispose]();
  }
}

export function document(services: readonly object[], more: ConfigurationDocument = {}): ConfigurationDocument {
  return { interceptor: 'proxy', services, timeouts: { drain: '1s' }, ...more };
}

/** A service of one address of the neighbour. */
export function service(name: string, port: number, listen: string, more: object = {}): object {
  return { name, addresses: ['10.1.0.1'], ports: [port], listen, ...more };
}
