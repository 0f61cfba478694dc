/** Clients, Weir and a server on three hosts, and what one mechanism needs to carry everything between them. */
import { TestNetwork, WeirProcess, type TestHost } from '@weir/core/testing';
import type { InterceptorDefinition, Plugin } from '@weir/core';
import { COLLECTING, scriptCommand } from '../e2e/load-scene.ts';

export interface SoakScene extends AsyncDisposable {
  readonly weir: WeirProcess;
  readonly host: TestHost;
  /** Carries out `flows` flows and says how they ended. */
  load(protocol: 'tcp' | 'udp', flows: number): Promise<LoadReport>;
  /** Where the flows came from, in words. */
  readonly from: string;
}

/** What `flow-load.ts` prints. */
export interface LoadReport {
  readonly right: number;
  readonly wrong: number;
  readonly reset: number;
  readonly finished: number;
  readonly abandoned: number;
  readonly timeout: number;
  /** Datagrams that were sent again. */
  readonly again: number;
  readonly errors: Readonly<Record<string, number>>;
  /** Flows that lived at once, at most. */
  readonly most: number;
  readonly ms: number;
}

/** How many are under way at once, besides those that fell silent. */
const PARALLEL = 320;
const TARGETS = Array.from({ length: 16 }, (_, n) => `203.0.113.${n + 1}:7000`);
const LISTENER = '10.2.0.1:15000';
/** Ten minutes for 200,000 flows on a busy machine is slow; more is a hang. */
const LIMIT_MS = 900_000;

export async function definitionOf(id: string): Promise<InterceptorDefinition<never>> {
  const { default: plugin } = (await import(`@weir/${id}`)) as { readonly default: Plugin };
  return plugin.interceptors?.[0] as InterceptorDefinition<never>;
}

/** Conntrack forgets what ended soon, or half a million entries would wait for their minutes to be over. */
const SYSCTLS: Readonly<Record<string, string | number>> = {
  'net.ipv4.tcp_tw_reuse': 1,
  'net.ipv4.ip_local_port_range': '1024 65535',
  'net.netfilter.nf_conntrack_tcp_timeout_time_wait': 2,
  'net.netfilter.nf_conntrack_tcp_timeout_close': 2,
  'net.netfilter.nf_conntrack_udp_timeout': 2,
  'net.netfilter.nf_conntrack_udp_timeout_stream': 2,
};

export async function soakScene(id: string): Promise<SoakScene> {
  const { capabilities } = await definitionOf(id);
  const net = await TestNetwork.create();
  const [client, host, server] = [
    await net.host('client'),
    await net.host('weir', { forwarding: true }),
    await net.host('server'),
  ];
  await net.link(host, server, { ipv4: ['10.1.0.2/24', '10.1.0.1/24'] });
  const { devices } = await net.link(client, host, { ipv4: ['10.2.0.2/24', '10.2.0.1/24'] });
  await client.addRoute('203.0.113.0/24', { via: '10.2.0.1' });
  for (const address of ['10.2.0.4/24', '10.2.0.5/24']) await client.addAddress(devices[0], address);
  for (const address of ['10.1.0.4/24', '10.1.0.5/24']) await host.addAddress('eth0', address);
  for (const one of [client, host]) {
    for (const [key, value] of Object.entries(SYSCTLS)) {
      // Conntrack is not loaded on a machine without rules that use it.
      await one.setSysctl(key, value).catch(() => undefined);
    }
  }
  await server.spawn(scriptCommand('flow-echo', ['10.1.0.1', '8080'])).waitFor(/listening/);

  const explicit = !capabilities.transparent;
  const forward = capabilities.scopes.includes('forward');
  const remote = explicit || forward;
  // Local flows of a socket that has a source of its own are not captured where routes bring them.
  const sources = remote
    ? ['10.2.0.2', '10.2.0.4', '10.2.0.5']
    : capabilities.preservesSource
      ? ['10.1.0.2', '10.1.0.4', '10.1.0.5']
      : [];
  const protocols = ['tcp', 'udp'].filter((each) => capabilities.networks.some(({ protocol }) => protocol === each));
  const weir = await WeirProcess.start(host, {
    env: COLLECTING,
    config: {
      interceptor: id,
      ...(id === 'tun' ? { interceptors: { tun: { 'nat-addresses': 1 } } } : {}),
      capture: forward ? { scopes: ['forward'], forward: { interfaces: [devices[1]] } } : { scopes: ['output'] },
      resolver: { listen: [], reach: 'none', test: 'off' },
      services: [
        {
          name: 'soak',
          addresses: ['203.0.113.0/24'],
          ports: [7000],
          protocols,
          dialer: { type: 'direct', to: '10.1.0.1:8080' },
          ...(explicit ? { listen: LISTENER } : {}),
        },
      ],
      // At 12,000 new sessions a second, two sockets each, half a second would use up 20,000 descriptors.
      timeouts: { idle: '2s', 'udp-idle': '250ms' },
      log: { level: 'info', format: 'json', flows: 'off' },
    },
  });
  return {
    weir,
    host,
    from: sources.length === 0 ? 'here' : remote ? 'another host, 3 addresses' : 'here, 3 addresses',
    async load(protocol, flows) {
      const targets = explicit ? [LISTENER] : TARGETS;
      const args = ['--protocol', protocol, '--flows', flows, '--parallel', PARALLEL, '--targets', targets.join(',')];
      const argv = scriptCommand('flow-load', [...args, '--sources', sources.join(',')].map(String));
      const output = await (remote ? client : host).check(argv, { timeoutMs: LIMIT_MS });
      return JSON.parse(output) as LoadReport;
    },
    async [Symbol.asyncDispose]() {
      await weir[Symbol.asyncDispose]();
      await net[Symbol.asyncDispose]();
    },
  };
}
