/** The scene of the load tests: Weir and its clients on one host, the upstreams on another, nothing else. */
import { TestNetwork, WeirProcess, type ConfigurationDocument, type TestHost } from '@weir/core/testing';
import { readdirSync, readFileSync } from 'node:fs';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface LoadScene extends AsyncDisposable {
  readonly client: TestHost;
  readonly server: TestHost;
  start(config: ConfigurationDocument, env?: Readonly<Record<string, string>>): Promise<WeirProcess>;
}

/** The client is 10.1.0.2 and has no default route; the server is 10.1.0.1. */
export async function loadScene(): Promise<LoadScene> {
  const net = await TestNetwork.create();
  const client = await net.host('client');
  const server = await net.host('server');
  await net.link(client, server, { ipv4: ['10.1.0.2/24', '10.1.0.1/24'], ipv6: ['fd00:1::2/64', 'fd00:1::1/64'] });
  const running: WeirProcess[] = [];
  return {
    client,
    server,
    async start(config, env = {}) {
      const document = { interceptor: 'nft', log: { level: 'info', format: 'json', flows: 'off' }, ...config };
      const weir = await WeirProcess.start(client, { config: document, env });
      running.push(weir);
      return weir;
    },
    async [Symbol.asyncDispose]() {
      for (const weir of running) await weir[Symbol.asyncDispose]();
      await net[Symbol.asyncDispose]();
    },
  };
}

/**
 * Environment of a Weir that collects garbage every second: what a load leaves in the heap until V8 likes to collect it is no
 * growth, only what outlives a collection is.
 */
export const COLLECTING: Readonly<Record<string, string>> = {
  NODE_OPTIONS: `--max-semi-space-size=4 --import=data:text/javascript,${encodeURIComponent(
    'import { setFlagsFromString } from "node:v8"; import { runInNewContext } from "node:vm"; ' +
      'setFlagsFromString("--expose-gc"); setInterval(runInNewContext("gc"), 1000).unref();',
  )}`,
};

/** argv of a script beside this file. */
export function scriptCommand(name: string, args: readonly string[]): readonly string[] {
  const here = new URL(import.meta.url);
  const file = fileURLToPath(new URL(`./peers/${name}${extname(here.pathname)}`, here));
  return [process.execPath, '--conditions=source', file, ...args];
}

/** Resident memory of a process in bytes. */
export function residentBytes(pid: number): number {
  const kilobytes = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(kilobytes?.[1] ?? 0) * 1024;
}

/** How many descriptors a process has open. */
export function openDescriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}
