/** Programs that live on UDP, unchanged, through captured prefixes: dig, iperf3, and a game at 60 Hz. */
import { requires, runDatagrams, startPeer } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import { loadScene, type LoadScene } from './load-scene.ts';

const QUIET = { resolver: { listen: [], reach: 'none', test: 'off' } };

/** A real DNS server on port 5353 of the server host. */
async function dnsmasq({ server }: LoadScene): Promise<void> {
  const options = ['-d', '-p', '5353', '-R', '-h', '--pid-file=', '--address=/game.internal/192.0.2.77'];
  server.spawn(['dnsmasq', ...options, '--listen-address=10.1.0.1,fd00:1::1', '--bind-interfaces']);
  const wait = 'for i in $(seq 100); do [ "$(ss -lnu | grep -c :5353)" -ge 2 ] && exit 0; sleep 0.05; done; exit 1';
  await server.check(['sh', '-c', wait]);
}

const DNS = [
  ['203.0.113.53/32', '10.1.0.1:5353'],
  ['2001:db8:5::53/128', '[fd00:1::1]:5353'],
].map(([address, to], index) => ({
  name: `dns${index}`,
  addresses: [address],
  ports: [53],
  protocols: ['tcp', 'udp'],
  dialer: { type: 'direct', to },
}));

describe.skipIf(requires('namespaces', 'nft', 'ipv6'))('real users of udp', () => {
  test.skipIf(requires('dig', 'dnsmasq'))(
    'dig asks a captured server by UDP and by TCP',
    { timeout: 60_000 },
    async () => {
      await using scene = await loadScene();
      await dnsmasq(scene);
      const weir = await scene.start({ ...QUIET, services: DNS, timeouts: { 'udp-idle': '1s' } });
      const asked: string[] = [];
      for (const server of ['203.0.113.53', '2001:db8:5::53']) {
        for (const how of ['+notcp', '+tcp']) {
          const answer = await scene.client.check(['dig', '+short', how, `@${server}`, 'game.internal']);
          expect(answer.trim(), `${server} ${how}`).toBe('192.0.2.77');
          asked.push(how === '+tcp' ? 'tcp' : 'udp');
        }
      }
      const records = await weir.ended(4);
      expect(records.map(({ protocol }) => protocol).toSorted()).toEqual(asked.toSorted());
    },
  );

  test('a server with thousands of clients, each on a port of its own', { timeout: 120_000 }, async () => {
    await using scene = await loadScene();
    await startPeer(scene.server, 'udp-server', ['--listen', '10.1.0.1:9000', '--mode', 'echo']);
    const weir = await scene.start({
      ...QUIET,
      services: [
        {
          name: 'echo',
          addresses: ['203.0.113.0/24'],
          ports: [7000],
          protocols: ['udp'],
          dialer: { type: 'direct', to: '10.1.0.1:9000' },
        },
      ],
      timeouts: { 'udp-idle': '1s' },
    });
    let right = 0;
    for (let round = 0; round < 5; round++) {
      right += (await runDatagrams(scene.client, ['203.0.113.7:7000'], { count: 800, rounds: 1 })).right;
    }
    expect(right).toBe(4000);
    await expect.poll(async () => (await weir.admin.flows(10)).length, { timeout: 10_000 }).toBe(0);
    expect((await weir.admin.status()).counters).toMatchObject({ datagramsUp: 4000, datagramsDown: 4000 });
  });

  test.skipIf(requires('iperf3'))('iperf3 -u, both ways', { timeout: 60_000 }, async () => {
    await using scene = await loadScene();
    scene.server.spawn(['iperf3', '-s', '-B', '10.1.0.1', '-p', '5201']);
    const wait = 'for i in $(seq 100); do ss -lnt | grep -q :5201 && exit 0; sleep 0.05; done; exit 1';
    await scene.server.check(['sh', '-c', wait]);
    const weir = await scene.start({
      ...QUIET,
      services: [
        {
          name: 'iperf',
          addresses: ['203.0.113.7'],
          ports: [5201],
          protocols: ['tcp', 'udp'],
          dialer: { type: 'direct', to: '10.1.0.1:5201' },
        },
      ],
    });
    for (const way of [[], ['-R']]) {
      const args = ['-u', '-c', '203.0.113.7', '-b', '20M', '-l', '1200', '-t', '2', '-J', ...way];
      const report = JSON.parse(await scene.client.check(['iperf3', ...args])) as {
        end: { sum: { lost_percent: number; packets: number; bits_per_second: number } };
      };
      expect(report.end.sum.packets).toBeGreaterThan(3000);
      // Nothing of what is sent at a modest rate may be lost inside the host; the machine may be busy with other things.
      expect(report.end.sum.lost_percent, JSON.stringify(report.end.sum)).toBeLessThan(2);
    }
    const { counters } = await weir.admin.status();
    expect((counters['datagramsUp'] ?? 0) + (counters['datagramsDown'] ?? 0)).toBeGreaterThan(6000);
  });

  test('a game at 60 Hz keeps its session and its answers for seconds', { timeout: 60_000 }, async () => {
    await using scene = await loadScene();
    await startPeer(scene.server, 'udp-server', ['--listen', '10.1.0.1:9000', '--mode', 'echo']);
    const weir = await scene.start({
      ...QUIET,
      services: [
        {
          name: 'game',
          addresses: ['203.0.113.0/24'],
          ports: [27015],
          protocols: ['udp'],
          dialer: { type: 'direct', to: '10.1.0.1:9000' },
        },
      ],
      timeouts: { 'udp-idle': '1s' },
    });
    const script = `
      const socket = require('node:dgram').createSocket('udp4');
      const sent = new Map(), late = [];
      let n = 0;
      socket.on('message', (m) => { late.push(performance.now() - sent.get(m.readUInt32BE(0))); });
      socket.connect(27015, '203.0.113.7', () => {
        const tick = setInterval(() => {
          const b = Buffer.alloc(120); b.writeUInt32BE(n, 0); sent.set(n++, performance.now()); socket.send(b);
          if (n === 240) { clearInterval(tick); setTimeout(() => {
            late.sort((a, b) => a - b);
            console.log(JSON.stringify({ sent: n, answered: late.length, median: late[late.length >> 1] }));
            process.exit(0);
          }, 500); }
        }, 1000 / 60);
      });`;
    const report = JSON.parse(await scene.client.check([process.execPath, '-e', script])) as {
      sent: number;
      answered: number;
      median: number;
    };
    expect(report).toMatchObject({ sent: 240, answered: 240 });
    expect(report.median).toBeLessThan(16);
    const [session, ...others] = await weir.ended(1);
    expect(others).toEqual([]);
    expect(session).toMatchObject({ protocol: 'udp', service: 'game', bytesUp: 240 * 120, bytesDown: 240 * 120 });
  });
});
