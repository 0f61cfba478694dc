/** `weir proxy`: its arguments, and the configuration that it runs. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { UsageError } from '../../src/api/errors.ts';
import { parseProxyArguments, proxy } from '../../src/cli/commands/proxy.ts';
import type { StartEngine } from '../../src/cli/commands/run.ts';
import type { Configuration } from '../../src/config/model.ts';
import { testConsole } from './console.ts';
import { STATUS } from './engine-target.ts';

const directory = mkdtempSync(join(tmpdir(), 'weir-proxy-'));
const file = join(directory, 'weir.yaml');
beforeEach(() =>
  writeFileSync(
    file,
    `services:
  - { name: web, addresses: web.internal, ports: 80, protocols: [tcp, udp] }
  - { name: db, addresses: 203.0.113.7, ports: 5432, listen: "127.0.0.1:1" }
  - { name: wide, addresses: 203.0.113.0/24 }
  - { name: dns, addresses: dns.internal, ports: 53, protocols: udp }
`,
  ),
);
afterAll(() => rmSync(directory, { recursive: true }));

/** Runs it with an engine that ends at once, and hands back the configurations that it started and reloaded. */
async function configurations(args: readonly string[], options = {}): Promise<readonly Configuration[]> {
  const seen: Configuration[] = [];
  const start: StartEngine = async (configuration, { reload }) => {
    seen.push(configuration, await reload());
    return { status: () => STATUS, reload: async () => {}, stop: async () => {}, stopped: Promise.resolve({}) };
  };
  expect(await proxy(testConsole(), args, options, start)).toBe(0);
  return seen;
}

describe('arguments', () => {
  test('services with ports, then the configuration', () => {
    expect(parseProxyArguments(['web:80', 'my.db-1_x:15432:tcp', 'weir.yaml'])).toEqual({
      wanted: [
        { service: 'web', port: 80, protocol: 'tcp' },
        { service: 'my.db-1_x', port: 15432, protocol: 'tcp' },
      ],
      config: 'weir.yaml',
    });
    expect(parseProxyArguments(['web:80', 'web:80:udp'])).toEqual({
      wanted: [
        { service: 'web', port: 80, protocol: 'tcp' },
        { service: 'web', port: 80, protocol: 'udp' },
      ],
    });
  });

  test.each([
    [['weir.yaml'], /"weir.yaml" is no listener. Give SERVICE:PORT/],
    [['web', 'db:1', 'weir.yaml'], /"web" is no listener/],
    [['web:0'], /port of "web:0" is out of range/],
    [['web:70000'], /port of "web:70000" is out of range/],
    [['web:80:sctp'], /"sctp" in "web:80:sctp" is no protocol/],
    [['web:80', 'web:81'], /service web is given twice/],
    [['web:80', 'db:80'], /port 80 is given twice/],
  ])('%s', (args, message) => {
    expect(() => parseProxyArguments(args)).toThrow(UsageError);
    expect(() => parseProxyArguments(args)).toThrow(message);
  });
});

test('runs the interceptor proxy for the named services alone, on loopback, at each reading of the file', async () => {
  const seen = await configurations(['db:15432', 'web:8080', file]);
  expect(seen).toHaveLength(2);
  for (const { interceptor, services } of seen) {
    expect(interceptor).toEqual(['proxy']);
    expect(services.map(({ name, protocols, listen }) => ({ name, protocols, listen }))).toEqual([
      { name: 'db', protocols: ['tcp'], listen: { address: '127.0.0.1', port: 15432 } },
      { name: 'web', protocols: ['tcp'], listen: { address: '127.0.0.1', port: 8080 } },
    ]);
  }
});

test('--bind names another address', async () => {
  const [first] = await configurations(['db:1', file], { bind: '::' });
  expect(first?.services[0]?.listen).toEqual({ address: '::', port: 1 });
  await expect(proxy(testConsole(), ['db:1', file], { bind: 'eth0' })).rejects.toThrow(/"eth0" is no address/);
});

test.each([
  ['wab:1', /no service wab \(did you mean "web"\?\). Name one of web, db, wide, dns/],
  ['wide:1', /There cannot be a listener: the service wide has more than one address/],
  ['dns:1', /The service dns is not for tcp. Ask for dns:1:udp/],
])('%s is refused', async (argument, message) => {
  await expect(configurations([argument, file])).rejects.toThrow(UsageError);
  await expect(configurations([argument, file])).rejects.toThrow(message);
});
