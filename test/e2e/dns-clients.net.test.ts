/** Programs as they are, each with a resolver of its own: they find names of services through Weir and connect to them. */
import { CHROMIUM, requires, startPeer, WeirProcess, type TestHost } from '@weir/core/testing';
import { existsSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadScene, scriptCommand, type LoadScene } from './load-scene.ts';

const CONFIG = {
  interceptor: 'nft',
  log: { level: 'info', format: 'json', flows: 'off' },
  resolver: { test: 'fatal', 'doh-canary': true },
  services: [
    {
      name: 'web',
      addresses: ['web.internal', '*.apps.internal', 'api-*.internal', '!secret.apps.internal'],
      ports: [80],
      dialer: { type: 'direct', to: '10.1.0.1:9000' },
    },
  ],
};

/** Prints the addresses that getaddrinfo gives, and what a server at the first one sends to a GET. */
const C_CLIENT = `
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int argc, char **argv) {
  struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *all;
  int code = getaddrinfo(argv[1], "80", &hints, &all);
  if (code) { printf("error %s\\n", gai_strerror(code)); return 1; }
  for (struct addrinfo *a = all; a; a = a->ai_next) {
    char text[64];
    void *raw = a->ai_family == AF_INET ? (void *)&((struct sockaddr_in *)a->ai_addr)->sin_addr
                                        : (void *)&((struct sockaddr_in6 *)a->ai_addr)->sin6_addr;
    printf("%s\\n", inet_ntop(a->ai_family, raw, text, sizeof text));
  }
  for (struct addrinfo *a = all; a; a = a->ai_next) {
    int fd = socket(a->ai_family, SOCK_STREAM, 0);
    if (connect(fd, a->ai_addr, a->ai_addrlen)) { close(fd); continue; }
    char request[256], answer[4096] = { 0 };
    int size = snprintf(request, sizeof request, "GET / HTTP/1.1\\r\\nHost: %s\\r\\nConnection: close\\r\\n\\r\\n", argv[1]);
    if (write(fd, request, size) != size) return 2;
    for (int got = 0, n; (n = read(fd, answer + got, sizeof answer - 1 - got)) > 0; got += n);
    puts(answer);
    return 0;
  }
  return 3;
}
`;

const V4 = /^100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.\d+\.\d+$/m;
const V6 = /^fd64:7765:6972:/m;

let scene: LoadScene;
let client: TestHost;
let weir: WeirProcess;

beforeAll(async () => {
  scene = await loadScene();
  client = scene.client;
  await startPeer(scene.server, 'http-server', ['--listen', '10.1.0.1:9000', '--name', 'the service']);
  await client.writeResolvConf('nameserver 10.1.0.1\n');
  weir = await WeirProcess.start(client, { config: CONFIG });
});
afterAll(async () => {
  await weir?.[Symbol.asyncDispose]();
  await scene?.[Symbol.asyncDispose]();
});

async function compiled(compiler: string, args: readonly string[]): Promise<string> {
  const source = client.path('/run/client.c');
  writeFileSync(source, C_CLIENT);
  const program = `/run/client-${compiler}-${args.length}`;
  await client.check([compiler, ...args, '-o', program, '/run/client.c']);
  return program;
}

describe.skipIf(requires('namespaces', 'nft', 'curl'))('names', () => {
  test.skipIf(requires('dig'))('dig', async () => {
    expect(await client.check(['dig', '+short', 'web.internal', 'A'])).toMatch(V4);
    expect(await client.check(['dig', '+short', '+tcp', 'x.apps.internal', 'AAAA'])).toMatch(V6);
    expect(await client.check(['dig', '+short', 'api-7.internal'])).toMatch(V4);
    expect(await client.check(['dig', 'web.internal', 'ANY'])).toMatch(/HINFO\s+"RFC8482"/);
    const [address = ''] = (await client.check(['dig', '+short', 'web.internal'])).split('\n');
    expect(await client.check(['dig', '+short', '-x', address])).toBe('web.internal.\n');
  });

  test.skipIf(requires('kdig'))('kdig', async () => {
    expect(await client.check(['kdig', '+short', 'web.internal', 'A'])).toMatch(V4);
    expect(await client.check(['kdig', '+short', '+tcp', 'web.internal', 'AAAA'])).toMatch(V6);
    expect(await client.check(['kdig', '+bufsize=512', 'web.internal', 'HTTPS'])).toMatch(
      /status: NOERROR[^]*AUTHORITY: 1/,
    );
    expect(await client.check(['kdig', '+cookie', '+padding', 'x.y.apps.internal', 'A'])).toMatch(/100\.\d+\.\d+\.\d+/);
  });

  test('glibc', async () => {
    expect(await client.check(['getent', 'ahostsv4', 'web.internal'])).toMatch(/^100\./);
    expect(await client.check(['getent', 'ahostsv6', 'a.b.apps.internal'])).toMatch(/^fd64:/);
    const out = await client.check([await compiled('gcc', []), 'web.internal']);
    expect(out).toMatch(V4);
    expect(out).toMatch(V6);
    expect(out).toMatch(/the service/);
  });

  test.skipIf(requires('musl-gcc')).each([
    ['linked to it', []],
    ['linked in', ['-static']],
  ])('musl, %s', async (_, args) => {
    // It asks for A and AAAA at once and takes no notice of nsswitch.
    const out = await client.check([await compiled('musl-gcc', args), 'x.apps.internal']);
    expect(out).toMatch(V4);
    expect(out).toMatch(V6);
    expect(out).toMatch(/the service/);
  });

  test.skipIf(requires('hey'))('Go, by its own resolver, which asks for A and AAAA at the same time', async () => {
    // Each of its 200 connections looks the name up anew.
    const options = { env: { GODEBUG: 'netdns=go+2' } };
    const out = await client.check(
      ['sh', '-c', 'hey -n 200 -c 8 -disable-keepalive http://go.apps.internal/ 2>&1'],
      options,
    );
    expect(out).toMatch(/hostLookupOrder\(go\.apps\.internal\) = files,dns/);
    expect(out).toMatch(/\[200\]\s+200 responses/);
    expect(out).not.toMatch(/Error distribution/);
    expect((await weir.admin.query('go.apps.internal', 'A')).services).toEqual(['web']);
  });

  test('A and AAAA at the same time from one socket, 200 times', async () => {
    const out = await client.check(scriptCommand('parallel-lookup', ['127.0.0.1', '53', 'both.apps.internal', '200']));
    expect(JSON.parse(out)).toEqual({
      both: 200,
      last: [expect.stringMatching(/^64[4-7]/), expect.stringMatching(/^fd6477656972/)],
    });
  });

  test('curl, by both families', async () => {
    for (const family of ['-4', '-6']) {
      expect(await client.check(['curl', family, '-sS', '-m', '8', 'http://web.internal/'])).toMatch(/the service/);
    }
  });

  test('Node, by its libc look-up and by its own resolver', async () => {
    const script = `
      const dns = require('node:dns').promises;
      Promise.all([dns.lookup('web.internal', { all: true }), dns.resolve4('web.internal'), dns.resolve6('web.internal'),
        fetch('http://web.internal/').then((r) => r.text())])
        .then((all) => console.log(JSON.stringify(all)))`;
    const [looked, four, six, body] = JSON.parse(await client.check([process.execPath, '-e', script])) as [
      Array<{ address: string }>,
      string[],
      string[],
      string,
    ];
    expect(looked.map(({ address }) => address).toSorted()).toEqual([...four, ...six].toSorted());
    expect(body).toMatch(/the service/);
  });

  test.skipIf(requires('chromium', 'dig'))('headless Chromium', { timeout: 120_000 }, async () => {
    const program = CHROMIUM.find((path) => existsSync(path)) as string;
    const flags = [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-dev-shm-usage',
      '--user-data-dir=/run/chromium',
    ];
    const page = await client.check([program, ...flags, '--dump-dom', 'http://web.internal/'], { timeoutMs: 90_000 });
    expect(page).toMatch(/the service/);
    // It takes no notice of the name by which Firefox is asked to leave names to the host; that one does not exist here.
    expect(await client.check(['dig', 'use-application-dns.net'])).toMatch(/status: NXDOMAIN/);
  });

  test('that a service excludes are not its own', async () => {
    const report = await weir.admin.query('secret.apps.internal', 'A');
    expect(report).toMatchObject({ services: [], outcome: 'REFUSED' });
    expect((await client.run(['getent', 'ahostsv4', 'secret.apps.internal'])).code).toBe(2);
  });

  test('what clients were told is what weir dns says', async () => {
    const told = await weir.command('dns', 'query', 'api-7.internal', 'AAAA');
    expect(told.stdout).toMatch(/^NOERROR, authoritative[^]*matches api-\*\.internal, which web named\n/);
    const names = await weir.command('dns', 'names', '--json');
    const known = (JSON.parse(names.stdout) as Array<{ name: string; services: string[] }>).map(({ name }) => name);
    expect(known).toEqual(expect.arrayContaining(['web.internal', 'x.apps.internal', 'api-7.internal']));
    const metrics = await weir.admin.metrics();
    expect(metrics).toMatch(/weir_dns_queries_total\{type="A",outcome="NOERROR"\} [1-9]/);
    expect(metrics).toMatch(/weir_dns_pool_taken\{range="100\.64\.0\.0\/10"\} [1-9]/);
  });
});

describe.skipIf(requires('namespaces', 'nft', 'dig'))('addresses', () => {
  test(
    'of 10,000 configured names are the same on two hosts, whoever is asked first',
    { timeout: 120_000 },
    async () => {
      await using own = await loadScene();
      const names = Array.from({ length: 10_000 }, (_, i) => `n${i}.many.internal`);
      const config = { ...CONFIG, services: [{ ...CONFIG.services[0], addresses: [...names, 'o*.many.internal'] }] };
      const told: unknown[] = [];
      for (const host of [own.client, own.server]) {
        const running = await WeirProcess.start(host, { config: { ...config, resolver: { reach: 'resolv-conf' } } });
        // What the hosts are asked for beside does not change what the configured names have.
        await host.check(['dig', '+short', `other-than-${host.name}.many.internal`]);
        const list = JSON.parse((await running.command('dns', 'names', '--json', '--limit', '10000')).stdout) as Array<
          Readonly<Record<'name' | 'ipv4' | 'ipv6', string>>
        >;
        const configured = list.filter(({ name }) => name.startsWith('n'));
        expect(configured.map(({ name }) => name)).toEqual(names.toSorted());
        expect(new Set(configured.flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6])).size).toBe(20_000);
        for (const { name, ipv4, ipv6 } of [configured[0], configured[4711], configured.at(-1)].flatMap(
          (one) => one ?? [],
        )) {
          expect(await host.check(['dig', '+short', name])).toBe(`${ipv4}\n`);
          expect(await host.check(['dig', '+short', name, 'AAAA'])).toBe(`${ipv6}\n`);
        }
        await running[Symbol.asyncDispose]();
      }
      expect(told[1]).toEqual(told[0]);
    },
  );

  test(
    'SIGKILL while clients ask for 1,000 names: no name changes its address, and none shares one',
    { timeout: 180_000 },
    async () => {
      await using own = await loadScene();
      const host = own.client;
      const config = {
        ...CONFIG,
        services: [{ ...CONFIG.services[0], addresses: ['web.internal', '*.kill.internal'] }],
      };
      const names = Array.from({ length: 1000 }, (_, i) => `n${i}.kill.internal`);
      writeFileSync(host.path('/run/names'), names.map((name) => `${name} A\n${name} AAAA\n`).join(''));
      const told = new Map<string, string>();
      const note = (text: string): void => {
        for (const line of text.split('\n')) {
          const [name = '', , , type = '', address = ''] = line.split(/\s+/);
          if (!/^(?:A|AAAA)$/.test(type) || !name.endsWith('.kill.internal.')) continue;
          const key = `${name} ${type}`;
          const before = told.get(key);
          if (before === undefined) told.set(key, address);
          else expect(`${key} ${address}`).toBe(`${key} ${before}`);
        }
      };
      let kills = 0;
      for (let round = 0; round < 6; round++) {
        const running = await WeirProcess.start(host, { config });
        // By lines: what a client was told just before the kill must not be lost in a buffer.
        const asking = host.spawn([
          'stdbuf',
          '-oL',
          'dig',
          '@127.0.0.1',
          '+noall',
          '+answer',
          '+tries=1',
          '+time=1',
          '-f',
          '/run/names',
        ]);
        if (round === 5) expect(told.size).toBeGreaterThan(1000);
        if (round < 5) {
          // In the middle of it, each time somewhere else: by how many names it has, not by what dig has printed.
          const wanted = 90 + round * 170;
          await expect
            .poll(async () => (await running.admin.status()).resolver.names, { timeout: 30_000, interval: 5 })
            .toBeGreaterThan(wanted);
          expect(asking.exit).toBeUndefined();
          running.process.kill('SIGKILL');
          kills++;
          await running.process.waitForExit(10_000);
          asking.kill('SIGKILL');
          await asking.exited;
        } else await asking.waitForExit(60_000);
        // The last line may be half.
        note(asking.stdout.slice(0, asking.stdout.lastIndexOf('\n') + 1));
        await running[Symbol.asyncDispose]();
      }
      expect(kills).toBe(5);
      expect(told.size).toBe(2000);
      expect(new Set(told.values()).size).toBe(2000);
    },
  );
});
