/**
 * Generated IP packets into the device of a running Weir: the pump stays alive, every packet that it read stands in a
 * counter, and afterwards flows are carried as before and nothing is left. WEIR_SOAK=1: a million.
 */
import { fileURLToPath } from 'node:url';
import { descriptorsOf, requires, runClients, startPeer, TestNetwork, WeirProcess } from '@weir/core/testing';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { COUNTERS } from '../src/counters.ts';

const soak = process.env['WEIR_SOAK'] === '1';
const seed = Number(process.env['WEIR_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const count = soak ? 1_000_000 : 100_000;
const SENDER = fileURLToPath(new URL('peers/packet-sender.ts', import.meta.url));

/** What counts no packet of its own. */
const EVENTS = new Set<string>([
  'natOpened',
  'prohibited',
  'writeFailed',
  'heldReleased',
  'heldRefused',
  'heldUnreachable',
  'heldGivenUp',
]);
const PACKETS = COUNTERS.filter((name) => !EVENTS.has(name));
const TARGETS = ['203.0.113.7:80', '[2001:db8::7]:80'];

function residentMegabytes(pid: number): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
}

describe.skipIf(requires('namespaces', 'tun', 'ipv6'))(`WEIR_SEED=${seed}`, () => {
  test(
    `${count} packets into the device: none is without a counter, and Weir goes on`,
    { timeout: 900_000 },
    async () => {
      await using net = await TestNetwork.create();
      const client = await net.host('client');
      const server = await net.host('server');
      await net.link(client, server, { ipv4: ['10.1.0.2/24', '10.1.0.1/24'], ipv6: ['fd00:1::2/64', 'fd00:1::1/64'] });
      await startPeer(server, 'tcp-server', [
        '--listen',
        '10.1.0.1:8080',
        '--listen',
        '[fd00:1::1]:8080',
        '--mode',
        'echo',
      ]);
      const web = (name: string, prefix: string, to: string) => ({
        name,
        addresses: [prefix],
        ports: [53, 80, 443],
        protocols: ['tcp', 'udp'],
        dialer: { type: 'direct', to },
      });
      const config = {
        interceptor: 'tun',
        interceptors: { tun: { handshake: 'deferred', 'held-handshakes': 64 } },
        resolver: { listen: [], reach: 'none', test: 'off' },
        services: [web('web', '203.0.113.0/24', '10.1.0.1:8080'), web('web6', '2001:db8::/48', '[fd00:1::1]:8080')],
        timeouts: { connect: '1s', 'udp-idle': '1s' },
        log: { level: 'warn', flows: 'off' },
      };
      await using weir = await WeirProcess.start(client, { config });
      const exchange = async () => {
        for (const target of TARGETS) {
          expect((await runClients(client, target, { mode: 'exchange', bytes: 100_000 })).outcomes).toEqual({ eof: 1 });
        }
        await expect.poll(async () => (await weir.admin.flows(1)).length, { timeout: 15_000 }).toBe(0);
      };
      const packets = async () => {
        const { counters } = await weir.admin.status();
        return PACKETS.reduce((sum, name) => sum + (counters[name] ?? 0), 0);
      };
      const deviceRead = async () =>
        Number(await client.check(['cat', '/sys/class/net/weirtun0/statistics/tx_packets']));
      await exchange();
      const before = {
        descriptors: descriptorsOf(weir.process.pid).size,
        megabytes: residentMegabytes(weir.process.pid),
      };
      const argv = [process.execPath, '--conditions=source', SENDER, 'weirtun0', String(count), String(seed)];
      const sent = JSON.parse(await client.check(argv, { timeoutMs: 800_000 })) as Record<string, number>;
      await exchange();
      await expect.poll(async () => (await packets()) - (await deviceRead()), { timeout: 10_000 }).toBe(0);
      const { counters } = await weir.admin.status();
      const after = {
        descriptors: descriptorsOf(weir.process.pid).size,
        megabytes: residentMegabytes(weir.process.pid),
      };
      const shown = Object.fromEntries(COUNTERS.map((name) => [name, counters[name] ?? 0]));
      process.stderr.write(
        `fuzz of the device: WEIR_SEED=${seed} ${JSON.stringify({ ...sent, before, after, ...shown })}\n`,
      );
      // The device's queue is bounded, and the kernel's own packets stand in it too.
      expect(sent['lost']).toBeLessThan(count / 1000);
      expect(sent['sent']).toBe(count);
      expect(sent['read']).toBeGreaterThanOrEqual(count - (sent['lost'] ?? 0));
      expect(after.descriptors).toBeLessThanOrEqual(before.descriptors);
      // The tables of flows are taken as they are used: that many flows, not that many packets.
      expect(after.megabytes - before.megabytes).toBeLessThan(100);
      expect(counters).toMatchObject({ workerDeaths: 0 });
      expect((await weir.stop()).code).toBe(0);
    },
  );
});
