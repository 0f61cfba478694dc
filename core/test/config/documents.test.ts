/** What a right configuration means. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { formatPrefix } from '../../src/capture/address.ts';
import { DEFAULTS } from '../../src/config/defaults.ts';
import { EXAMPLE } from '../../src/config/discover.ts';
import { FINE, read } from './reading.ts';

test('a file with nothing but services gets every default', async () => {
  const { services, ...rest } = await read(FINE);
  const { services: _, ...defaults } = DEFAULTS;
  expect(rest).toEqual(defaults);
  expect(services).toEqual([
    {
      name: 'fine',
      names: ['fine.internal'],
      prefixes: [],
      ports: [{ first: 0, last: 65_535 }],
      protocols: ['tcp'],
      sources: [],
      dialers: ['direct'],
    },
  ]);
});

test('the whole example of design.md section 8 is understood', async () => {
  const configuration = await read(`
interceptor: [nft, tun]
require: [transparent, ipv6]
owner: edge-1
workers: 2
worker-cpus: 8,0-2
capture:
  scopes: [output, forward]
  forward: { interfaces: [eth1] }
  mark: { mask: 0x3f000000, capture: 0x10000000, bypass: 0x20000000 }
  table: 22497
  preference: 9500
  on-drift: ignore
  on-crash: closed
  only: [uid:1000-1999, gid:33]
  except: cgroup:/system.slice/ssh.service
resolver:
  listen: [udp://127.0.0.1:53, "tcp://[::1]"]
  reach: hosts:///etc/hosts
  ranges: [100.64.0.0/10, fd64:7765:6972::/64]
  upstreams: [system, udp://192.0.2.53, "tcp://[2001:db8::53]:5353"]
  unanswerable: servfail
  test: fatal
dialers:
  corp: { type: direct, to: "10.0.0.5:6432" }
services:
  - name: web
    addresses: [Web.Internal., "*.apps.internal", 203.0.113.0/24, "2001:db8::/48", 192.0.2.7]
    ports: [443, 8000-8100, 8050-8200, 8201]
    protocols: [tcp, udp]
    sources: [10.0.0.0/8]
    dialer: [corp, reset]
  - name: db
    addresses: [db.internal]
    ports: 5432
    dialer: [{ type: direct, to: "[2001:DB8::5]:80" }, { type: direct, to: db.example:1 }]
    listen: 127.0.0.1:15432
exclude: [192.168.0.0/16]
unmatched: direct
timeouts: { connect: 250ms, handshake: 1.5s, idle: 1h, udp-idle: 60s, half-closed: 5m, drain: 30s }
limits: { flows: 50k, udp-sessions: 20000, pending-dials: 256, names: 1M }
log: { level: debug, format: json, flows: all }
admin: /run/weir/here.sock
`);
  expect(configuration).toMatchObject({
    interceptor: ['nft', 'tun'],
    require: ['transparent', 'ipv6'],
    owner: 'edge-1',
    workers: 2,
    workerCpus: [8, 0, 1, 2],
    capture: {
      scopes: ['output', 'forward'],
      forward: { interfaces: ['eth1'] },
      mark: { mask: 0x3f000000, capture: 0x10000000, bypass: 0x20000000 },
      table: 22_497,
      preference: 9500,
      onDrift: 'ignore',
      onCrash: 'closed',
      only: [
        { kind: 'uid', first: 1000, last: 1999 },
        { kind: 'gid', first: 33, last: 33 },
      ],
      except: [{ kind: 'cgroup', path: '/system.slice/ssh.service' }],
    },
    resolver: {
      listen: [
        { protocol: 'udp', endpoint: { address: '127.0.0.1', port: 53 } },
        { protocol: 'tcp', endpoint: { address: '::1', port: 53 } },
      ],
      reach: { hosts: '/etc/hosts' },
      upstreams: [
        'system',
        { protocol: 'udp', endpoint: { address: '192.0.2.53', port: 53 } },
        { protocol: 'tcp', endpoint: { address: '2001:db8::53', port: 5353 } },
      ],
      unanswerable: 'servfail',
      test: 'fatal',
    },
    dialers: [
      { name: 'corp', type: 'direct', options: { to: { host: '10.0.0.5', port: 6432 } } },
      { name: 'db#1', type: 'direct', options: { to: { host: '2001:db8::5', port: 80 } } },
      { name: 'db#2', type: 'direct', options: { to: { host: 'db.example', port: 1 } } },
    ],
    unmatched: 'direct',
    timeouts: {
      connect: 250,
      handshake: 1500,
      idle: 3_600_000,
      udpIdle: 60_000,
      halfClosed: 300_000,
      drain: 30_000,
    },
    limits: { flows: 50_000, udpSessions: 20_000, pendingDials: 256, names: 1_000_000 },
    log: { level: 'debug', format: 'json', flows: 'all' },
    admin: '/run/weir/here.sock',
  });
  const [web, db] = configuration.services;
  expect(web?.names).toEqual(['web.internal', '*.apps.internal']);
  expect(web?.prefixes.map(formatPrefix)).toEqual(['203.0.113.0/24', '2001:db8::/48', '192.0.2.7/32']);
  expect(web?.ports).toEqual([
    { first: 443, last: 443 },
    { first: 8000, last: 8201 },
  ]);
  expect(web?.dialers).toEqual(['corp', 'reset']);
  expect(db).toMatchObject({
    ports: [{ first: 5432, last: 5432 }],
    dialers: ['db#1', 'db#2'],
    listen: { address: '127.0.0.1', port: 15_432 },
  });
  expect(configuration.exclude.map(formatPrefix)).toEqual(['192.168.0.0/16']);
});

test('the example that is shown where there is no configuration is right', async () => {
  const { services, dialers } = await read(EXAMPLE);
  expect(services).toHaveLength(1);
  expect(dialers).toEqual([{ name: 'web-server', type: 'direct', options: { to: { host: '10.0.0.5', port: 8080 } } }]);
  expect(EXAMPLE.trimEnd().split('\n')).toHaveLength(3);
});

test('every YAML block of docs/configuration.md is a right configuration', async () => {
  const text = readFileSync(join(import.meta.dirname, '../../../docs/configuration.md'), 'utf8');
  const blocks = [...text.matchAll(/```yaml\n(.*?)```/gs)].map((match) => match[1] as string);
  expect(blocks.length).toBeGreaterThan(0);
  for (const block of blocks) await read(block);
});

test('no service at all is allowed when it is written down', async () => {
  expect((await read('services: []\n')).services).toEqual([]);
});

test('anchors and aliases may be used', async () => {
  const { services } = await read(`
services:
  - { name: a, addresses: a.internal, ports: &web [80, 443] }
  - { name: b, addresses: b.internal, ports: *web }
`);
  expect(services[1]?.ports).toEqual(services[0]?.ports);
});

test('international names become what DNS carries', async () => {
  const { services } = await read('services: [{ name: a, addresses: ["*.bücher.example"] }]\n');
  expect(services[0]?.names).toEqual(['*.xn--bcher-kva.example']);
});

test('UDP, forwarded traffic and owners are read', async () => {
  const { services, capture } = await read(`services: [{ name: a, addresses: 10.0.0.0/8, protocols: udp }]
capture: { scopes: [output, forward], forward: { interfaces: eth1 }, only: ["uid:0", "cgroup:/a.slice/b.service"] }
`);
  expect(services[0]?.protocols).toEqual(['udp']);
  expect(capture).toMatchObject({
    scopes: ['output', 'forward'],
    forward: { interfaces: ['eth1'] },
    only: [
      { kind: 'uid', first: 0, last: 0 },
      { kind: 'cgroup', path: '/a.slice/b.service' },
    ],
  });
});

test('upstreams are URLs, or mappings with what a URL has no place for', async () => {
  const { resolver } = await read(`${FINE}resolver:
  upstreams:
    - system
    - udp://192.0.2.53
    - tcp://[2001:db8::53]:5353
    - tls://192.0.2.53#dns.example
    - https://dns.example/q
    - { server: https://dns.example, address: 192.0.2.9, for: [Corp.Example., lab], dialer: direct, ca: /etc/ca.pem }
`);
  expect(resolver.upstreams).toEqual([
    'system',
    { protocol: 'udp', endpoint: { address: '192.0.2.53', port: 53 } },
    { protocol: 'tcp', endpoint: { address: '2001:db8::53', port: 5353 } },
    { protocol: 'tls', endpoint: { address: '192.0.2.53', port: 853 }, serverName: 'dns.example' },
    { protocol: 'https', endpoint: { address: 'dns.example', port: 443 }, path: '/q' },
    {
      protocol: 'https',
      endpoint: { address: '192.0.2.9', port: 443 },
      serverName: 'dns.example',
      path: '/dns-query',
      suffixes: ['corp.example', 'lab'],
      dialer: 'direct',
      ca: '/etc/ca.pem',
    },
  ]);
});

test('patterns are lower case, without a last dot, and say no more than they must', async () => {
  const { services } = await read(
    'services: [{ name: a, addresses: ["API-*.Internal.", "*.a.**", "!x?.internal", "*.bücher.example", "!web.internal"] }]',
  );
  expect(services[0]?.names).toEqual([
    'api-*.internal',
    '*.a.*',
    '!x?.internal',
    '*.xn--bcher-kva.example',
    '!web.internal',
  ]);
});
