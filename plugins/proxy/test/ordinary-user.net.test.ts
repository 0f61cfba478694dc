/** As an ordinary user without any capability: it runs, says what it cannot do, and keeps its state to itself. */
import { requires, weirCommand, type HostProcess, type RunResult } from '@weir/core/testing';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { document, Scene, service } from './scene.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url)).replace(/\/$/, '');
const USER = 65_534;
const DROP = [
  'setpriv',
  '--reuid',
  `${USER}`,
  '--regid',
  `${USER}`,
  '--clear-groups',
  '--inh-caps=-all',
  '--no-new-privs',
];
const FILE = '/tmp/weir.yaml';
const LISTEN = '127.0.0.1:9001';
const ENV = { XDG_RUNTIME_DIR: undefined, WEIR_STATE_ROOT: undefined, WEIR_CONFIG: undefined };

/** A scene with a /tmp of its own and the configuration in it. */
async function prepare(config = document([service('web', 8001, LISTEN)], { interceptor: 'auto' })): Promise<Scene> {
  const scene = await Scene.create();
  // The project itself may lie below /tmp: it is kept in its place.
  const mount =
    'mkdir /run/project; mount --bind "$1" /run/project; mount -t tmpfs -o mode=1777 tmpfs /tmp; ' +
    '[ -d "$1" ] || { mkdir -p "$1"; mount --bind /run/project "$1"; }';
  await scene.host.check(['sh', '-ec', mount, 'sh', ROOT]);
  writeFileSync(scene.host.path(FILE), JSON.stringify(config), { mode: 0o644 });
  return scene;
}

function start(scene: Scene, args: readonly string[], env = {}): HostProcess {
  return scene.host.spawn([...DROP, ...weirCommand(), ...args], { env: { ...ENV, ...env } });
}

function run(scene: Scene, args: readonly string[], env = {}): Promise<RunResult> {
  return scene.host.run([...DROP, ...weirCommand(), ...args], { env: { ...ENV, ...env } });
}

describe.skipIf(requires('namespaces', 'root', 'nft', 'curl'))('an ordinary user', () => {
  test('weir proxy listens, answers status and stop, and leaves nothing', async () => {
    await using scene = await prepare();
    await scene.servers();
    const before = await scene.host.state();
    await using weir = start(scene, ['proxy', 'web:9100', '--bind', '0.0.0.0', FILE]);
    await weir.waitFor(/"event":"ready"/);
    expect(await scene.asks('http://127.0.0.1:9100/')).toBe('one');
    expect(await scene.asks('http://10.1.0.2:9100/', scene.neighbour)).toBe('one');
    expect(await scene.host.state()).toBe(before);
    expect(scene.host.processes(), 'no keeper').toEqual([weir.pid]);
    const mode = await scene.host.check(['stat', '-c', '%a %u', `/tmp/weir-${USER}`]);
    expect(mode).toBe(`700 ${USER}\n`);
    const status = await run(scene, ['status']);
    expect(status.stdout).toMatch(/captures with proxy, not transparent: clients must connect to its listeners/);
    weir.kill('SIGTERM');
    expect((await weir.waitForExit()).code).toBe(0);
    const left = await scene.host.check(['find', `/tmp/weir-${USER}`, '-name', 'default*']);
    expect(left).toBe('');
  });

  test('auto ends at proxy with a warning; --require transparent ends with exit 3 and the table', async () => {
    await using scene = await prepare();
    await scene.servers();
    {
      await using weir = start(scene, ['run', '--json', FILE]);
      await weir.waitFor(/"event":"ready"/);
      expect(await scene.asks(`http://${LISTEN}/`)).toBe('one');
      expect(weir.stderr).toMatch(/nft initialization failed: needs CAP_NET_ADMIN/);
      expect(weir.stderr).toMatch(/using proxy interceptor/);
      expect(weir.stderr).toMatch(/"level":40.*proxy captures nothing: applications must connect to its listeners/);
      const report = JSON.parse(weir.stdout) as { readonly transparent: boolean; readonly selected: string };
      expect(report).toMatchObject({ selected: 'proxy', transparent: false });
    }
    const refused = await run(scene, ['run', '--require', 'transparent', FILE]);
    expect(refused.code).toBe(3);
    expect(refused.stderr).toMatch(/^nft +unsupported +needs CAP_NET_ADMIN — CAP_NET_ADMIN: Run Weir as root/m);
    expect(refused.stderr).toMatch(/^proxy +not-suitable +it is not transparent, which is required$/m);
  });

  test('a named transparent interceptor says what is missing', async () => {
    await using scene = await prepare();
    const refused = await run(scene, ['run', '--interceptor', 'nft', FILE]);
    expect(refused.code).toBe(3);
    expect(refused.stderr).toMatch(/weir: No interceptor could start: nft unsupported\./);
  });

  test('a port below 1024 is refused with the way out', async () => {
    await using scene = await prepare();
    const refused = await run(scene, ['proxy', 'web:80', FILE]);
    expect(refused.code).toBe(7);
    expect(refused.stderr).toMatch(/may not listen on 127\.0\.0\.1:80 \(tcp\) for web/);
    expect(refused.stderr).toMatch(/Choose a port from 1024/);
  });

  test.each([
    ['of somebody else', `mkdir -m 700 /tmp/weir-${USER}`],
    ['that others may read', `install -d -m 755 -o ${USER} /tmp/weir-${USER}`],
    ['that is a link', `install -d -m 700 -o ${USER} /tmp/elsewhere; ln -s /tmp/elsewhere /tmp/weir-${USER}`],
  ])('a state directory %s is not used', async (_what, script) => {
    await using scene = await prepare();
    await scene.host.check(['sh', '-ec', script]);
    const refused = await run(scene, ['proxy', 'web:9100', FILE]);
    expect(refused.code).toBe(7);
    expect(refused.stderr).toMatch(/\/tmp\/weir-65534 is not a directory of this user alone/);
  });

  test("state lies in the user's runtime directory, or in /run/weir where that is the user's", async () => {
    await using scene = await prepare();
    await scene.servers();
    const stateOf = async (env: Readonly<Record<string, string>>) => {
      await using weir = start(scene, ['proxy', 'web:9100', FILE], env);
      await weir.waitFor(/"event":"ready"/);
      const found = await scene.host.check(['find', '/tmp', '/run', '-name', 'admin.sock']);
      return found.replace(/default@\d+/, 'default@NS').trim();
    };
    await scene.host.check(['install', '-d', '-m', '700', '-o', `${USER}`, '/tmp/runtime']);
    expect(await stateOf({ XDG_RUNTIME_DIR: '/tmp/runtime' })).toBe('/tmp/runtime/weir/default@NS/admin.sock');
    await scene.host.check(['chmod', '755', '/tmp/runtime']);
    expect(await stateOf({ XDG_RUNTIME_DIR: '/tmp/runtime' })).toBe(`/tmp/weir-${USER}/default@NS/admin.sock`);
    await scene.host.check(['install', '-d', '-m', '700', '-o', `${USER}`, '/run/weir']);
    expect(await stateOf({ XDG_RUNTIME_DIR: '/tmp/runtime' })).toBe('/run/weir/default@NS/admin.sock');
  });

  test('what a killed one leaves is removed by the next, and by cleanup', async () => {
    await using scene = await prepare();
    const killed = async () => {
      const weir = start(scene, ['proxy', 'web:9100', FILE]);
      await weir.waitFor(/"event":"ready"/);
      weir.kill('SIGKILL');
      await weir.waitForExit();
    };
    await killed();
    await using next = start(scene, ['proxy', 'web:9100', FILE]);
    await next.waitFor(/"event":"ready"/);
    next.kill('SIGKILL');
    await next.waitForExit();
    const cleanup = await run(scene, ['cleanup']);
    expect(cleanup.code, cleanup.stderr).toBe(0);
    expect(await scene.host.check(['find', `/tmp/weir-${USER}`, '-name', 'default*'])).toBe('');
  });
});
