/** docs/writing-a-plugin.md, done as a stranger would: outside the repository, against the packed packages. */
import { requires, startPeer, TestNetwork, WeirProcess } from '@weir/core/testing';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DocumentedPlace } from './place.ts';

const TLS_SERVER = fileURLToPath(new URL('programs/tls-server.ts', import.meta.url));

/** Sends what it reads, and prints what comes back. */
const TALKER = `
  const [host, port] = process.argv.slice(1);
  const socket = require('node:net').connect(Number(port), host);
  socket.on('data', (data) => console.log('got ' + data)).on('error', (error) => console.log(error.code));
  process.stdin.on('data', (data) => socket.write(data));`;

/** A certificate that is its own authority. */
function certificateFor(name: string, key: string, certificate: string): string {
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', key];
  const subject = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${name}`, '-days', '2'];
  execFileSync('openssl', ['req', '-x509', ...curve, ...subject, '-out', certificate], { stdio: 'pipe' });
  return readFileSync(certificate, 'utf8');
}

describe.skipIf(requires('namespaces', 'nft', 'curl', 'openssl'))('docs/writing-a-plugin.md', () => {
  let place: DocumentedPlace;

  beforeAll(() => {
    place = new DocumentedPlace('writing-a-plugin.md');
  }, 120_000);

  afterAll(() => place?.[Symbol.dispose]());

  test(
    'its dialers and its interceptor carry real traffic, and leave the host as it was',
    { timeout: 60_000 },
    async () => {
      await using net = await TestNetwork.create();
      const client = await net.host('client');
      const server = await net.host('server');
      await net.link(client, server, { ipv4: ['10.1.0.2/24', '10.1.0.1/24'] });
      await startPeer(server, 'http-server', ['--listen', '10.1.0.1:9000', '--name', 'first']);
      await startPeer(server, 'http-server', ['--listen', '10.1.0.1:9002', '--name', 'second']);
      const lines = await startPeer(server, 'tcp-server', ['--listen', '10.1.0.1:9001', '--mode', 'echo']);
      writeFileSync(client.path('/run/ledger'), '10.1.0.1:9000\n');
      writeFileSync(client.path('/run/registry'), 'printer.internal 10.1.0.9\n');
      const before = await client.state();

      const [key, certificate] = [place.path('key.pem'), place.path('certificate.pem')];
      const dialer = {
        type: 'example-tls',
        address: '10.1.0.1:8443',
        ca: certificateFor('tls.internal', key, certificate),
      };
      const tls = server.spawn([process.execPath, TLS_SERVER, key, certificate, '10.1.0.1', '8443']);
      await tls.waitFor(/listening/);
      const service = `  - ${JSON.stringify({ name: 'tls', addresses: ['tls.internal'], dialer })}\n`;
      const document = readFileSync(place.path('weir.yaml'), 'utf8').replace('services:\n', (line) => line + service);
      writeFileSync(client.path('/run/weir.yaml'), document);
      const args = ['--plugin', place.path('dist/index.js'), '--interceptor', 'example'];
      const weir = await WeirProcess.start(client, { file: '/run/weir.yaml', command: place.command, args });

      const asked = async () =>
        JSON.parse(await client.check(['curl', '-4sS', '-m', '5', 'http://ledger.internal/'])) as { server: string };
      expect((await asked()).server).toBe('first');
      writeFileSync(client.path('/run/ledger'), '10.1.0.1:9002\n');
      await expect.poll(async () => (await asked()).server, { timeout: 5000 }).toBe('second');

      const { stdout: repeated } = await client.run(['curl', '-4sS', '-m', '5', '--http0.9', 'http://tls.internal/y']);
      expect(repeated).toMatch(/^for tls\.internal: GET \/y/);

      // The resolver of the plugin, among Weir's own.
      expect(await client.check(['getent', 'ahostsv4', 'printer.internal'])).toMatch(/^10\.1\.0\.9 /);
      expect(await weir.admin.query('printer.internal', 'A')).toMatchObject({ resolver: 'registry' });

      // The echo never ends by itself, and curl reports that as a time-out.
      const { stdout: header } = await client.run([
        'curl',
        '-4sS',
        '-m',
        '3',
        '--http0.9',
        'http://frontend.internal/x',
      ]);
      expect(header).toMatch(/^PROXY TCP4 10\.1\.0\.2 100\.\S+ \d+ 80\r\nGET \/x/);
      expect(lines.exit).toBeUndefined();

      expect((await weir.stop()).code).toBe(0);
      expect(await client.state()).toBe(before);
    },
  );

  test('its interceptor keeps living flows, and leaves alone what no service wants', { timeout: 60_000 }, async () => {
    await using net = await TestNetwork.create();
    const client = await net.host('client');
    const server = await net.host('server');
    await net.link(client, server, { ipv4: ['10.1.0.2/24', '10.1.0.1/24'] });
    await startPeer(server, 'tcp-server', ['--listen', '10.1.0.1:9001', '--mode', 'echo']);
    const before = await client.state();

    const to = { type: 'direct', to: '10.1.0.1:9001' };
    const echo = { name: 'echo', addresses: ['203.0.113.0/24'], ports: [80], dialer: to };
    const other = { name: 'other', addresses: ['198.51.100.0/24'], sources: ['10.9.9.9'], dialer: to };
    const base = { plugins: [place.path('dist/index.js')], interceptor: 'example' };
    const file = '/run/weir.json';
    writeFileSync(client.path(file), JSON.stringify({ ...base, services: [echo, other] }));
    const weir = await WeirProcess.start(client, { file, command: place.command });

    // No route, and nobody wants it: refused at once, as without Weir.
    const refused = ['203.0.113.7:81', '198.51.100.7:80', '192.0.2.77:80'];
    const answers = await Promise.all(
      refused.map((url) => client.run(['curl', '-sS', '-m', '4', '-w', '%{time_total}', url])),
    );
    expect(answers.map(({ code }) => code)).toEqual([7, 7, 7]);

    // With a route, a packet that is not marked would leave the host by it.
    await client.addRoute('default', { via: '10.1.0.1' });
    const flow = client.spawn([process.execPath, '-e', TALKER, '203.0.113.7', '80']);
    const says = async (word: string) => {
      flow.stdin.write(word);
      await flow.waitFor(new RegExp(`got ${word}`), 5000);
    };
    await says('first');
    await weir.reload({ ...base, services: [other] });
    await says('reloaded');
    const mark = (await client.check(['nft', 'list', 'table', 'inet', 'example_default'])).length;
    weir.process.kill('SIGTERM');
    await expect
      .poll(async () => (await client.check(['nft', 'list', 'table', 'inet', 'example_default'])).length)
      .toBeLessThan(mark);
    await says('drained');
    flow.kill('SIGTERM');
    expect((await weir.process.exited).code).toBe(0);
    await client.check(['ip', 'route', 'del', 'default']);
    expect(await client.state()).toBe(before);
  });

  test('what a plugin imports by name is what the program itself runs', () => {
    const [node, program] = place.command as [string, string];
    const plugin = place.path('twin.mjs');
    writeFileSync(
      plugin,
      `import { writeSync } from 'node:fs';
      import * as core from '@weir/core';
      import * as sys from '@weir/core/sys';
      import nft from '@weir/nft';
      const load = (file) => import(new URL('node_modules/@weir/core/' + file, import.meta.url).href);
      const own = await load('bundle/index.js');
      const ownSys = await load('bundle/sys/index.js');
      const built = await load('dist/index.js');
      writeSync(2, JSON.stringify([
        core.WeirError === own.WeirError, sys.errno === ownSys.errno, core.WeirError === built.WeirError,
        nft.interceptors[0].module.pathname.split('/').slice(-2).join('/'),
      ]));
      export default core.definePlugin({ name: 'twin', apiVersion: core.API_VERSION });`,
    );
    const { stderr, status } = spawnSync(node, [program, 'plugins', '--plugin', plugin], { encoding: 'utf8' });
    expect(stderr).toBe('[true,true,false,"bundle/index.js"]');
    expect(status).toBe(0);
  });

  test('its own tests pass', { timeout: 120_000 }, () => {
    const tests = ['plugin', 'traffic', 'contract'].map((name) => place.path(`dist/${name}.test.js`));
    const args = ['--test', '--test-reporter=tap', ...tests];
    const { stdout, status } = spawnSync(process.execPath, args, { cwd: place.directory, encoding: 'utf8' });
    expect(stdout).toMatch(/^# pass 23$/m);
    expect(stdout).toMatch(/^# fail 0$/m);
    expect(status).toBe(0);
  });
});
