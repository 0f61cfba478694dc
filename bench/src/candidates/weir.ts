/**
 * Weir as a user runs it: the built program, one worker, services that are dialled where the client meant to go.
 * Only `log.flows` is off, because the peers log no connections either.
 */
import { WeirProcess, type ConfigurationDocument } from '@weir/core/testing';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Candidate, Endpoint, Task } from '../candidate.ts';

const CHECKOUT = fileURLToPath(new URL('../../..', import.meta.url));

/** Has no route in the client host: only Weir can make it answer. */
const ONLY_BY_WEIR = { address: '198.51.100.7', port: 8080 };
/** Where `proxy`, which captures nothing, listens: this and the server's port. */
const PROXY_PORTS = 20_000;

/** What differs from Weir as it is with one mechanism, by the word behind `+`. */
export const VARIANTS: Readonly<Record<string, (base: ConfigurationDocument, task: Task) => ConfigurationDocument>> = {
  socks5: (base, task) => ({
    ...base,
    services: task.ports.map((port) => ({
      name: `to-${port}`,
      addresses: [task.prefix],
      ports: [port],
      dialer: { type: 'socks5', address: `${task.http.address}:${port}` },
    })),
  }),
  mtu1500: (base) => ({ ...base, interceptors: { tun: { mtu: 1500 } } }),
  workers2: (base) => ({ ...base, workers: 2 }),
  workers4: (base) => ({ ...base, workers: 4 }),
  placed: (base) => ({ ...base, 'worker-cpus': 'auto' }),
};

export interface WeirVariant {
  readonly interceptor: string;
  /** Names of {@link VARIANTS}. */
  readonly variants: readonly string[];
  /** A checkout whose build is measured beside this one's, as `<id>@other`. */
  readonly other?: string;
}

const first = ({ address, port }: Endpoint) => ({
  name: 'first',
  addresses: [`${ONLY_BY_WEIR.address}/32`],
  ports: [ONLY_BY_WEIR.port],
  dialer: { type: 'direct', to: `${address}:${port}` },
});

function services(interceptor: string, task: Task): readonly unknown[] {
  if (interceptor !== 'proxy') {
    return [
      { name: 'bench', addresses: [task.prefix], ports: task.ports, protocols: ['tcp', 'udp'], dialer: 'direct' },
      first(task.http),
    ];
  }
  return task.ports.map((port) => ({
    name: `to-${port}`,
    addresses: [task.http.address],
    ports: [port],
    protocols: ['tcp', 'udp'],
    listen: `127.0.0.1:${PROXY_PORTS + port}`,
    dialer: 'direct',
  }));
}

export function weirConfiguration({ interceptor, variants }: WeirVariant, task: Task): ConfigurationDocument {
  const base: ConfigurationDocument = {
    interceptor,
    owner: 'bench',
    log: { level: 'warn', format: 'json', flows: 'off' },
    limits: { flows: 60_000 },
    services: services(interceptor, task),
  };
  const varied = variants.reduce((document, name) => VARIANTS[name]?.(document, task) ?? document, base);
  const all = varied['services'] as readonly unknown[];
  const hasFirst = interceptor === 'proxy' || all.some((each) => (each as { name: string }).name === 'first');
  return hasFirst ? varied : { ...varied, services: [...all, first(task.http)] };
}

export const programOf = (checkout: string = CHECKOUT): readonly string[] => [
  process.execPath,
  join(checkout, 'core/bin/weir.js'),
];

/** Starts Weir for a measurement, with as many descriptors as a service manager would give it. */
export function startWeir(task: Task, config: ConfigurationDocument, checkout?: string): Promise<WeirProcess> {
  return WeirProcess.start(task.client, { config, command: [...task.manyFiles, ...programOf(checkout)] });
}

/** @throws Error when it does not end as it should. */
export async function stopWeir(weir: WeirProcess): Promise<void> {
  const { code, signal } = await weir.stop();
  if (code !== 0) throw new Error(`weir ended with ${code ?? signal}: ${weir.process.describe()}`);
}

const throughListener = (task: Task, endpoint: Endpoint): Endpoint =>
  endpoint.address === task.http.address ? { address: '127.0.0.1', port: PROXY_PORTS + endpoint.port } : endpoint;

export function weirCandidate(variant: WeirVariant): Candidate {
  const { interceptor, variants, other } = variant;
  const program = programOf(other)[1] ?? '';
  const id = [interceptor, ...variants].join('+');
  return {
    id: other === undefined ? id : `${id}@other`,
    label: `${other === undefined ? 'Weir' : 'other'} ${[interceptor, ...variants].join(', ')}`,
    kind: 'weir',
    // The server that is its own SOCKS5 proxy answers CONNECT only.
    udp: !variants.includes('socks5'),
    missing: () => (existsSync(program) ? undefined : `${program} does not exist; name a checkout of Weir`),
    version: () => execFileSync(process.execPath, [program, 'version'], { encoding: 'utf8' }).trim(),
    prepare: async () => {},
    unprepare: async () => {},
    async start(task) {
      const weir = await startWeir(task, weirConfiguration(variant, task), other);
      return {
        pids: [weir.process.pid],
        async carried() {
          const { counters } = await weir.admin.status();
          const count = (name: string) => counters[name] ?? 0;
          const flows = await weir.admin.recentFlows(50);
          return {
            flows: count('accepted'),
            bytes: count('bytesUp') + count('bytesDown'),
            spliced: flows.some(({ relay }) => relay === 'splice'),
          };
        },
        stop: () => stopWeir(weir),
      };
    },
    ...(interceptor === 'proxy'
      ? {
          entrance: (task: Task) => ({
            ...task,
            http: throughListener(task, task.http),
            bulk: throughListener(task, task.bulk),
            echo: throughListener(task, task.echo),
          }),
        }
      : {}),
    firstFlow: (task) => (interceptor === 'proxy' ? throughListener(task, task.http) : ONLY_BY_WEIR),
  };
}
