/** Programs that live on UDP, unchanged, through captured prefixes: dig, QUIC, iperf3, a crowd of resolvers, a game at 60 Hz. */
import { requires, runDatagrams, startPeer, type TestHost } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import { loadScene, openDescriptors, scriptCommand, type LoadScene } from './load-scene.ts';

const soak = process.env['WEIR_SOAK'] === '1';
const QUIET = { resolver: { listen: [], reach: 'none', test: 'off' } };

/** A real DNS server on port 5353 of the server host. */
async function dnsmasq({ server }: LoadScene): Promise<void> {
  const options = ['-d', '-p', '5353', '-R', '-h', '--pid-file=', '--address=/game.internal/192.0.2.77'];
  server.spawn(['dnsmasq', ...options, '--listen-address=10.1.0.1,fd00:1::1', '--bind-interfaces']);
  await server.check(['sh', '-c', waitFor('[ "$(ss -lnu | grep -c :5353)" -ge 2 ]')]);
}

/** A shell line that waits until another one succeeds. */
function waitFor(line: string): string {
  return `for i in $(seq 100); do ${line} && exit 0; sleep 0.05; done; exit 1`;
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

  const CLIENTS = soak ? 100_000 : 20_000;
  test.skipIf(requires('dnsmasq'))(
    `a DNS server asked from ${CLIENTS} ports, more than may have a session at once`,
    { timeout: soak ? 600_000 : 120_000 },
    async () => {
      await using scene = await loadScene();
      await dnsmasq(scene);
      for (const address of ['10.1.0.4/24', '10.1.0.5/24']) await scene.client.addAddress('eth0', address);
      // Weir's own sockets to the server stay out of the way of the clients' ports.
      await scene.client.setSysctl('net.ipv4.ip_local_port_range', '50000 65535');
      const weir = await scene.start({
        ...QUIET,
        services: DNS,
        limits: { 'udp-sessions': 1000 },
        timeouts: { 'udp-idle': '500ms' },
      });
      const before = openDescriptors(weir.process.pid);
      // Each client is a port of its own; who got no session asks again two seconds later, as a resolver does.
      const flags = { protocol: 'udp', flows: CLIENTS, parallel: 3000, dns: 'game.internal', answer: '192.0.2.77' };
      const places = { targets: '203.0.113.53:53', sources: '10.1.0.2,10.1.0.4,10.1.0.5' };
      const args = Object.entries({ ...flags, ...places }).flatMap(([key, value]) => [`--${key}`, String(value)]);
      const asking = scene.client.check(scriptCommand('flow-load', args), { timeoutMs: 580_000 });
      let most = 0;
      const watch = setInterval(() => {
        void weir.admin.status().then(({ counters }) => (most = Math.max(most, counters['active'] ?? 0)));
      }, 200);
      const report = JSON.parse(await asking.finally(() => clearInterval(watch))) as Record<string, number>;
      expect(report).toMatchObject({ right: CLIENTS, wrong: 0, timeout: 0, errors: {} });
      expect(most).toBeLessThanOrEqual(1000);
      const { counters, workers } = await weir.admin.status();
      process.stdout.write(
        `dns from ${CLIENTS} ports: ${Math.round((CLIENTS / (report['ms'] ?? 1)) * 1000)}/s, ${report['again']} asked again, ` +
          `sessions ${counters['ended']}, at once ${most} of 1000, refused for the limit ${counters['sessionLimit']}\n`,
      );
      expect(counters['sessionLimit']).toBeGreaterThan(0);
      expect(counters['dialLimit']).toBe(0);
      expect(workers.map(({ deaths }) => deaths)).toEqual([0]);
      await expect.poll(async () => (await weir.admin.flows(10)).length, { timeout: 10_000 }).toBe(0);
      // One may be the connection of the command that has just asked.
      await expect.poll(() => openDescriptors(weir.process.pid)).toBeLessThanOrEqual(before);
    },
  );

  test.skipIf(requires('ngtcp2', 'openssl'))(
    'QUIC: a handshake and two mebibytes by HTTP/3',
    { timeout: 60_000 },
    async () => {
      await using scene = await loadScene();
      const { client, server } = scene;
      const make =
        'mkdir /run/www && head -c 2097152 /dev/urandom > /run/www/file && cd /run && ' +
        'openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=quic.internal 2>/dev/null';
      await server.check(['sh', '-c', make]);
      server.spawn(['gtlsserver', '-q', '-d', '/run/www', '10.1.0.1', '4433', '/run/key.pem', '/run/cert.pem']);
      await server.check(['sh', '-c', waitFor('ss -lnu | grep -q :4433')]);
      const weir = await scene.start({
        ...QUIET,
        services: [
          {
            name: 'quic',
            addresses: ['203.0.113.7', '2001:db8:5::7'],
            ports: [443],
            protocols: ['udp'],
            dialer: { type: 'direct', to: '10.1.0.1:4433' },
          },
        ],
        timeouts: { 'udp-idle': '1s' },
      });
      const sum = (host: TestHost, file: string) => host.check(['sh', '-c', `sha256sum < ${file}`]);
      for (const [n, address] of ['203.0.113.7', '2001:db8:5::7'].entries()) {
        const fetch = ['gtlsclient', '-q', '--exit-on-all-streams-close', `--download=/run/got${n}`, address, '443'];
        await client.check(['sh', '-c', `mkdir /run/got${n} && ${fetch.join(' ')} https://quic.internal/file`]);
        expect(await sum(client, `/run/got${n}/file`)).toBe(await sum(server, '/run/www/file'));
      }
      const sessions = await weir.ended(2);
      expect(sessions.map(({ outcome, service }) => [outcome, service])).toEqual([
        ['closed', 'quic'],
        ['closed', 'quic'],
      ]);
      for (const { bytesDown } of sessions) expect(bytesDown).toBeGreaterThan(2 * 2 ** 20);
    },
  );

  test.skipIf(requires('iperf3'))('iperf3 -u, both ways', { timeout: 60_000 }, async () => {
    await using scene = await loadScene();
    scene.server.spawn(['iperf3', '-s', '-B', '10.1.0.1', '-p', '5201']);
    await scene.server.check(['sh', '-c', waitFor('ss -lnt | grep -q :5201')]);
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
            const jitter = late.reduce((j, t, k) => (k === 0 ? 0 : j + (Math.abs(t - late[k - 1]) - j) / 16), 0);
            const sorted = late.toSorted((a, b) => a - b);
            const at = (part) => Number(sorted[Math.floor(part * (sorted.length - 1))].toFixed(2));
            console.log(JSON.stringify({ sent: n, answered: late.length, median: at(0.5), p99: at(0.99), jitter: Number(jitter.toFixed(2)) }));
            process.exit(0);
          }, 500); }
        }, 1000 / 60);
      });`;
    const report = JSON.parse(await scene.client.check([process.execPath, '-e', script])) as {
      sent: number;
      answered: number;
      median: number;
      jitter: number;
      p99: number;
    };
    process.stdout.write(`game at 60 Hz: ${JSON.stringify(report)} (milliseconds; jitter as RFC 3550 has it)\n`);
    expect(report).toMatchObject({ sent: 240, answered: 240 });
    expect(report.median).toBeLessThan(16);
    const [session, ...others] = await weir.ended(1);
    expect(others).toEqual([]);
    expect(session).toMatchObject({ protocol: 'udp', service: 'game', bytesUp: 240 * 120, bytesDown: 240 * 120 });
  });
});
