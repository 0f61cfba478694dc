/** docs/writing-a-plugin.md, done as a stranger would: outside the repository, against the packed packages. */
import { requires, startPeer, TestNetwork, WeirProcess } from '@weir/core/testing';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DocumentedPlace } from './place.ts';

const TLS_SERVER = fileURLToPath(new URL('programs/tls-server.ts', import.meta.url));

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

  test('its own tests pass', { timeout: 120_000 }, () => {
    const tests = ['dist/plugin.test.js', 'dist/traffic.test.js'].map((file) => place.path(file));
    const args = ['--test', '--test-reporter=tap', ...tests];
    const { stdout, status } = spawnSync(process.execPath, args, { cwd: place.directory, encoding: 'utf8' });
    expect(stdout).toMatch(/^# pass 11$/m);
    expect(stdout).toMatch(/^# fail 0$/m);
    expect(status).toBe(0);
  });
});
