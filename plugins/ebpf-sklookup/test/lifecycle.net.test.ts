// oxlint-disable vitest/expect-expect, vitest/valid-title -- some cases bring their assertions and names along
import { type PlanInput, UnsupportedError } from '@weir/core';
import { libc } from '@weir/core/sys';
import {
  accept,
  arrival,
  attempt,
  connect,
  descriptorsOf,
  enterFreshNamespace,
  openedSince,
  passes,
  requires,
  shell,
  SILENT,
  TEST_NUMBERS,
  TPROXY_LIFECYCLE_CASES,
} from '@weir/core/testing';
import { afterEach, describe, expect, test } from 'vitest';
import { ebpfSklookup } from '../src/index.ts';
import { CASES } from './cases.ts';
import { environment, Instance, signal, state } from './instance.ts';

const V4 = { address: '203.0.113.7', port: 443 };
const V6 = { address: '2001:db8:7::1', port: 443 };
const WEB = { prefixes: ['203.0.113.0/24', '2001:db8:7::/48'], ports: [[443, 443]] as const };

/** The parts of the state that the plan speaks of. A device that `ip` made stays, and has nobody who holds it. */
function planned(): string {
  const device = shell('ip -d link show weirsk0 2>/dev/null || ip -d link show weirsk1; ip address')
    .replaceAll(/persist (?:on|off)/g, 'persist -')
    .replaceAll('NO-CARRIER,', '')
    .replaceAll(',LOWER_UP', '')
    .replaceAll(/state (?:DOWN|UNKNOWN)/g, 'state -')
    .replaceAll(/ numtxqueues .*$/gm, '')
    .replaceAll(/^\d+: (?=weirsk)/gm, '');
  // The kernel makes the multicast route when somebody holds the device.
  return `${device}${state()}`.replaceAll(' linkdown', '').replaceAll(/^multicast ff00::\/8 dev weirsk.*\n/gm, '');
}

function load(input: PlanInput): void {
  for (const { tool, text } of ebpfSklookup.plan(input, {}).steps) {
    if (tool !== 'bpf') shell(`${tool} -batch -`, text);
  }
}

afterEach(() => {
  delete process.env['WEIR_SKLOOKUP'];
});

describe.skipIf(requires('namespaces', 'bpf', 'ipv6'))('the life of the sk_lookup interceptor', () => {
  for (const { name, input } of CASES) {
    test(`start makes what the plan says: ${name}`, async () => {
      enterFreshNamespace({ uplink: true });
      load(input);
      const byTools = planned();
      enterFreshNamespace({ uplink: true });
      const before = state();
      await using weir = new Instance({ owner: input.owner, numbers: input.numbers });
      const points = input.points.map((each) => ({ ...each, fds: [weir.listeners[each.network.family] ?? -1] }));
      await weir.start({ ...input, points });
      expect(planned()).toBe(byTools);
      expect(await weir.interceptor.verify(signal)).toEqual([]);
      await weir.interceptor.stop();
      expect(state()).toBe(before);
    });
  }

  for (const { name, run } of TPROXY_LIFECYCLE_CASES) test(name, () => run(environment));

  test('a failure at each step of start leaves the host as it was', async () => {
    enterFreshNamespace({ uplink: true });
    const before = state();
    for (let failAt = 1; ; failAt++) {
      await using weir = new Instance({}, failAt);
      const started = await weir.start(weir.input([WEB])).then(
        () => true,
        (error: unknown) => {
          expect(String(error)).toContain('injected');
          return false;
        },
      );
      if (started) {
        expect(failAt).toBe(7);
        break;
      }
      expect(weir.host.made).toEqual([]);
      expect(state()).toBe(before);
    }
  });

  test('captures, with our source address, and leaves the next port, marked and bound sockets alone', async () => {
    enterFreshNamespace({ uplink: true });
    await using weir = new Instance();
    await weir.start(weir.input([WEB]));
    const client = connect(V4) as number;
    const flow = accept(weir.listeners[4]);
    expect(flow?.original).toEqual(V4);
    expect(flow?.source.address).toBe('169.254.84.1');
    expect(passes(client, flow?.fd ?? -1)).toBe(true);
    for (const fd of [client, flow?.fd ?? -1]) libc.close(fd);
    expect(arrival(weir.listeners[6] ?? -1, V6)).toEqual(V6);
    for (const each of [V4, V6]) {
      expect(attempt({ ...each, port: 444 })).toBe('pending');
      expect(attempt(each, TEST_NUMBERS.bypassMark)).toBe('pending');
    }
    expect(accept(weir.listeners[4], 50)).toBeUndefined();
    expect(shell('ip route get 203.0.113.7 from 10.1.0.2 ipproto tcp dport 443')).toContain('dev up0');
    expect(shell('ip -6 route get 2001:db8:7::1 from 2001:db8:1::2 ipproto tcp dport 443')).toContain('dev up0');
    expect(shell('ip route get 203.0.113.7 ipproto udp dport 443')).toContain('dev up0');
  });

  test('the highest port, all ports, and a host without any route', async () => {
    enterFreshNamespace();
    await using weir = new Instance();
    const input = weir.input([
      { prefixes: ['203.0.113.0/24', '2001:db8:7::/48'], ports: [[60_000, 65_535]] },
      { prefixes: ['198.51.100.0/24'] },
    ]);
    await weir.start(input);
    for (const address of ['203.0.113.7', '2001:db8:7::1']) {
      const listener = weir.listeners[address.includes(':') ? 6 : 4] ?? -1;
      for (const port of [60_000, 65_534, 65_535])
        expect(arrival(listener, { address, port })).toEqual({ address, port });
      expect(attempt({ address, port: 59_999 })).toBe('ENETUNREACH');
    }
    for (const port of [1, 65_535]) {
      const target = { address: '198.51.100.1', port };
      expect(arrival(weir.listeners[4], target)).toEqual(target);
    }
  });

  test('a host without any route is told so, as without Weir', async () => {
    enterFreshNamespace();
    await using weir = new Instance();
    await weir.start(weir.input([WEB]));
    // IPv6 tries every address of the host as a source, also ours, before it says so.
    for (const target of [V4, V6]) expect(attempt({ ...target, port: 444 })).toBe('ENETUNREACH');
    for (const address of ['198.51.100.1', '2001:db8:99::1'])
      expect(attempt({ address, port: 443 })).toBe('ENETUNREACH');
    expect(shell('ip -6 route get 2001:db8:99::1 2>&1 || true')).toContain('unreachable');
  });

  test('an own address that a service names is captured from this host; others are not', async () => {
    enterFreshNamespace({ uplink: true });
    await using weir = new Instance();
    const named = [
      { address: '127.0.0.53', port: 53 },
      { address: '10.1.0.2', port: 53 },
      { address: '::1', port: 53 },
    ];
    const prefixes = ['127.0.0.53/32', '10.1.0.2/32', '::1/128', '0.0.0.0/0', '::/0'];
    await weir.start(weir.input([{ prefixes, ports: [[53, 53]] }]));
    for (const target of named) {
      expect(arrival(weir.listeners[target.address === '::1' ? 6 : 4] ?? -1, target)).toEqual(target);
      expect(attempt({ ...target, port: 54 })).toBe('ECONNREFUSED');
    }
    expect(attempt({ address: '127.0.0.1', port: 53 })).toBe('ECONNREFUSED');
    expect(attempt({ address: '2001:db8:1::2', port: 53 })).toBe('ECONNREFUSED');
    await weir.interceptor.drain(signal);
    for (const target of named) expect(attempt(target)).toBe('ECONNREFUSED');
  });

  test('living flows go on when their prefix is no longer captured, and through a drain', async () => {
    enterFreshNamespace({ uplink: true });
    await using weir = new Instance();
    await weir.start(weir.input([WEB]));
    const flows = [V4, V6].map((target) => {
      const client = connect(target) as number;
      return { client, server: accept(weir.listeners[target === V4 ? 4 : 6] ?? -1)?.fd ?? -1 };
    });
    const living = () => flows.map(({ client, server }) => passes(client, server) && passes(server, client));
    expect(living()).toEqual([true, true]);
    await weir.interceptor.update(weir.input([], {}, { generation: 2 }), signal);
    expect(living()).toEqual([true, true]);
    expect(attempt(V4)).toBe('pending');
    expect(attempt(V6)).toBe('pending');
    await weir.interceptor.update(weir.input([WEB], {}, { generation: 3 }), signal);
    expect(arrival(weir.listeners[4], V4)).toEqual(V4);
    await weir.interceptor.drain(signal);
    expect(living()).toEqual([true, true]);
    expect(attempt(V4)).toBe('pending');
    expect(await weir.interceptor.verify(signal)).toEqual([]);
    await weir.interceptor.update(weir.input([WEB], {}, { generation: 4 }), signal);
    expect(attempt(V4), 'an update does not end a drain').toBe('pending');
    for (const { client, server } of flows) for (const fd of [client, server]) libc.close(fd);
  });

  test('a device or an address that is taken is left alone and named', async () => {
    enterFreshNamespace({ uplink: true });
    shell('ip link add weirsk0 type veth peer name weirsk-peer');
    const withDevice = state();
    await using weir = new Instance();
    await expect(weir.start(weir.input([WEB]))).rejects.toThrow(/device weirsk0 already.*ip link del weirsk0/);
    expect(state()).toBe(withDevice);
    shell('ip link del weirsk0; ip address add 169.254.84.1/32 dev up0');
    const withAddress = state();
    await expect(weir.start(weir.input([WEB]))).rejects.toThrow(/169\.254\.84\.1.*in use.*source-ipv4/);
    expect(state()).toBe(withAddress);
  });

  test('stop twice, stop without start, stop after provision', async () => {
    enterFreshNamespace();
    const before = state();
    const open = descriptorsOf();
    {
      await using weir = new Instance();
      await weir.interceptor.stop();
      await weir.interceptor.provision(signal);
      await weir.interceptor.stop();
      await weir.start(weir.input([WEB]));
      await weir.interceptor.stop();
      await weir.interceptor.stop();
    }
    expect(state()).toBe(before);
    expect(openedSince(open, descriptorsOf())).toEqual([]);
  });

  test('an aborted signal is honoured, and nothing is left', async () => {
    enterFreshNamespace();
    const before = state();
    await using weir = new Instance();
    const gone = AbortSignal.abort(new Error('enough'));
    await expect(weir.interceptor.probe(gone)).rejects.toThrow('enough');
    await expect(weir.interceptor.start(weir.input([WEB]), gone)).rejects.toThrow('enough');
    expect(state()).toBe(before);
  });

  test('update: the kernel has what the last input says, and what a new start would make', async () => {
    enterFreshNamespace({ uplink: true });
    await using weir = new Instance();
    await weir.start(weir.input([WEB]));
    const wide = Array.from({ length: 300 }, (_, i) => `198.${18 + (i >> 8)}.${i & 255}.0/24`);
    const steps = [
      [WEB, { prefixes: ['198.51.100.0/24'], ports: [[80, 80]] as const }],
      [{ prefixes: ['198.51.0.0/16', '203.0.113.0/28'], ports: [[1, 100]] as const }],
      [{ prefixes: ['0.0.0.0/0', '::/0'] }, { prefixes: wide, ports: [[80, 90]] as const, sources: ['10.0.0.0/8'] }],
      [{ prefixes: wide }],
      [{ prefixes: wide.slice(1) }, { prefixes: ['2001:db8:8::/48'], sources: ['2001:db8:1::/64'] }],
      ...Array.from({ length: 6 }, (_, i) =>
        Array.from({ length: 20 }, (_each, j) => ({
          prefixes: wide.slice(j * 5 + i, j * 5 + i + 4),
          ports: [[100 + ((i + j) % 25), 200]] as const,
        })),
      ),
      [],
      [WEB],
    ];
    for (const [index, services] of steps.entries()) {
      await weir.interceptor.update(weir.input(services, {}, { generation: index + 2 }), signal);
      expect(await weir.interceptor.verify(signal)).toEqual([]);
    }
    expect(arrival(weir.listeners[4], V4)).toEqual(V4);
    expect(arrival(weir.listeners[6] ?? -1, V6)).toEqual(V6);
    // A new start has no table of living flows, and gives out tables anew.
    const ours = () => state().replaceAll(/^.* table 22498 .*\n/gm, '');
    const updated = ours();
    await weir.interceptor.stop();
    await weir.start(weir.input([WEB]));
    expect(updated).toBe(ours());
  });

  test('a refused update changes nothing', async () => {
    enterFreshNamespace({ uplink: true });
    await using weir = new Instance();
    await weir.start(weir.input([WEB]));
    const before = state();
    const groups = { owners: { only: [{ kind: 'gid', first: 1, last: 1 } as const], except: [] }, generation: 2 };
    const other = [{ prefixes: ['9.0.0.0/8'] }];
    await expect(weir.interceptor.update(weir.input(other, {}, groups), signal)).rejects.toThrow(/by group/);
    const services = Array.from({ length: 3000 }, (_, i) => ({
      prefixes: [`20.${i >> 8}.${i & 255}.0/24`, `21.${i >> 8}.${i & 255}.0/24`],
      ports: [[1 + i, 1 + i]] as const,
    }));
    await expect(weir.interceptor.update(weir.input(services, {}, { generation: 2 }), signal)).rejects.toThrow(/4096/);
    expect(state()).toBe(before);
    expect(await weir.interceptor.verify(signal)).toEqual([]);
    expect(arrival(weir.listeners[4], V4)).toEqual(V4);
  });

  test('a probe changes nothing and names what is missing', async () => {
    enterFreshNamespace();
    const before = state();
    const open = descriptorsOf();
    await using weir = new Instance();
    expect(await weir.interceptor.probe(signal)).toMatchObject({
      verdict: 'supported',
      facts: { libbpf: expect.stringMatching(/^1\./) as string },
    });
    process.env['WEIR_SKLOOKUP'] = 'off';
    expect(await weir.interceptor.probe(signal)).toMatchObject({
      verdict: 'unsupported',
      missing: [{ kind: 'library', name: 'libbpf.so.1', remedy: 'Unset WEIR_SKLOOKUP.' }],
    });
    await expect(weir.interceptor.provision(signal)).rejects.toThrow(UnsupportedError);
    expect(state()).toBe(before);
    expect(openedSince(open, descriptorsOf()).filter((entry) => !entry.includes('socket:'))).toEqual([]);
  });

  test('cleanUp removes what is left, says what, and touches nothing else', async () => {
    enterFreshNamespace({ uplink: true });
    shell(`ip rule add pref 9700 lookup 22600 protocol 87; ip rule add pref 9501 lookup 77
      ip route add 9.9.9.0/24 dev lo table 22600 proto 87; ip route add 9.9.9.0/24 dev lo table 22497 proto 5
      ip link add weirsk7 type veth peer name weirsk-peer`);
    const before = state();
    const context = { owner: 'default', numbers: TEST_NUMBERS, log: SILENT };
    const left = new Instance({ onCrash: 'closed' });
    await left.start(left.input([WEB]));
    expect(await ebpfSklookup.cleanUp(context)).toEqual([
      'ip rules 9500-9515 (8 rules)',
      'ip route tables 22497-22512 (1 routes)',
      'ip -6 rules 9500-9515 (9 rules)',
      'ip -6 route tables 22497-22512 (1 routes)',
      'device weirsk0',
    ]);
    expect(state()).toBe(before);
    expect(await ebpfSklookup.cleanUp(context)).toEqual([]);
    // A device of that name that is none of ours.
    expect(
      await ebpfSklookup.cleanUp({ ...context, numbers: { ...TEST_NUMBERS, slot: 7, preference: 1, table: 1 } }),
    ).toEqual([]);
    expect(shell('ip link')).toContain('weirsk7');
  });

  test('two owners side by side have their own flows; stopping one leaves those of the other', async () => {
    enterFreshNamespace({ uplink: true });
    const before = state();
    await using first = new Instance();
    const numbers = { ...TEST_NUMBERS, slot: 1, captureMark: 0x11000000, table: 22513, preference: 9516 };
    await using second = new Instance({ owner: 'second', numbers });
    await first.start(first.input([{ prefixes: ['203.0.113.0/24'] }]));
    await second.start(second.input([{ prefixes: ['198.51.100.0/24', '2001:db8:7::/48'] }]));
    const theirs = { address: '198.51.100.1', port: 80 };
    for (let round = 0; round < 2; round++) {
      expect(arrival(second.listeners[4], theirs)).toEqual(theirs);
      expect(arrival(second.listeners[6] ?? -1, V6)).toEqual(V6);
      if (round === 0) {
        expect(arrival(first.listeners[4], V4)).toEqual(V4);
        const client = connect(theirs) as number;
        const flow = accept(second.listeners[4]);
        expect(flow?.source.address).toBe('169.254.84.2');
        await first.interceptor.stop();
        expect(passes(client, flow?.fd ?? -1)).toBe(true);
        for (const fd of [client, flow?.fd ?? -1]) libc.close(fd);
      }
    }
    expect(attempt(V4)).toBe('pending');
    await second.interceptor.stop();
    expect(state()).toBe(before);
  });
});
