/** `handshake: deferred`: a connection is answered as its upstream answers, so that a client sees what it would see without Weir. */
import { requires, runClients, startPeer } from '@weir/core/testing';
import { writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { loadScene, scriptCommand, type LoadScene } from './load-scene.ts';

const HOSTS = { 4: '203.0.113.7', 6: '[2001:db8:7::1]' } as const;
const PREFIXES = { 4: '203.0.113.0/24', 6: '2001:db8:7::/48' } as const;
const CLOSED = { 4: '10.1.0.1:8081', 6: '[fd00:1::1]:8081' };
const OPEN = { 4: '10.1.0.1:8080', 6: '[fd00:1::1]:8080' };
/** Out of every network that the host has a route to. */
const NOWHERE = { 4: '198.51.100.1:80', 6: '[2001:db8:ffff::1]:80' };
/** In the network of the upstreams, with a neighbour that takes everything and says nothing. */
const SILENT = { 4: '10.1.0.99:80', 6: '[fd00:1::99]:80' };

function services(port: number, dialer: string | Readonly<Record<4 | 6, string>>): readonly object[] {
  return ([4, 6] as const).map((family) => ({
    name: `p${port}-${family}`,
    addresses: [PREFIXES[family]],
    ports: [port],
    dialer: typeof dialer === 'string' ? dialer : { type: 'direct', to: dialer[family] },
  }));
}

function config(options: object, over: object): Record<string, unknown> {
  return {
    interceptor: 'tun',
    interceptors: { tun: { handshake: 'deferred', ...options } },
    resolver: { listen: [], reach: 'none', test: 'off' },
    ...over,
  };
}

async function silentNeighbour({ client }: LoadScene): Promise<void> {
  const device = "$(ip -o route get 10.1.0.1 | sed 's/.* dev \\([^ ]*\\).*/\\1/')";
  for (const address of ['10.1.0.99', 'fd00:1::99']) {
    await client.check(['sh', '-c', `ip neigh add ${address} lladdr 02:00:00:00:00:99 dev ${device}`]);
  }
}

describe.skipIf(requires('namespaces', 'tun', 'ipv6'))('handshake: deferred', () => {
  test('a connection ends in the way of its upstream, and is dialled once', { timeout: 90_000 }, async () => {
    await using made = await loadScene();
    await silentNeighbour(made);
    await startPeer(made.server, 'tcp-server', ['--listen', OPEN[4], '--listen', OPEN[6], '--mode', 'echo']);
    const weir = await made.start(
      config(
        {},
        {
          workers: 2,
          timeouts: { connect: '1s' },
          services: [
            ...services(80, OPEN),
            ...services(81, CLOSED),
            ...services(82, 'reset'),
            ...services(83, NOWHERE),
            ...services(84, SILENT),
          ],
        },
      ),
    );
    const outcome = async (family: 4 | 6, port: number, count = 1) => {
      const options = { mode: 'exchange', bytes: 100_000, count, parallel: 20, timeoutMs: 20_000 };
      return (await runClients(made.client, `${HOSTS[family]}:${port}`, options)).outcomes;
    };
    for (const family of [4, 6] as const) {
      expect(await outcome(family, 80, 40)).toEqual({ eof: 40 });
      expect(await outcome(family, 81)).toEqual({ ECONNREFUSED: 1 });
      expect(await outcome(family, 82)).toEqual({ ECONNREFUSED: 1 });
      expect(await outcome(family, 83)).toEqual({ ENETUNREACH: 1 });
      expect(await outcome(family, 84)).toEqual({ EHOSTUNREACH: 1 });
    }
    const { counters } = await weir.admin.status();
    expect(counters).toMatchObject({
      heldReleased: 82,
      heldRefused: 4,
      heldUnreachable: 4,
      heldLimit: 0,
      writeFailed: 0,
    });
    // Two canaries were let through undialled; what is refused by a rule or has no route was never dialled.
    expect(counters).toMatchObject({ heldDials: 90, dials: 84, dialRefused: 2, dialTimeout: 2, dialUnreachable: 2 });
    await expect.poll(async () => (await weir.admin.flows(10)).length, { timeout: 10_000 }).toBe(0);
  });

  test(
    'a SYN that comes again is dialled once, a client that goes ends its dial, and places are bounded',
    { timeout: 90_000 },
    async () => {
      await using made = await loadScene();
      await silentNeighbour(made);
      const weir = await made.start(
        config({ 'held-handshakes': 1 }, { timeouts: { connect: '60s' }, services: services(84, SILENT) }),
      );
      const counters = async () => (await weir.admin.status()).counters;
      const first = runClients(made.client, `${HOSTS[4]}:84`, { mode: 'read', timeoutMs: 2500 });
      await expect.poll(async () => (await counters())['dials'], { timeout: 10_000 }).toBe(1);
      const second = runClients(made.client, `${HOSTS[4]}:84`, { mode: 'read', timeoutMs: 500 });
      expect((await first).outcomes).toEqual({ timeout: 1 });
      expect((await second).outcomes).toEqual({ timeout: 1 });
      const after = await counters();
      expect(after['heldLimit']).toBeGreaterThan(0);
      expect(after['packetsHeld']).toBeGreaterThan(1);
      expect(after['dials']).toBe(1);
      // Long before the dial's own time is over.
      await expect.poll(async () => (await counters())['heldGivenUp'], { timeout: 20_000 }).toBe(1);
      await expect.poll(async () => (await weir.admin.flows(10)).length, { timeout: 5000 }).toBe(0);
      expect((await counters())['clientReset']).toBe(1);
      // The place is free again.
      const third = runClients(made.client, `${HOSTS[4]}:84`, { mode: 'read', timeoutMs: 500 });
      await expect.poll(async () => (await counters())['dials'], { timeout: 10_000 }).toBe(2);
      await third;
    },
  );

  test(
    'a worker that dies with connections that wait: they are dialled anew, and others stand',
    { timeout: 60_000 },
    async () => {
      await using made = await loadScene();
      await silentNeighbour(made);
      await startPeer(made.server, 'tcp-server', ['--listen', OPEN[4], '--mode', 'echo']);
      const document = config(
        {},
        { timeouts: { connect: '60s' }, services: [...services(80, OPEN), ...services(84, SILENT)] },
      );
      writeFileSync(made.client.path('/run/embedded.json'), JSON.stringify(document));
      const weir = made.client.spawn(scriptCommand('embedded-weir', ['/run/embedded.json']));
      await weir.waitFor(/"ready":true/, 30_000);
      const waiting = runClients(made.client, `${HOSTS[4]}:84`, { mode: 'read', timeoutMs: 8000 });
      const dialling = (after: string) => {
        weir.stdin.write('status\n');
        return weir.stdout.slice(weir.stdout.lastIndexOf(after));
      };
      await expect.poll(() => dialling('"ready"'), { timeout: 10_000 }).toMatch(/"dials":1\b/);
      weir.stdin.write('crash 0\n');
      await weir.waitFor(/crashed/);
      const { outcomes } = await runClients(made.client, `${HOSTS[4]}:80`, {
        mode: 'exchange',
        count: 10,
        parallel: 5,
      });
      expect(outcomes).toEqual({ eof: 10 });
      // Its client has sent the SYN again: ten dials, and that one twice.
      await expect.poll(() => dialling('crashed'), { timeout: 10_000 }).toMatch(/"dials":12\b/);
      expect((await waiting).outcomes).toEqual({ timeout: 1 });
      weir.stdin.write('stop\n');
      await weir.waitFor(/"stopped":true/, 20_000);
    },
  );
});
