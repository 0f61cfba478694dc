/** The resolver as a whole host sees it: port 53, /etc/resolv.conf, getent, kills. In private hosts only. */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestNetwork } from '../../src/testing/netns.ts';
import type { HostProcess } from '../../src/testing/host-process.ts';
import type { TestHost } from '../../src/testing/test-host.ts';

const PROGRAM = fileURLToPath(new URL('./programs/name-service.ts', import.meta.url));
const STATE = '/run/weir-dns-test';
const ORIGINAL = '# by hand\nnameserver 10.53.0.2\nsearch corp.example\noptions timeout:1 attempts:1\n';

let network: TestNetwork;
let upstream: TestHost;

beforeAll(async () => {
  network = await TestNetwork.create();
  upstream = await network.host('upstream');
  const server = upstream.spawn([
    '/usr/sbin/dnsmasq',
    '--no-daemon',
    '--conf-file=/dev/null',
    '--no-resolv',
    '--no-hosts',
    '--user=',
    '--local=/example/',
    '--host-record=real.example,192.0.2.80',
    '--host-record=box.corp.example,192.0.2.81',
    '--log-facility=-',
  ]);
  await server.waitFor(/started/);
});
afterAll(() => network[Symbol.asyncDispose]());

let count = 0;
async function hostWith(kind: 'mount' | 'file'): Promise<TestHost> {
  const host = await network.host(`client${++count}`, { resolvConf: ORIGINAL, resolvConfKind: kind });
  await network.link(host, upstream, { ipv4: [`10.53.${count}.1/24`, `10.53.${count}.2/24`] });
  await host.writeResolvConf(ORIGINAL.replace('10.53.0.2', `10.53.${count}.2`));
  return host;
}

function argv(more: object = {}): readonly string[] {
  return [process.execPath, '--conditions=source', PROGRAM, JSON.stringify({ stateDirectory: STATE, ...more })];
}

async function lines(process: HostProcess, wanted: number): Promise<readonly string[]> {
  await process.waitFor(new RegExp(`(?:[^\\n]*\\n){${wanted}}`));
  return process.stdout.split('\n');
}

async function started(host: TestHost, more: object = {}) {
  const process = host.spawn(argv(more));
  const [status = ''] = await lines(process, 1);
  let answers = 1;
  const ask = async (command: string): Promise<unknown> => {
    process.stdin.write(`${command}\n`);
    return JSON.parse((await lines(process, ++answers))[answers - 1] ?? '');
  };
  const stop = async () => {
    process.stdin.end();
    expect(await process.waitForExit(10_000)).toEqual({ code: 0, signal: undefined });
  };
  return { process, status: JSON.parse(status) as { reach: string; reachReason: string }, ask, stop };
}

describe.each(['mount', 'file'] as const)('with /etc/resolv.conf as a %s', (kind) => {
  test('the host resolves names of services and all others, the self-test passes, and the file comes back', async () => {
    const host = await hostWith(kind);
    const before = await host.readResolvConf();
    const { status, ask, stop } = await started(host);
    expect(status).toMatchObject({ reach: 'resolv-conf' });
    expect(await host.readResolvConf()).toMatch(
      /^# weir default: .*\nnameserver 127\.0\.0\.1\nsearch corp\.example\noptions /,
    );
    expect(await ask('self-test')).toBe('passed');
    expect(await host.check(['getent', '-A', 'ahostsv4', 'web.internal'])).toMatch(/^100\.\d+\.\d+\.\d+ /);
    expect(await host.check(['getent', '-A', 'ahostsv6', 'x.apps.internal'])).toMatch(/^fd64:7765:6972:/);
    expect(await host.check(['getent', '-A', 'ahostsv4', 'real.example'])).toMatch(/^192\.0\.2\.80 /);
    expect(await host.check(['getent', '-A', 'ahostsv4', 'box'])).toMatch(/^192\.0\.2\.81 /);
    expect((await host.run(['getent', '-A', 'ahostsv4', 'nowhere.example'])).code).toBe(2);
    expect(await ask('lookup real.example')).toMatchObject({ addresses: ['192.0.2.80'] });
    await stop();
    expect(await host.readResolvConf()).toBe(before);
    expect(await host.check(['ls', STATE])).toBe('');
  });

  test('after SIGKILL the file comes back by clean-up, without the journal, and by the next run', async () => {
    const host = await hostWith(kind);
    const before = await host.readResolvConf();
    const first = await started(host);
    first.process.kill('SIGKILL');
    await first.process.exited;
    expect(await host.readResolvConf()).not.toBe(before);
    await host.check(['rm', `${STATE}/journal`]);
    expect(await host.check(argv({ cleanUp: true }))).toMatch(/put \/etc\/resolv\.conf back as it was/);
    expect(await host.readResolvConf()).toBe(before);
    const second = await started(host);
    second.process.kill('SIGKILL');
    await second.process.exited;
    const third = await started(host);
    expect(await third.ask('lookup real.example')).toMatchObject({ addresses: ['192.0.2.80'] });
    await third.stop();
    expect(await host.readResolvConf()).toBe(before);
  });
});

test('a foreign edit while it runs makes the self-test fail in time, with the reason, and is kept', async () => {
  const host = await hostWith('file');
  const { ask, stop } = await started(host);
  const foreign = 'nameserver 10.99.99.99\noptions timeout:9\n';
  await host.writeResolvConf(foreign);
  const begun = performance.now();
  expect(await ask('self-test')).toMatch(
    /^WEIR_SELF_TEST .*Weir answers for .*, but the host does not resolve it.*nsswitch/,
  );
  expect(performance.now() - begun).toBeLessThan(5000);
  await stop();
  expect(await host.readResolvConf()).toBe(foreign);
  expect(await readFile(host.path(`${STATE}/resolv.conf.original`), 'utf8')).toMatch(/^# by hand\n/);
});

test('a symbolic link is left alone: auto says why, resolv-conf by name is an error', async () => {
  const host = await hostWith('file');
  await host.check(['sh', '-c', 'mv /etc/resolv.conf /etc/resolv.real && ln -s resolv.real /etc/resolv.conf']);
  const { status, ask, stop } = await started(host);
  expect(status).toMatchObject({ reach: 'none', reachReason: expect.stringMatching(/symbolic link to resolv\.real/) });
  expect(await ask('self-test')).toBe('passed');
  await stop();
  const refused = await host.run(argv({ resolver: { reach: 'resolv-conf' } }));
  expect(refused.code).not.toBe(0);
  expect(refused.stderr).toMatch(/symbolic link/);
  expect(await host.check(['readlink', '/etc/resolv.conf'])).toBe('resolv.real\n');
});

test('queries to upstreams carry the bypass mark, over UDP and TCP', async () => {
  const host = await hostWith('file');
  const rules =
    'table inet t { chain o { type filter hook output priority 0; th dport 53 oif != "lo" meta mark != 0x20000000 reject; }; }';
  await host.check(['nft', rules]);
  const unmarked = await started(host);
  expect(await unmarked.ask('lookup real.example')).toMatch(/^WEIR_RESOLVE No upstream answered/);
  await unmarked.stop();
  const { ask, stop } = await started(host, { mark: 0x2000_0000 });
  expect(await ask('lookup real.example')).toMatchObject({ addresses: ['192.0.2.80'] });
  expect(await host.check(['dig', '@127.0.0.1', '+tcp', '+short', 'real.example'])).toBe('192.0.2.80\n');
  await stop();
});

test('no descriptor is left of queries, whether they were answered, refused, given up or never answered', async () => {
  const host = await hostWith('file');
  const deaf = { protocol: 'udp', endpoint: { address: '127.0.0.9', port: 9 } };
  const { process, ask, stop } = await started(host, { resolver: { upstreams: [deaf, 'system'] } });
  await ask('lookup real.example');
  // The socket to the deaf upstream is closed behind the answer of the other: a count that still had it would be too high.
  let before = await ask('descriptors');
  const settled = async (): Promise<boolean> => {
    const last = before;
    before = await ask('descriptors');
    return last === before;
  };
  await expect.poll(settled, { interval: 200, timeout: 10_000 }).toBe(true);
  const digs = Array.from({ length: 40 }, (_, i) =>
    host.run(['dig', '@127.0.0.1', '+tries=1', '+time=3', i % 2 ? '+tcp' : '+notcp', `n${i}.example`]),
  );
  for (const { stdout } of await Promise.all(digs)) expect(stdout).toMatch(/status: NXDOMAIN/);
  await expect.poll(() => ask('descriptors'), { timeout: 10_000 }).toBe(before);
  expect(process.stderr).toBe('');
  await stop();
});

test('a port that another server holds is said, and nothing was changed', async () => {
  const host = await hostWith('file');
  const before = await host.readResolvConf();
  const other = host.spawn([
    '/usr/sbin/dnsmasq',
    '--no-daemon',
    '--conf-file=/dev/null',
    '--user=',
    '--no-resolv',
    '--log-facility=-',
  ]);
  await other.waitFor(/started/);
  const refused = await host.run(argv());
  expect(refused.stderr).toMatch(
    /cannot listen on udp:\/\/127\.0\.0\.1:53: another process holds that port.*ss -lntup/,
  );
  expect(await host.readResolvConf()).toBe(before);
});
