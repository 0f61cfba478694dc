// oxlint-disable vitest/expect-expect -- `mends` brings its assertions along
import { libc, openLibrary } from '@weir/core/sys';
import { arrival, enterFreshNamespace, mends, requires, shell } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';
import { environment, Instance, signal } from './instance.ts';

const V4 = { address: '203.0.113.7', port: 443 };
const V6 = { address: '2001:db8:7::1', port: 443 };
// Two prefixes, so that the class has a table.
const WEB = {
  prefixes: ['203.0.113.0/24', '198.51.100.0/24', '2001:db8:7::/48', '2001:db8:8::/48'],
  ports: [[443, 443]] as const,
};

const RULES = 'ip rules 9500-9515';
const RULES6 = 'ip -6 rules 9500-9515';
const DEVICE = 'device weirsk0';
const ALL = 'ip route table 22497';
const ALL6 = 'ip -6 route table 22497';
const CLASS = 'ip route table 22499';
const CLASS6 = 'ip -6 route table 22499';

/** What others do, and what is then found. */
const MEDDLING: ReadonlyArray<readonly [command: string, objects: readonly string[]]> = [
  ['ip rule del pref 9506', [RULES]],
  ['ip rule del pref 9505; ip -6 rule del pref 9515', [RULES, RULES6]],
  ['ip rule add pref 9506 lookup 77 protocol 87', [RULES]],
  ['ip -6 rule flush; ip -6 rule add pref 32766 lookup main', [RULES6]],
  ['ip route flush table 22499', [CLASS]],
  ['ip route del local 203.0.113.0/24 table 22499', [CLASS]],
  ['ip -6 route replace local 2001:db8:7::/48 dev lo table 22499', [CLASS6]],
  ['ip route add throw 203.0.113.0/28 table 22499 proto 87', [CLASS]],
  ['ip route flush table 22497; ip -6 route flush table 22499', [ALL, CLASS6]],
  ['ip address del 169.254.84.1/32 dev weirsk0', [DEVICE, ALL, CLASS]],
  ['ip -6 address del fd64:7765:6972:ffff::1/128 dev weirsk0', [DEVICE, ALL6, CLASS6]],
  ['ip link set weirsk0 down', [DEVICE, ALL6, CLASS6]],
  ['ip link del weirsk0', [DEVICE, ALL, CLASS, ALL6, CLASS6]],
];

/** Detaches every sk_lookup link of the machine's that is attached to `namespace`. linux/bpf.h, struct bpf_link_info. */
function detachLinks(namespace: number): void {
  const library = openLibrary(['libbpf.so.1'], 'libbpf1');
  const next: (id: number, found: Uint32Array) => number = library.func(
    'int bpf_link_get_next_id(uint32_t id, void *next)',
  );
  const open: (id: number) => number = library.func('int bpf_link_get_fd_by_id(uint32_t id)');
  const detach: (fd: number) => number = library.func('int bpf_link_detach(int fd)');
  const info: (fd: number, info: Uint8Array, length: Uint32Array) => number = library.func(
    'int bpf_obj_get_info_by_fd(int fd, void *info, void *length)',
  );
  const id = Uint32Array.of(0);
  while (next(id[0] ?? 0, id) >= 0) {
    const fd = open(id[0] ?? 0);
    if (fd < 0) continue;
    const bytes = Buffer.alloc(32);
    info(fd, bytes, Uint32Array.of(bytes.length));
    // BPF_LINK_TYPE_NETNS
    if (bytes.readUInt32LE(0) === 5 && bytes.readUInt32LE(16) === namespace) detach(fd);
    libc.close(fd);
  }
}

describe.skipIf(requires('namespaces', 'bpf', 'ipv6'))('drift', () => {
  for (const [command, objects] of MEDDLING) {
    test(`is named and mended: ${command}`, () => mends(environment, { command, objects }, [WEB]));
  }

  test('a link that somebody detached is attached again', async () => {
    enterFreshNamespace({ uplink: true });
    await using weir = new Instance();
    await weir.start(weir.input([WEB]));
    detachLinks(Number(/\d+/.exec(shell('readlink /proc/self/ns/net'))?.[0]));
    const drift = await weir.interceptor.verify(signal);
    expect(drift).toEqual([{ object: 'bpf link sk_lookup', expected: 'attached', found: 'detached' }]);
    await weir.interceptor.repair(drift, signal);
    expect(await weir.interceptor.verify(signal)).toEqual([]);
    expect(arrival(weir.listeners[4], V4)).toEqual(V4);
  });

  test('a listener that was closed is missed, and rebind puts another one in its place', async () => {
    enterFreshNamespace({ uplink: true });
    await using weir = new Instance();
    await using other = new Instance();
    const input = weir.input([WEB]);
    await weir.start({ ...input, points: other.input([]).points });
    await other[Symbol.asyncDispose]();
    const drift = await weir.interceptor.verify(signal);
    expect(drift).toEqual([{ object: 'bpf map sockets', expected: 'all listeners', found: '2 missing' }]);
    await weir.interceptor.rebind?.(input.points);
    expect(await weir.interceptor.verify(signal)).toEqual([]);
    expect(arrival(weir.listeners[4], V4)).toEqual(V4);
    expect(arrival(weir.listeners[6] ?? -1, V6)).toEqual(V6);
  });

  test('changes of others that are none of ours are no drift', async () => {
    enterFreshNamespace({ uplink: true });
    await using weir = new Instance();
    await weir.start(weir.input([WEB]));
    shell(`ip rule add pref 9499 lookup 7; ip rule add pref 9506 fwmark 1 lookup 9
      ip route add 8.8.8.0/24 dev lo table 7; ip addr add 10.9.0.1/24 dev up0; ip link add other0 type veth peer name other1`);
    expect(await weir.interceptor.verify(signal)).toEqual([]);
  });
});
