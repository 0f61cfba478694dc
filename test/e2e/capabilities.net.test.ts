/** As docs/operations.md says of a service without root: three capabilities, and a /run/weir of its own. */
import { startPeer, TestNetwork, requires, weirCommand } from '@weir/core/testing';
import { writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';

const USER = 65_534;
const CAPABILITIES = '-all,+net_admin,+net_raw,+net_bind_service';
const DROP = [
  'setpriv',
  '--reuid',
  `${USER}`,
  '--regid',
  `${USER}`,
  '--clear-groups',
  '--no-new-privs',
  ...['--bounding-set', '--inh-caps', '--ambient-caps'].map((flag) => `${flag}=${CAPABILITIES}`),
];
const FILE = '/run/weir.json';

describe.skipIf(requires('namespaces', 'root', 'nft', 'tproxy-iptables', 'curl', 'dig'))('an ordinary user', () => {
  test.each(['nft', 'tproxy-iptables'])('captures by %s with CAP_NET_ADMIN, _RAW and _BIND_SERVICE', async (id) => {
    await using network = await TestNetwork.create();
    const host = await network.host('host');
    await host.check(['install', '-d', '-m', '700', '-o', `${USER}`, '/run/weir']);
    await startPeer(host, 'http-server', ['--listen', '127.0.0.1:8080', '--name', 'upstream']);
    const config = {
      interceptor: id,
      resolver: { reach: 'none' },
      services: [
        {
          name: 'web',
          addresses: ['203.0.113.0/24', 'web.internal'],
          ports: [80],
          dialer: { type: 'direct', to: '127.0.0.1:8080' },
        },
      ],
    };
    writeFileSync(host.path(FILE), JSON.stringify(config), { mode: 0o644 });
    const before = await host.state();
    const run = (...args: readonly string[]) => host.spawn([...DROP, ...weirCommand(), ...args]);
    await using weir = run('run', FILE);
    await weir.waitFor(/"event":"ready"/, 30_000);
    expect(await host.check(['curl', '-sS', '-m', '5', 'http://203.0.113.7/'])).toContain('"server":"upstream"');
    const address = (await host.check(['dig', '+short', '@127.0.0.1', 'web.internal'])).trim();
    expect(await host.check(['curl', '-sS', '-m', '5', `http://${address}/`])).toContain('"server":"upstream"');
    weir.kill('SIGTERM');
    expect((await weir.waitForExit(40_000)).code).toBe(0);
    expect(await host.state()).toBe(before);

    await using killed = run('run', FILE);
    await killed.waitFor(/"event":"ready"/, 30_000);
    for (const pid of host.processes()) if (pid !== killed.pid) process.kill(pid, 'SIGSTOP');
    killed.kill('SIGKILL');
    await killed.waitForExit();
    expect(await host.state()).not.toBe(before);
    await using cleanup = run('cleanup');
    expect((await cleanup.waitForExit(30_000)).code, cleanup.stderr).toBe(0);
    expect(await host.state()).toBe(before);
  });
});
