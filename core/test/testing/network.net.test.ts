import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { requires, runClients, startPeer, TestNetwork, type TestHost } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';

async function pair(net: TestNetwork): Promise<readonly [TestHost, TestHost]> {
  const client = await net.host('client');
  const server = await net.host('server');
  await net.link(client, server, {
    ipv4: ['10.1.0.2/24', '10.1.0.1/24'],
    ipv6: ['fd00:1::2/64', 'fd00:1::1/64'],
  });
  return [client, server];
}

describe.skipIf(requires('namespaces', 'curl'))('private hosts', () => {
  test('two hosts reach each other by IPv4 and IPv6, and nothing else', async () => {
    await using net = await TestNetwork.create();
    const [client, server] = await pair(net);
    await startPeer(server, 'http-server', ['--listen', '0.0.0.0:80', '--listen', '[::]:80', '--name', 'web']);
    for (const [url, source] of [
      ['http://10.1.0.1/', '10.1.0.2'],
      ['http://[fd00:1::1]/', 'fd00:1::2'],
    ] as const) {
      const seen: unknown = JSON.parse(await client.check(['curl', '-s', url]));
      expect(seen).toMatchObject({ server: 'web', source: { address: source } });
    }
    const outside = await client.run(['curl', '-s', '-m', '2', 'http://198.51.100.1/']);
    expect(outside.code).toBe(7);
    expect(await client.check(['ip', '-4', 'route', 'show', 'default'])).toBe('');
  });

  test('a snapshot is equal until something changes, and again when it is undone', async () => {
    await using net = await TestNetwork.create();
    const [client] = await pair(net);
    const before = await client.state();
    expect(await client.state()).toBe(before);
    const changes: ReadonlyArray<readonly [string, string]> = [
      ['ip rule add pref 9500 fwmark 1 lookup 99', 'ip rule del pref 9500'],
      ['ip -6 rule add pref 9500 fwmark 1 lookup 99', 'ip -6 rule del pref 9500'],
      ['ip route add local 192.0.2.0/24 dev lo table 99', 'ip route flush table 99'],
      ['ip -6 route add local 2001:db8::/32 dev lo table 99', 'ip -6 route flush table 99'],
      ['nft add table inet mine', 'nft delete table inet mine'],
      ['ip link add v0 type veth peer name v1', 'ip link del v0'],
      ['ip address add 192.0.2.1/32 dev lo', 'ip address del 192.0.2.1/32 dev lo'],
      ['echo 1 > /proc/sys/net/ipv4/ip_forward', 'echo 0 > /proc/sys/net/ipv4/ip_forward'],
      ['echo "nameserver 127.0.0.1" > /etc/resolv.conf', ': > /etc/resolv.conf'],
      ['iptables -t mangle -A OUTPUT -p tcp -j ACCEPT', 'iptables -t mangle -D OUTPUT -p tcp -j ACCEPT'],
    ];
    for (const [change, undo] of changes) {
      await client.check(['sh', '-c', change]);
      expect(await client.state(), change).not.toBe(before);
      await client.check(['sh', '-c', undo]);
      expect(await client.state(), undo).toBe(before);
    }
  });

  test('each host has its own /run, /sys and resolv.conf, of either kind', async () => {
    await using net = await TestNetwork.create();
    const mounted = await net.host('mounted', { resolvConf: 'nameserver 192.0.2.1\n' });
    const plain = await net.host('plain', { resolvConf: 'nameserver 192.0.2.2\n', resolvConfKind: 'file' });
    expect(await mounted.check(['cat', '/etc/resolv.conf'])).toBe('nameserver 192.0.2.1\n');
    expect(await plain.check(['cat', '/etc/resolv.conf'])).toBe('nameserver 192.0.2.2\n');
    const rename = 'echo x > /etc/resolv.conf.new && mv /etc/resolv.conf.new /etc/resolv.conf';
    expect((await plain.run(['sh', '-c', rename])).code).toBe(0);
    expect(await plain.readResolvConf()).toBe('x\n');
    await mounted.check(['touch', '/run/mine']);
    expect((await plain.run(['test', '-e', '/run/mine'])).code).toBe(1);
    expect(existsSync('/run/mine')).toBe(false);
    expect(await mounted.check(['ls', '/sys/class/net'])).toBe('lo\n');
  });

  test('every process is gone after disposal, grandchildren too', async () => {
    const net = await TestNetwork.create();
    const host = await net.host('host');
    const running = host.spawn(['sh', '-c', 'sleep 600 & echo child $!; wait']);
    const child = Number((await running.waitFor(/child (\d+)/))[1]);
    expect(host.processes()).toEqual(expect.arrayContaining([running.pid, child]));
    await net[Symbol.asyncDispose]();
    // The grandchild is a zombie until the machine's init has noticed it.
    const left = () => [running.pid, child, host.pid].filter((pid) => existsSync(`/proc/${pid}`));
    await expect.poll(left, { timeout: 5000 }).toEqual([]);
  });

  test('SIGKILL of the process that made a network leaves nothing behind', async () => {
    const script = fileURLToPath(new URL('./fixtures/abandon-network.ts', import.meta.url));
    const child = spawn(process.execPath, ['--conditions=source', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [line]: unknown[] = await once(child.stdout, 'data');
    const pids = String(line).trim().split(' ').map(Number);
    expect(pids).toHaveLength(2);
    for (const pid of pids) expect(existsSync(`/proc/${pid}`)).toBe(true);
    child.kill('SIGKILL');
    const gone = () => pids.every((pid) => !existsSync(`/proc/${pid}`));
    await expect.poll(gone, { timeout: 5000 }).toBe(true);
  });

  test('the clients and servers tell apart an end, a reset, a refusal and silence', async () => {
    await using net = await TestNetwork.create();
    const [client, server] = await pair(net);
    for (const [port, mode] of [
      [1, 'echo'],
      [2, 'reset'],
      [3, 'silent'],
      [4, 'source'],
    ] as const) {
      await startPeer(server, 'tcp-server', ['--listen', `10.1.0.1:${port}`, '--mode', mode, '--bytes', '5000']);
    }
    const outcome = async (port: number, mode: string) => {
      const report = await runClients(client, `10.1.0.1:${port}`, { mode, count: 3, parallel: 3, timeoutMs: 500 });
      return { ...report.outcomes, read: report.read };
    };
    expect(await outcome(1, 'burst')).toEqual({ eof: 3, read: 300 });
    expect(await outcome(1, 'exchange')).toEqual({ eof: 3, read: 300 });
    expect(await outcome(2, 'burst')).toEqual({ ECONNRESET: 3, read: 0 });
    expect(await outcome(3, 'burst')).toEqual({ timeout: 3, read: 0 });
    expect(await outcome(4, 'read')).toEqual({ eof: 3, read: 15_000 });
    expect(await outcome(5, 'burst')).toEqual({ ECONNREFUSED: 3, read: 0 });
  });

  test('a program that does not end is ended, and the error has its output', async () => {
    await using net = await TestNetwork.create();
    const host = await net.host('host');
    const hang = host.run(['sh', '-c', 'echo so far; exec sleep 600'], { timeoutMs: 300 });
    await expect(hang).rejects.toThrow(/still running after 300 ms[^]*so far/);
    expect(host.processes()).toEqual([]);
  });
});
