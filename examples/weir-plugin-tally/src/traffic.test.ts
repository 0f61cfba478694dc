import { startPeer, TestNetwork, WeirProcess } from '@weir/core/testing';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const upstream = fileURLToPath(new URL('../upstream.mjs', import.meta.url));

test('the upstream is told who the client is, by prefix and by name, and a kill leaves nothing', { timeout: 120_000 }, async () => {
  await using net = await TestNetwork.create();
  const client = await net.host('client');
  const server = await net.host('server');
  await net.link(client, server, { ipv4: ['10.1.0.2/24', '10.1.0.1/24'] });
  const header = server.spawn([process.execPath, upstream, '10.1.0.1', '9000']);
  await header.waitFor(/listening/);
  await startPeer(server, 'http-server', ['--listen', '10.1.0.1:9001', '--name', 'plain']);
  const before = await client.state();

  const weir = await WeirProcess.start(client, {
    config: {
      plugins: [fileURLToPath(new URL('./index.js', import.meta.url))],
      interceptor: 'tally',
      services: [
        {
          name: 'shop',
          addresses: ['203.0.113.0/24', 'shop.internal'],
          ports: [80],
          dialer: { type: 'proxy-v2', address: '10.1.0.1:9000', authority: true },
        },
      ],
    },
  });
  const get = async (url: string) => JSON.parse(await client.check(['curl', '-sS', '-m', '10', url])) as Record<string, unknown>;
  const seen = await get('http://203.0.113.7/');
  assert.deepEqual({ ...seen, source: undefined }, { version: 2, command: 1, source: undefined, destination: '203.0.113.7:80', request: 'GET / HTTP/1.1' });
  assert.match(String(seen.source), /^10\.1\.0\.2:\d+$/);
  const spelled = await get('http://ip-203-0-113-9.example/x');
  assert.equal(spelled.destination, '203.0.113.9:80');
  const named = await get('http://shop.internal/');
  assert.equal(named.authority, 'shop.internal');
  const flows = await weir.ended(3);
  assert.deepEqual(flows.map(({ outcome }) => outcome), ['closed', 'closed', 'closed']);

  // A port that no service wants is left alone: there is nobody, and no RST of Weir.
  assert.notEqual((await client.run(['curl', '-sS', '-m', '2', 'http://203.0.113.7:81/'])).code, 0);

  weir.process.kill('SIGKILL');
  for (const late = Date.now() + 10_000; (await client.state()) !== before && Date.now() < late;) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.equal(await client.state(), before);
});
