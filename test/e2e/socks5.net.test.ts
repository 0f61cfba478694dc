/** SOCKS5 behind the capture: a real proxy, and every way in which a proxy can be wrong. */
import { requires, runClients, startPeer, type TestHost } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import { COLLECTING, loadScene, residentBytes, scriptCommand, type LoadScene } from './load-scene.ts';

const web = (dialer: unknown, ports: readonly number[] = [80], name = 'web') => ({
  name,
  addresses: ['203.0.113.0/24', '2001:db8:5::/48', 'only-there.internal'],
  ports,
  dialer,
});

const DANTE = `logoutput: stderr
internal: 10.1.0.1 port = 1080
external: lo
clientmethod: none
socksmethod: METHOD
user.privileged: root
user.unprivileged: nobody
client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 command: connect }
`;

/** dante on the server host, where the names and addresses behind it are on the loopback device. */
async function startDante(server: TestHost, method: 'none' | 'username'): Promise<void> {
  await server.addAddress('lo', '203.0.113.7/32');
  await server.addAddress('lo', '203.0.113.8/32');
  await server.check(['sh', '-c', 'cat > /run/danted.conf'], { input: DANTE.replace('METHOD', method) });
  server.spawn(['danted', '-f', '/run/danted.conf']);
  const listening = 'for i in $(seq 100); do ss -lnt | grep -q 10.1.0.1:1080 && exit 0; sleep 0.05; done; exit 1';
  await server.check(['sh', '-c', listening]);
}

async function faulty(scene: LoadScene, mode: string, argument = '0', port = 1081): Promise<void> {
  const process = scene.server.spawn(scriptCommand('faulty-socks', ['10.1.0.1', String(port), mode, argument]));
  await process.waitFor(/listening/);
}

describe.skipIf(requires('namespaces', 'nft'))('socks5', () => {
  test.skipIf(requires('root', 'danted'))(
    'through dante: by address, and by a name that only dante can resolve',
    { timeout: 60_000 },
    async () => {
      await using scene = await loadScene();
      const { client, server } = scene;
      // A name in the hosts file of the server host alone.
      await server.check([
        'sh',
        '-c',
        'cat /etc/hosts > /run/hosts; echo "203.0.113.8 only-there.internal" >> /run/hosts; mount --bind /run/hosts /etc/hosts',
      ]);
      await startDante(server, 'none');
      await startPeer(server, 'http-server', [
        '--listen',
        '203.0.113.7:80',
        '--listen',
        '203.0.113.8:80',
        '--name',
        'real',
      ]);
      const weir = await scene.start({ services: [web({ type: 'socks5', address: '10.1.0.1:1080' })] });
      for (const host of ['203.0.113.7', 'only-there.internal']) {
        const answer = JSON.parse(await client.check(['curl', '-4sS', '-m', '5', `http://${host}/`])) as {
          server: string;
        };
        expect(answer.server).toBe('real');
      }
      const flows = await weir.ended(2);
      expect(flows.map((flow) => [flow.name, flow.dialer, flow.upstream?.port, flow.outcome])).toEqual([
        [undefined, 'web#1', 1080, 'closed'],
        ['only-there.internal', 'web#1', 1080, 'closed'],
      ]);
    },
  );

  test.skipIf(requires('root', 'danted'))(
    'bursts, half-close and bulk through dante',
    { timeout: 60_000 },
    async () => {
      await using scene = await loadScene();
      const { client, server } = scene;
      await startDante(server, 'none');
      await startPeer(server, 'tcp-server', ['--listen', '203.0.113.7:80', '--mode', 'source', '--bytes', '50000']);
      await scene.start({ services: [web({ type: 'socks5', address: '10.1.0.1:1080' })] });
      const report = await runClients(client, '203.0.113.7:80', {
        mode: 'burst',
        bytes: 5000,
        count: 200,
        parallel: 20,
      });
      expect(report).toMatchObject({ outcomes: { eof: 200 }, read: 200 * 50_000 });
    },
  );

  test.skipIf(requires('root', 'danted'))(
    'user and password, from a file that nobody else reads',
    { timeout: 60_000 },
    async () => {
      await using scene = await loadScene();
      const { client, server } = scene;
      // dante asks the system: an account of this host's own passwd.
      const account =
        'cp /etc/passwd /run/passwd; cp /etc/shadow /run/shadow; ' +
        `hash=$(perl -e 'print crypt("open sesame", "\\$6\\$weir")'); ` +
        'echo "weirtest:x:1999:1999::/:/bin/false" >> /run/passwd; echo "weirtest:$hash:19000::::::" >> /run/shadow; ' +
        'mount --bind /run/passwd /etc/passwd; mount --bind /run/shadow /etc/shadow';
      await server.check(['sh', '-c', account]);
      await startDante(server, 'username');
      await startPeer(server, 'http-server', ['--listen', '203.0.113.7:80', '--name', 'real']);
      await client.check(['sh', '-c', 'umask 077; printf "open sesame\\n" > /run/secret; printf wrong > /run/wrong']);
      const proxy = (file: string) => ({
        type: 'socks5',
        address: '10.1.0.1:1080',
        username: 'weirtest',
        password: { file },
      });
      const weir = await scene.start({
        services: [web(proxy('/run/secret')), web(proxy('/run/wrong'), [81], 'wrong')],
      });
      const answer = JSON.parse(await client.check(['curl', '-sS', '-m', '9', 'http://203.0.113.7/'])) as {
        server: string;
      };
      expect(answer.server).toBe('real');
      const refused = await runClients(client, '203.0.113.7:81', { mode: 'read' });
      expect(refused.outcomes).toEqual({ ECONNRESET: 1 });
      expect((await weir.ended(2)).map((flow) => flow.outcome)).toEqual(['closed', 'denied']);
      const status = JSON.stringify(await weir.admin.status());
      expect(status + weir.process.stdout + weir.process.stderr).not.toContain('sesame');
    },
  );

  test(
    'a handshake in single bytes, and one whose last reply brings the first bytes of the flow',
    { timeout: 60_000 },
    async () => {
      await using scene = await loadScene();
      await faulty(scene, 'bytes', '0', 1081);
      await faulty(scene, 'early', '0', 1082);
      const proxy = (port: number) => ({ type: 'socks5', address: `10.1.0.1:${port}` });
      await scene.start({ services: [web(proxy(1081), [80], 'bytes'), web(proxy(1082), [81], 'early')] });
      const slow = await runClients(scene.client, '203.0.113.7:80', {
        mode: 'burst',
        bytes: 100,
        count: 20,
        parallel: 20,
      });
      expect(slow).toMatchObject({ outcomes: { eof: 20 }, read: 2000 });
      const early = await runClients(scene.client, '203.0.113.7:81', {
        mode: 'burst',
        bytes: 100,
        count: 20,
        parallel: 20,
      });
      expect(early).toMatchObject({ outcomes: { eof: 20 }, read: 2000 + 20 * 'early '.length });
    },
  );

  const FAULTS: ReadonlyArray<readonly [mode: string, argument: string, outcome: string]> = [
    ['stall', '0', 'dial-timeout'],
    ['flood', '0', 'dial-protocol'],
    ['version', '0', 'dial-protocol'],
    ['method', '0', 'dial-protocol'],
    ['type', '0', 'dial-protocol'],
    ['refuse', '5', 'dial-refused'],
    ['refuse', '2', 'denied'],
    ['refuse', '4', 'dial-unreachable'],
    ['refuse', '77', 'dial-error'],
    ...Array.from({ length: 12 }, (_, n) => ['close', String(n), 'dial-protocol'] as const),
  ];

  test(
    'every fault of a proxy is a reset to the client, in time and in little memory',
    { timeout: 90_000 },
    async () => {
      await using scene = await loadScene();
      const services = [];
      for (const [index, [mode, argument]] of FAULTS.entries()) {
        await faulty(scene, mode, argument, 2000 + index);
        services.push(web({ type: 'socks5', address: `10.1.0.1:${2000 + index}` }, [3000 + index], `fault-${index}`));
      }
      const weir = await scene.start({ services, timeouts: { connect: '2s', handshake: '1s' } }, COLLECTING);
      await runClients(scene.client, '203.0.113.7:3001', { mode: 'burst', count: 10, parallel: 10 });
      const before = residentBytes(weir.process.pid);
      for (const [index, [mode, argument, outcome]] of FAULTS.entries()) {
        const options = { mode: 'burst', count: 50, parallel: 50, timeoutMs: 6000 };
        const report = await runClients(scene.client, `203.0.113.7:${3000 + index}`, options);
        expect(report.outcomes, `${mode} ${argument}`).toEqual({ ECONNRESET: 50 });
        expect(report.ms).toBeLessThan(5000);
        const service = `fault-${index}`;
        const last = async () => (await weir.admin.recentFlows(100)).findLast((flow) => flow.service === service);
        const message = `${mode} ${argument}`;
        await expect.poll(async () => (await last())?.outcome, { message, timeout: 5000 }).toBe(outcome);
      }
      expect(residentBytes(weir.process.pid) - before).toBeLessThan(16 * 2 ** 20);
      expect((await weir.admin.flows(100)).length).toBe(0);
    },
  );

  test(
    'dialers in order: the second takes what the first refuses, stalls on or does not answer',
    { timeout: 60_000 },
    async () => {
      await using scene = await loadScene();
      await faulty(scene, 'refuse', '1', 1081);
      await faulty(scene, 'stall', '0', 1082);
      await faulty(scene, 'bytes', '0', 1083);
      const dialers = Object.fromEntries(
        [1080, 1081, 1082, 1083].map((port) => [`p${port}`, { type: 'socks5', address: `10.1.0.1:${port}` }]),
      );
      // Nobody listens on 1080.
      const weir = await scene.start({
        dialers,
        timeouts: { connect: '2s', handshake: '500ms' },
        services: [
          web(['p1080', 'p1081', 'p1082', 'p1083'], [80]),
          web(['p1081', 'reset'], [81], 'reset'),
          web('drop', [82], 'drop'),
        ],
      });
      const report = await runClients(scene.client, '203.0.113.7:80', {
        mode: 'burst',
        bytes: 64,
        count: 10,
        parallel: 10,
      });
      expect(report).toMatchObject({ outcomes: { eof: 10 }, read: 640 });
      expect((await weir.ended(10)).map((flow) => flow.dialer)).toEqual(Array(10).fill('p1083'));
      const reset = await runClients(scene.client, '203.0.113.7:81', { mode: 'read' });
      expect(reset.outcomes).toEqual({ ECONNRESET: 1 });
      const dropped = await runClients(scene.client, '203.0.113.7:82', { mode: 'read', timeoutMs: 1000 });
      expect(dropped.outcomes).toEqual({ timeout: 1 });
    },
  );
});
