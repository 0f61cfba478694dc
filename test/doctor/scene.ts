/** A host to examine: `weir doctor` runs in it, and what it prints is applied to it. */
import {
  type ConfigurationDocument,
  TestNetwork,
  type TestHost,
  weirCommand,
  WeirProcess,
  type ResolvConfKind,
} from '@weir/core/testing';
import { mkdirSync, writeFileSync } from 'node:fs';

/** As `weir doctor --json` prints it. */
export interface Finding {
  readonly check: string;
  readonly severity: 'ok' | 'warning' | 'problem';
  readonly what: string;
  readonly remedy?: string;
  readonly command?: string;
  readonly setting?: { readonly key: string; readonly value: unknown };
}

export interface Report {
  readonly usable: boolean;
  readonly backends: ReadonlyArray<{ readonly interceptor: string; readonly verdict: string }>;
  readonly findings: readonly Finding[];
}

const FILE = '/run/weir-test/doctor.yaml';

export class Scene implements AsyncDisposable {
  readonly host: TestHost;
  /** What `weir doctor` is asked about, and `weir run` runs. */
  config: ConfigurationDocument = {
    limits: { flows: 1000, 'udp-sessions': 1000 },
    services: [{ name: 'web', addresses: ['203.0.113.0/24'], ports: [80], dialer: 'reset' }],
  };
  readonly #network: TestNetwork;

  private constructor(network: TestNetwork, host: TestHost) {
    this.#network = network;
    this.host = host;
  }

  /** A host with nothing wrong: 10.1.0.2 with a default route to a neighbour. */
  static async create(resolvConfKind: ResolvConfKind = 'mount'): Promise<Scene> {
    const network = await TestNetwork.create();
    const host = await network.host('host', { resolvConfKind });
    const neighbour = await network.host('neighbour');
    await network.link(host, neighbour, {
      ipv4: ['10.1.0.2/24', '10.1.0.1/24'],
      ipv6: ['fd00:1::2/64', 'fd00:1::1/64'],
    });
    await host.addRoute('default', { via: '10.1.0.1' });
    return new Scene(network, host);
  }

  shell(script: string): Promise<string> {
    return this.host.check(['sh', '-ec', script]);
  }

  /** @param before shell lines that run in the same shell before it */
  async doctor(before = ''): Promise<Report & { readonly code: number | undefined }> {
    mkdirSync(this.host.path('/run/weir-test'), { recursive: true });
    writeFileSync(this.host.path(FILE), JSON.stringify(this.config), { mode: 0o644 });
    const { code, stdout, stderr } = await this.host.run(
      ['sh', '-ec', `${before}\nexec "$@"`, 'sh', ...weirCommand(), 'doctor', '--json', FILE],
      { env: { WEIR_CONFIG: undefined } },
    );
    if (stderr !== '') throw new Error(`weir doctor: ${stderr}`);
    return { ...(JSON.parse(stdout) as Report), code };
  }

  /** Does what a finding says. */
  async apply({ command, setting, what }: Finding): Promise<void> {
    if (command !== undefined) {
      const weir = weirCommand().map((word) => `'${word}'`);
      await this.shell(command.replace(/^weir /, `${weir.join(' ')} `).replace('<gateway>', '10.1.0.1'));
    } else if (setting !== undefined) {
      const [first = '', second] = setting.key.split('.');
      const inner = this.config[first] as object | undefined;
      const value = second === undefined ? setting.value : { ...inner, [second]: setting.value };
      this.config = { ...this.config, [first]: value };
    } else throw new Error(`there is nothing to apply for: ${what}`);
  }

  /** `weir run` with what is examined. */
  run(interceptor: string): Promise<WeirProcess> {
    const resolver = { listen: [], reach: 'none', test: 'off' };
    return WeirProcess.start(this.host, {
      config: { resolver, timeouts: { drain: '1s' }, ...this.config, interceptor },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#network[Symbol.asyncDispose]();
  }
}

/** What a check found, without its `ok`. */
export function bad(report: Report, check?: string): readonly Finding[] {
  return report.findings.filter((one) => one.severity !== 'ok' && (check === undefined || one.check === check));
}
