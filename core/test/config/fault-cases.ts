/** Every way to be wrong that design.md section 8 names, with the exact text an operator reads. */
import { expect } from 'vitest';
import { FINE } from './reading.ts';

export interface Case {
  readonly what: string;
  /** Placed after a service that is right, unless it brings its own. */
  readonly text: string;
  readonly faults: readonly string[];
}

const service = (rest: string) => `services:\n  - { name: a, ${rest} }\n`;

export const CASES: readonly Case[] = [
  {
    what: 'an unknown key, with what was meant',
    text: `${FINE}interceptr: nft\n`,
    faults: [
      `weir.yaml:2:1: unknown key "interceptr" (did you mean "interceptor"?)
   2 | interceptr: nft
     | ^ allowed: interceptor, interceptors, require, owner, workers, worker-cpus, capture, resolver, dialers, services, exclude, unmatched, timeouts, limits, log, admin, plugins`,
    ],
  },
  {
    what: 'unknown keys deeper down, written as in JavaScript',
    text: `${FINE}capture: { onDrift: fail }\ntimeouts:\n  udpIdle: 5s\n`,
    faults: [
      `weir.yaml:2:12: unknown key "onDrift" (did you mean "on-drift"?)
   2 | capture: { onDrift: fail }
     |            ^ allowed: scopes, forward, mark, table, preference, on-drift, on-crash, only, except`,
      `weir.yaml:4:3: unknown key "udpIdle" (did you mean "udp-idle"?)
   4 |   udpIdle: 5s
     |   ^ allowed: connect, handshake, idle, udp-idle, half-closed, drain`,
    ],
  },
  {
    what: 'a duplicate key',
    text: `${FINE}owner: a\nowner: b\n`,
    faults: [`weir.yaml:3:1: this key is there twice\n   3 | owner: b\n     | ^ allowed: each key once`],
  },
  {
    what: 'a wrong type',
    text: `${FINE}workers: [1]\nlog: info\n`,
    faults: [
      `weir.yaml:2:10: a list stands here\n   2 | workers: [1]\n     |          ^ allowed: a whole number from 1 to 64`,
      `weir.yaml:3:6: the text "info" stands here\n   3 | log: info\n     |      ^ allowed: a mapping (key: value)`,
    ],
  },
  {
    what: 'what is no list of processors',
    text: `${FINE}worker-cpus: 0;1\n`,
    faults: [
      `weir.yaml:2:14: "0;1" is no list of processors\n   2 | worker-cpus: 0;1\n     |              ^ allowed: none, auto, or processors in the order of the workers: "0-3,8"`,
    ],
  },
  {
    what: 'an empty value',
    text: `${FINE}owner:\n`,
    faults: [
      `weir.yaml:2:7: "owner" is empty\n   2 | owner:\n     |       ^ allowed: letters, digits, "_" and "-", at most 24, the first no dash: default, edge-1`,
    ],
  },
  {
    what: 'port 70000, and a port 0',
    text: service('addresses: [x], ports: [70000, 0]'),
    faults: [
      `weir.yaml:2:40: port 70000 is out of range
   2 |   - { name: a, addresses: [x], ports: [70000, 0] }
     |                                        ^ allowed: a port 1–65535, or a range as 8000-8100`,
      `weir.yaml:2:47: port 0 is out of range
   2 |   - { name: a, addresses: [x], ports: [70000, 0] }
     |                                               ^ allowed: a port 1–65535, or a range as 8000-8100`,
    ],
  },
  {
    what: 'a range upside down',
    text: service('addresses: [x], ports: [9000-8000]'),
    faults: [
      `weir.yaml:2:40: the range "9000-8000" is upside down
   2 |   - { name: a, addresses: [x], ports: [9000-8000] }
     |                                        ^ allowed: the lower port first: 8000-9000`,
    ],
  },
  {
    what: 'what is no port',
    text: service('addresses: [x], ports: https'),
    faults: [
      `weir.yaml:2:39: "https" is not a port
   2 |   - { name: a, addresses: [x], ports: https }
     |                                       ^ allowed: a port 1–65535, or a range as 8000-8100`,
    ],
  },
  {
    what: 'prefixes with host bits set, with the right ones',
    text: service('addresses: [203.0.113.7/24, 2001:db8::1/64]'),
    faults: [
      `weir.yaml:2:28: "203.0.113.7/24" has bits set after its prefix length
   2 |   - { name: a, addresses: [203.0.113.7/24, 2001:db8::1/64] }
     |                            ^ allowed: 203.0.113.0/24, or 203.0.113.7/32 for that one address`,
      `weir.yaml:2:44: "2001:db8::1/64" has bits set after its prefix length
   2 |   - { name: a, addresses: [203.0.113.7/24, 2001:db8::1/64] }
     |                                            ^ allowed: 2001:db8::/64, or 2001:db8::1/128 for that one address`,
    ],
  },
  {
    what: 'bad prefixes',
    text: `${FINE}exclude:\n  - 10.0.0.0/33\n  - 10.0.0/8\n  - fe80::1%eth0\n  - "::ffff:192.0.2.1"\n  - 1.2.3.4/8/9\n`,
    faults: [
      `weir.yaml:3:5: "33" is not a prefix length of IPv4\n   3 |   - 10.0.0.0/33\n     |     ^ allowed: /0 to /32`,
      `weir.yaml:4:5: "10.0.0/8" is not an address or prefix\n   4 |   - 10.0.0/8\n     |     ^ allowed: an IPv4 or IPv6 prefix or address: 203.0.113.0/24, "2001:db8::/48", 192.0.2.7`,
      `weir.yaml:5:5: "fe80::1%eth0" has a zone\n   5 |   - fe80::1%eth0\n     |     ^ allowed: an address without %interface`,
      `weir.yaml:6:5: "::ffff:192.0.2.1" is an IPv4-mapped IPv6 prefix, which no packet carries\n   6 |   - "::ffff:192.0.2.1"\n     |     ^ allowed: 192.0.2.1/32`,
      `weir.yaml:7:5: "1.2.3.4/8/9" is not an address or prefix\n   7 |   - 1.2.3.4/8/9\n     |     ^ allowed: an IPv4 or IPv6 prefix or address: 203.0.113.0/24, "2001:db8::/48", 192.0.2.7`,
    ],
  },
  {
    what: 'a duplicate service and a duplicate listener',
    text: `services:
  - { name: a, addresses: x, listen: "127.0.0.1:80" }
  - { name: b, addresses: x, listen: "127.0.0.1:80" }
  - { name: a, addresses: y }
`,
    faults: [
      `weir.yaml:3:38: the listener "127.0.0.1:80" is there twice
   3 |   - { name: b, addresses: x, listen: "127.0.0.1:80" }
     |                                      ^ allowed: each one once`,
      `weir.yaml:4:13: the service "a" is there twice
   4 |   - { name: a, addresses: y }
     |             ^ allowed: each one once`,
    ],
  },
  {
    what: 'an unknown dialer, and one that is never reached',
    text: `dialers: { corp: { type: direct } }\n${service('addresses: x, dialer: [copr, reset, direct]')}`,
    faults: [
      `weir.yaml:3:39: unknown dialer "copr" (did you mean "corp"?)
   3 |   - { name: a, addresses: x, dialer: [copr, reset, direct] }
     |                                       ^ allowed: one of direct, reset, drop, corp`,
      `weir.yaml:3:52: this dialer comes after "reset" and is never tried
   3 |   - { name: a, addresses: x, dialer: [copr, reset, direct] }
     |                                                    ^ allowed: reset or drop as the last one`,
    ],
  },
  {
    what: 'udp and a dialer that carries none',
    text: `dialers: { corp: { type: login, password: x } }\n${service('addresses: x, protocols: [udp, tcp], dialer: [direct, corp]')}`,
    faults: [
      `weir.yaml:3:70: a dialer of type login carries no udp, which this service takes
   3 |   - { name: a, addresses: x, protocols: [udp, tcp], dialer: [direct, corp] }
     |                                                                      ^ allowed: of the types that do, direct, socks5; or reset or drop; or "protocols: [tcp]"`,
    ],
  },
  {
    what: 'an unknown dialer type, named and inline, and a built-in name as a type',
    text: `dialers:
  corp: { type: socks9, address: "p:1" }
  none: { type: drop }
services:
  - { name: a, addresses: x, dialer: { type: dircet } }
`,
    faults: [
      `weir.yaml:2:17: unknown dialer type "socks9" (did you mean "socks5"?)
   2 |   corp: { type: socks9, address: "p:1" }
     |                 ^ allowed: a known type: direct, socks5, login`,
      `weir.yaml:3:17: unknown dialer type "drop"
   3 |   none: { type: drop }
     |                 ^ allowed: "dialer: drop" without a type; as a type: direct, socks5, login`,
      `weir.yaml:5:46: unknown dialer type "dircet" (did you mean "direct"?)
   5 |   - { name: a, addresses: x, dialer: { type: dircet } }
     |                                              ^ allowed: a known type: direct, socks5, login`,
    ],
  },
  {
    what: 'a dialer that takes a built-in name, and one without a type',
    text: `${FINE}dialers: { reset: { type: direct }, x: {} }\n`,
    faults: [
      `weir.yaml:2:12: the dialer "reset" is built in
   2 | dialers: { reset: { type: direct }, x: {} }
     |            ^ allowed: another name`,
      `weir.yaml:2:40: "type" is missing
   2 | dialers: { reset: { type: direct }, x: {} }
     |                                        ^ allowed: the name of a dialer type: direct`,
    ],
  },
  {
    what: 'options of the direct dialer',
    text: `dialers:
  a: { type: direct, to: "::1:80" }
  b: { type: direct, to: 10.0.0.5 }
  c: { type: direct, to: "[fe80]:1" }
  d: { type: direct, to: "*.x:1", port: 5 }
services: []
`,
    faults: [
      `weir.yaml:2:26: "::1:80" lacks the brackets of IPv6
   2 |   a: { type: direct, to: "::1:80" }
     |                          ^ allowed: "[::1]:80"`,
      `weir.yaml:3:26: "10.0.0.5" is not a host and a port
   3 |   b: { type: direct, to: 10.0.0.5 }
     |                          ^ allowed: a host and a port: 10.0.0.5:6432, db.example:5432 or "[2001:db8::5]:80"`,
      `weir.yaml:4:26: "fe80" is not an IPv6 address
   4 |   c: { type: direct, to: "[fe80]:1" }
     |                          ^ allowed: a host and a port: 10.0.0.5:6432, db.example:5432 or "[2001:db8::5]:80"`,
      `weir.yaml:5:26: "*.x" is no single host
   5 |   d: { type: direct, to: "*.x:1", port: 5 }
     |                          ^ allowed: a host and a port: 10.0.0.5:6432, db.example:5432 or "[2001:db8::5]:80"`,
      `weir.yaml:5:41: unknown key "port"
   5 |   d: { type: direct, to: "*.x:1", port: 5 }
     |                                         ^ allowed: to`,
    ],
  },
  {
    what: 'names that are no names',
    text: service('addresses: ["*", "*.?.*", "*x y", -a.b, "a b", a..b, x.123, 300.1.1.1]'),
    faults: [
      ...(
        [
          [28, '"*" is a pattern for every name'],
          [33, '"*.?.*" is a pattern for every name'],
          [42, '"*x y" is not a pattern: "*x y" may not stand between dots'],
          [50, '"-a.b" is not a name: "-a" may not stand between dots'],
          [56, '"a b" is not a name: "a b" may not stand between dots'],
          [63, '"a..b" has an empty label'],
        ] as const
      ).map(([column, problem]) =>
        named(
          column,
          problem,
          'web.internal, "*.apps.internal" or "api-*.internal"; "!x.apps.internal" without that name',
        ),
      ),
      named(
        69,
        '"x.123" is neither an address nor a name',
        'an IPv4 or IPv6 prefix or address: 203.0.113.0/24, "2001:db8::/48", 192.0.2.7; or web.internal, "*.apps.internal" or "api-*.internal"; "!x.apps.internal" without that name',
      ),
      named(
        76,
        '"300.1.1.1" is not an address or prefix',
        'an IPv4 or IPv6 prefix or address: 203.0.113.0/24, "2001:db8::/48", 192.0.2.7',
      ),
    ],
  },
  {
    what: 'exclusions of a prefix and of an exclusion',
    text: service('addresses: [x.y, "!10.0.0.0/8", "!!d.e"]'),
    faults: [`weir.yaml:2:33: "!10.0.0.0/8" excludes a prefix`, `weir.yaml:2:48: "!!d.e" is not a name`].map((head) =>
      expect.stringContaining(head),
    ),
  },
  {
    what: 'a name with two kinds of address',
    text: `services:\n  - { name: a, addresses: [x.y, z.y] }\n  - { name: b, addresses: X.y, address: real }\n`,
    faults: [expect.stringContaining('"X.y" has "address: real" here and "address: assigned" in another service')],
  },
  {
    what: 'exclusions from nothing',
    text: service('addresses: ["!a.b", "!*.c"]'),
    faults: [expect.stringContaining('weir.yaml:2:28: the list says only what is not meant')],
  },
  {
    what: 'upstreams that are none',
    text: `${FINE}resolver:\n  upstreams: ["https://dns.example", tls://9.9.9.9/x, "udp://9.9.9.9#x", udp://dns.example, { server: udp://9.9.9.9, ca: /a.pem, dialer: nobody, why: 1 }]\n`,
    faults: [
      `weir.yaml:3:38: "tls://9.9.9.9/x" has a path, which only https:// takes`,
      `weir.yaml:3:55: "udp://9.9.9.9#x" has a name behind #, which only tls:// and https:// take`,
      `weir.yaml:3:74: "dns.example" is not an address`,
      `weir.yaml:3:118: only tls:// and https:// servers have a certificate`,
      `weir.yaml:3:138: unknown dialer "nobody"`,
      `weir.yaml:3:146: unknown key "why"`,
    ].map((head) => expect.stringContaining(head)),
  },
  {
    what: 'a wildcard without quotes, which YAML takes for an alias',
    text: 'services:\n  - name: a\n    addresses: [*.apps.internal]\n',
    faults: [
      `weir.yaml:3:17: *.apps.internal without quotes is a YAML alias of nothing
   3 |     addresses: [*.apps.internal]
     |                 ^ allowed: "*.apps.internal"`,
    ],
  },
  {
    what: 'an IPv6 prefix without quotes where YAML sees a mapping',
    text: 'services:\n  - name: a\n    addresses: 2001:db8::\n',
    faults: [
      `weir.yaml:3:16: a mapping begins on the line of a key
   3 |     addresses: 2001:db8::
     |                ^ allowed: text with a colon in quotes: "2001:db8::"`,
    ],
  },
  {
    what: 'addresses with ports and URLs',
    text: service('addresses: [x.y:80, 1.2.3.4:80, "http://x"]'),
    faults: [
      `weir.yaml:2:28: "x.y:80" has a port
   2 |   - { name: a, addresses: [x.y:80, 1.2.3.4:80, "http://x"] }
     |                            ^ allowed: a name or a prefix alone; ports stand in "ports"`,
      `weir.yaml:2:36: "1.2.3.4:80" has a port
   2 |   - { name: a, addresses: [x.y:80, 1.2.3.4:80, "http://x"] }
     |                                    ^ allowed: a name or a prefix alone; ports stand in "ports"`,
      `weir.yaml:2:48: "http://x" is a URL
   2 |   - { name: a, addresses: [x.y:80, 1.2.3.4:80, "http://x"] }
     |                                                ^ allowed: a name or a prefix without scheme; ports stand in "ports"`,
    ],
  },
  {
    what: 'durations without or with unknown units',
    text: `${FINE}timeouts:\n  connect: 10\n  idle: 1d\n  drain: soon\n  handshake: 0s\n`,
    faults: [
      `weir.yaml:3:12: the duration "10" has no unit\n   3 |   connect: 10\n     |            ^ allowed: a duration with a unit: 250ms, 10s, 5m, 1h`,
      `weir.yaml:4:9: "d" is not a unit of time\n   4 |   idle: 1d\n     |         ^ allowed: a duration with a unit: 250ms, 10s, 5m, 1h`,
      `weir.yaml:5:10: "soon" is not a duration\n   5 |   drain: soon\n     |          ^ allowed: a duration with a unit: 250ms, 10s, 5m, 1h`,
      `weir.yaml:6:14: the duration "0s" is out of range\n   6 |   handshake: 0s\n     |              ^ allowed: between 1ms and 596h`,
    ],
  },
  {
    what: 'sizes',
    text: `${FINE}limits: { flows: 50q, names: 0, udp-sessions: 2.5 }\n`,
    faults: [
      `weir.yaml:2:18: "50q" is not a count\n   2 | limits: { flows: 50q, names: 0, udp-sessions: 2.5 }\n     |                  ^ allowed: a whole number, or one with k or M: 50000, 50k`,
      `weir.yaml:2:30: 0 is out of range\n   2 | limits: { flows: 50q, names: 0, udp-sessions: 2.5 }\n     |                              ^ allowed: a number from 1 to 4000000`,
      `weir.yaml:2:47: 2.5 is not a count\n   2 | limits: { flows: 50q, names: 0, udp-sessions: 2.5 }\n     |                                               ^ allowed: a whole number, or one with k or M: 50000, 50k`,
    ],
  },
  {
    what: 'ranges: overlap, a second one of a family, too small, never routed',
    text: `${FINE}resolver:
  ranges:
    - 100.64.0.0/10
    - 100.64.1.0/24
    - 10.0.0.0/8
    - fd00::/127
    - fe80::/64
`,
    faults: [
      `weir.yaml:5:7: 100.64.1.0/24 overlaps 100.64.0.0/10\n   5 |     - 100.64.1.0/24\n     |       ^ allowed: one IPv4 and one IPv6 prefix`,
      `weir.yaml:6:7: 10.0.0.0/8 is a second IPv4 range\n   6 |     - 10.0.0.0/8\n     |       ^ allowed: at most one IPv4 and one IPv6 prefix`,
      `weir.yaml:7:7: fd00::/127 is too small to give names addresses\n   7 |     - fd00::/127\n     |       ^ allowed: /126 or wider`,
      `weir.yaml:8:7: fe80::/64 is a second IPv6 range\n   8 |     - fe80::/64\n     |       ^ allowed: at most one IPv4 and one IPv6 prefix`,
      `weir.yaml:8:7: fe80::/64 lies in fe80::/10, which is never routed\n   8 |     - fe80::/64\n     |       ^ allowed: a range that nobody uses, as 100.64.0.0/10 or fd64:7765:6972::/64`,
    ],
  },
  {
    what: 'a prefix of a service inside of the default range',
    text: service('addresses: [100.64.3.0/24, 0.0.0.0/0]'),
    faults: [
      `weir.yaml:2:28: 100.64.3.0/24 lies in the range 100.64.0.0/10 that names get addresses from
   2 |   - { name: a, addresses: [100.64.3.0/24, 0.0.0.0/0] }
     |                            ^ allowed: a prefix outside of resolver.ranges`,
    ],
  },
  {
    what: 'interceptors',
    text: `${FINE}interceptor: [nft, ntf, auto]\ninterceptors: { tunn: {} }\n`,
    faults: [
      `weir.yaml:2:20: unknown interceptor "ntf" (did you mean "nft"?)\n   2 | interceptor: [nft, ntf, auto]\n     |                    ^ allowed: auto, or of nft, tproxy-iptables, ebpf-sklookup, tun, proxy`,
      `weir.yaml:2:25: "auto" stands in a list\n   2 | interceptor: [nft, ntf, auto]\n     |                         ^ allowed: auto alone, or ids in the order to try`,
      `weir.yaml:3:17: unknown interceptor "tunn" (did you mean "tun"?)\n   3 | interceptors: { tunn: {} }\n     |                 ^ allowed: one of nft, tproxy-iptables, ebpf-sklookup, tun, proxy`,
    ],
  },
  {
    what: 'marks, tables and owners of processes',
    text: `${FINE}capture:
  mark: { mask: 0xf0, capture: 0x10, bypass: 0x100 }
  table: main
  only: [root]
  except: ["uid:9-1"]
`,
    faults: [
      `weir.yaml:3:46: 0x100 has bits outside of the mask 0xf0\n   3 |   mark: { mask: 0xf0, capture: 0x10, bypass: 0x100 }\n     |                                              ^ allowed: only bits of the mask`,
      `weir.yaml:4:10: "main" is not known here\n   4 |   table: main\n     |          ^ allowed: auto, or a whole number from 1 to 4294967295`,
      `weir.yaml:5:10: "root" names no process owner\n   5 |   only: [root]\n     |          ^ allowed: uid:1000, uid:1000-1999, gid:33 or cgroup:/path`,
      `weir.yaml:6:12: the range "uid:9-1" is upside down\n   6 |   except: ["uid:9-1"]\n     |            ^ allowed: uid:1-9`,
    ],
  },
  {
    what: 'the resolver',
    text: `${FINE}resolver:\n  listen: 127.0.0.1:53\n  reach: magic\n  upstreams: [8.8.8.8]\n  unanswerable: refuse\n`,
    faults: [
      `weir.yaml:3:11: "127.0.0.1:53" is not a DNS endpoint\n   3 |   listen: 127.0.0.1:53\n     |           ^ allowed: udp://127.0.0.1:53 or tcp://[::1]:53`,
      `weir.yaml:4:10: "magic" is no way to reach the resolver\n   4 |   reach: magic\n     |          ^ allowed: auto, capture, systemd-resolved, resolv-conf, hosts:///etc/hosts or none`,
      `weir.yaml:5:15: "8.8.8.8" is not an upstream\n   5 |   upstreams: [8.8.8.8]\n     |               ^ allowed: system, or a server as udp://192.0.2.53, tcp://[2001:db8::53]:53, tls://192.0.2.53#dns.example or https://dns.example/dns-query`,
      `weir.yaml:6:17: "refuse" is not known here (did you mean "refused"?)\n   6 |   unanswerable: refuse\n     |                 ^ allowed: one of refused, servfail, timeout, nxdomain`,
    ],
  },
  {
    what: 'missing keys',
    text: 'owner: x\n',
    faults: [`weir.yaml:1:1: "services" is missing\n   1 | owner: x\n     | ^ allowed: a list`],
  },
  {
    what: 'a service without a name and without addresses',
    text: 'services:\n  - ports: [80]\n',
    faults: [
      `weir.yaml:2:5: "name" is missing\n   2 |   - ports: [80]\n     |     ^ allowed: a service's name: letters, digits, "-", "_" and "."`,
      `weir.yaml:2:5: "addresses" is missing\n   2 |   - ports: [80]\n     |     ^ allowed: web.internal, "*.apps.internal" or "api-*.internal"; "!x.apps.internal" without that name; or an IPv4 or IPv6 prefix or address: 203.0.113.0/24, "2001:db8::/48", 192.0.2.7`,
    ],
  },
  {
    what: 'an empty document',
    text: '# nothing\n',
    faults: [`weir.yaml:1:1: the document is empty\n   1 | # nothing\n     | ^ allowed: a mapping (key: value)`],
  },
  {
    what: 'text that is no YAML',
    text: `${FINE}owner: "x\n`,
    faults: [
      `weir.yaml:3:1: not YAML: Missing closing "quote\n   3 | \n     | ^ allowed: YAML 1.2, as in docs/configuration.md`,
    ],
  },
  {
    what: 'a tab',
    text: `${FINE}capture:\n\ton-drift: fail\n`,
    faults: [`weir.yaml:3:1: a tab indents this line\n   3 | \ton-drift: fail\n     | ^ allowed: spaces`],
  },
  {
    what: 'a tag',
    text: `${FINE}owner: !x y\n`,
    faults: [`weir.yaml:2:8: a YAML tag stands here\n   2 | owner: !x y\n     |        ^ allowed: a value without "!"`],
  },
  {
    what: 'a second document',
    text: `${FINE}---\nowner: y\n`,
    faults: [`weir.yaml:2:1: a second document begins here\n   2 | ---\n     | ^ allowed: one document, without ---`],
  },
  {
    what: 'a key that is a list',
    text: `${FINE}? [a]\n: 1\n`,
    faults: [`weir.yaml:2:3: this key is no text\n   2 | ? [a]\n     |   ^ allowed: a word`],
  },
  {
    what: 'an alias of itself',
    text: `${FINE}x: &a [*a]\n`,
    faults: [`weir.yaml:2:8: this alias stands in what it names\n   2 | x: &a [*a]\n     |        ^ allowed: a value`],
  },
  {
    what: 'a key that means something to JavaScript',
    text: `${FINE}dialers: { __proto__: { type: direct } }\n`,
    faults: [
      `weir.yaml:2:12: "__proto__" is not a dialer's name\n   2 | dialers: { __proto__: { type: direct } }\n     |            ^ allowed: letters, digits, "-", "_" and ".", at most 63`,
    ],
  },
];

function named(column: number, problem: string, allowed: string): string {
  const line = '  - { name: a, addresses: ["*", "*.?.*", "*x y", -a.b, "a b", a..b, x.123, 300.1.1.1] }';
  return `weir.yaml:2:${column}: ${problem}\n   2 | ${line}\n     | ${' '.repeat(column - 1)}^ allowed: ${allowed}`;
}
