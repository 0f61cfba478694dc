import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type PlanInput, UnsupportedError } from '@weir/core';
import {
  AF_NETLINK,
  FD_CLOEXEC,
  libc,
  NETLINK_NETFILTER,
  nftTable,
  SO_DOMAIN,
  SO_PROTOCOL,
  SOL_SOCKET,
} from '@weir/core/sys';
import {
  arrival,
  descriptorsOf,
  enterFreshNamespace,
  openedSince,
  requires,
  shell,
  SILENT,
  TEST_NUMBERS,
  TPROXY_LIFECYCLE_CASES,
  TPROXY_PLANS,
} from '@weir/core/testing';
import { afterEach, describe, expect, test } from 'vitest';
import { changeElements, createTable, deleteChain, deleteTable, fillTable, flushChain } from '../src/commands.ts';
import { elementOf } from '../src/elements.ts';
import { nft } from '../src/index.ts';
import { renderCommand } from '../src/nftables-json/index.ts';
import { tableOf } from '../src/table.ts';
import { environment, instance, signal, state } from './instance.ts';

/** linux/fcntl.h */
const F_GETFD = 1;

const V4 = { address: '203.0.113.7', port: 443 };
const WEB = { prefixes: ['203.0.113.0/24', '2001:db8:7::/48'], ports: [[443, 443]] as const };

/**
 * The parts of the state that the plan speaks of. In native syntax, since nft 1.0.6 prints the flag of an owner table in
 * JSON from memory that it does not own.
 */
function planned(): string {
  const ruleset = shell('nft -s list ruleset').replaceAll(/ # progname .*$|^\tflags owner\n\n/gm, '');
  return `${ruleset}${shell('ip rule; ip -6 rule; ip route show table all; ip -6 route show table all')}`;
}

function load(input: PlanInput): void {
  for (const { tool, text } of nft.plan(input, {}).steps) {
    if (tool === 'nft') {
      shell(
        'cat > /tmp/weir-plan.$$; nft -c -f /tmp/weir-plan.$$; nft -f /tmp/weir-plan.$$; rm /tmp/weir-plan.$$',
        text,
      );
    } else shell(`${tool} -batch -`, text);
  }
}

afterEach(() => {
  delete process.env['WEIR_NFT_LIBRARY'];
  delete process.env['WEIR_NFT_BINARY'];
});

describe.skipIf(requires('namespaces', 'nft', 'ipv6'))('the life of the nft interceptor', () => {
  for (const { name, run } of TPROXY_LIFECYCLE_CASES) test(name, () => run(environment));

  for (const { name, input } of TPROXY_PLANS) {
    for (const library of ['on', 'off']) {
      test(`start makes what the plan says: ${name}, library ${library}`, async () => {
        process.env['WEIR_NFT_LIBRARY'] = library;
        enterFreshNamespace({ uplink: true });
        load(input);
        const byTools = planned();
        enterFreshNamespace({ uplink: true });
        const before = state();
        await using weir = instance({ owner: input.owner, numbers: input.numbers });
        await weir.start(input);
        expect(planned()).toBe(byTools);
        expect(await weir.interceptor.verify(signal)).toEqual([]);
        await weir.interceptor.stop();
        expect(state()).toBe(before);
      });
    }
  }

  for (const { name, input } of TPROXY_PLANS) {
    test(`commands in native syntax make what those in JSON make: ${name}`, () => {
      const content = tableOf(input);
      const commands = [createTable(content.table), ...fillTable(content)];
      const made = [JSON.stringify({ nftables: commands }), commands.map(renderCommand).join('\n')].map((text) => {
        enterFreshNamespace();
        shell('cat > /tmp/weir-commands.$$; nft -j -f /tmp/weir-commands.$$; rm /tmp/weir-commands.$$', text);
        return shell('nft -s list ruleset');
      });
      expect(made[1]).toBe(made[0]);
      const [set] = content.sets;
      const [shard] = set?.shards ?? [];
      if (!set || !shard) return;
      const elements = [...shard.elements.values()].map((box) => elementOf(set.family, box));
      const chain = content.chains.at(-1)?.chain;
      const undo = [
        ...changeElements(content.table, shard.name, [], elements),
        ...changeElements(content.table, shard.name, elements, []),
        ...(chain ? [flushChain(chain), deleteChain(chain)] : []),
        deleteTable(content.table),
      ];
      shell(
        'cat > /tmp/weir-commands.$$; nft -f /tmp/weir-commands.$$; rm /tmp/weir-commands.$$',
        undo.map(renderCommand).join('\n'),
      );
      expect(shell('nft list ruleset')).toBe('');
    });
  }

  test('a table that is there already is neither filled nor removed', async () => {
    enterFreshNamespace();
    shell('nft add table inet weir_default; nft add chain inet weir_default foreign');
    await using weir = instance();
    await expect(weir.start(weir.input([WEB]))).rejects.toThrow(/exists/);
    expect(shell('nft list ruleset')).toContain('foreign');
    expect(weir.host.made).toEqual([]);
  });

  test('owner tables of others leave the heap whole: libnftables 1.0.6 frees their flag twice when it prints JSON', async () => {
    enterFreshNamespace({ uplink: true });
    await using weir = instance({ owner: 'other' });
    await weir.start(weir.input([WEB]));
    expect(shell('nft list tables')).toContain('weir_other');
    const contexts = fileURLToPath(new URL('peers/contexts.ts', import.meta.url));
    // mallopt(3): glibc then ends the process at the first block that is freed twice.
    const env = { ...process.env, LD_PRELOAD: 'libc_malloc_debug.so.0', MALLOC_CHECK_: '3' };
    const argv = ['--conditions=source', contexts, '2000'];
    expect(execFileSync(process.execPath, argv, { env, encoding: 'utf8' })).toBe('done\n');
  });

  test('update: elements, swap, back again; the kernel has what the last input says', async () => {
    enterFreshNamespace({ uplink: true });
    await using weir = instance({ onCrash: 'closed' });
    await weir.start(weir.input([WEB]));
    const wide = Array.from({ length: 300 }, (_, i) => `198.${18 + (i >> 8)}.${i & 255}.0/24`);
    const steps = [
      [WEB, { prefixes: ['198.51.100.0/24'], ports: [[80, 80]] as const }],
      [{ prefixes: ['198.51.0.0/16', '203.0.113.0/28'], ports: [[1, 100]] as const }],
      [{ prefixes: wide }],
      [{ prefixes: wide.slice(1) }, { prefixes: ['2001:db8:8::/48'], sources: ['2001:db8:1::/64'] }],
      [],
      [WEB],
    ];
    for (const [index, services] of steps.entries()) {
      await weir.interceptor.update(weir.input(services, {}, { generation: index + 2 }), signal);
      expect(await weir.interceptor.verify(signal)).toEqual([]);
    }
    expect(arrival(weir.listeners[4], V4)).toEqual(V4);
    expect(shell('nft list table inet weir_default').match(/set \w+ \{/g)).toHaveLength(2);
  });

  test('a refused update changes nothing', async () => {
    enterFreshNamespace({ uplink: true });
    await using weir = instance();
    await weir.start(weir.input([WEB]));
    const before = planned();
    const bad = weir.input([{ prefixes: ['9.0.0.0/8'] }], { owner: 'other' }, { generation: 2 });
    await expect(weir.interceptor.update(bad, signal)).rejects.toThrow(/cannot become one of the owner/);
    expect(planned()).toBe(before);
    expect(await weir.interceptor.verify(signal)).toEqual([]);
  });

  // In a user namespace the send buffer of a netlink socket is bounded by net.core.wmem_max.
  test.skipIf(requires('root'))('12,000 prefixes: start, one more, one less, stop', { timeout: 60_000 }, async () => {
    enterFreshNamespace({ uplink: true });
    const before = state();
    const prefixes = Array.from({ length: 12_000 }, (_, i) => `20.${i >> 8}.${i & 255}.${i % 7}/32`);
    await using weir = instance({ onCrash: 'closed' });
    await weir.start(weir.input([{ prefixes }]));
    expect(await weir.interceptor.verify(signal)).toEqual([]);
    const last = { address: '20.46.223.1', port: 9 };
    expect(arrival(weir.listeners[4], last)).toEqual(last);
    const more = [...prefixes, '21.0.0.1/32'];
    await weir.interceptor.update(weir.input([{ prefixes: more }], {}, { generation: 2 }), signal);
    await weir.interceptor.update(weir.input([{ prefixes: more.slice(1) }], {}, { generation: 3 }), signal);
    expect(await weir.interceptor.verify(signal)).toEqual([]);
    const first = { address: '20.0.0.0', port: 9 };
    expect(arrival(weir.listeners[4], first)).toBe('pending');
    await weir.interceptor.stop();
    expect(state()).toBe(before);
  });

  test('owned where the crash is to be open, and never otherwise', async () => {
    enterFreshNamespace();
    for (const [onCrash, library, owned] of [
      ['open', 'on', true],
      ['closed', 'on', false],
      ['open', 'off', false],
    ] as const) {
      process.env['WEIR_NFT_LIBRARY'] = library;
      await using weir = instance({ onCrash });
      await weir.start(weir.input([WEB]));
      expect(nftTable('inet', 'weir_default')).toMatchObject({ owned, dormant: false });
    }
  });

  test('the netlink socket of the library is not inherited by children', async () => {
    enterFreshNamespace();
    await using weir = instance();
    await weir.start(weir.input([WEB]));
    const option = (fd: number, name: number) => {
      const value = Int32Array.of(-1);
      libc.getsockopt(fd, SOL_SOCKET, name, value, Int32Array.of(4));
      return value[0];
    };
    const netfilter = [...descriptorsOf().keys()].filter(
      (fd) => option(fd, SO_DOMAIN) === AF_NETLINK && option(fd, SO_PROTOCOL) === NETLINK_NETFILTER,
    );
    expect(netfilter).toHaveLength(1);
    for (const fd of netfilter) expect(libc.fcntl(fd, F_GETFD, 0)).toBe(FD_CLOEXEC);
  });

  test('a probe changes nothing and names what is missing', async () => {
    enterFreshNamespace();
    const before = state();
    const open = descriptorsOf();
    await using weir = instance();
    expect(await weir.interceptor.probe(signal)).toMatchObject({ verdict: 'supported' });
    process.env['WEIR_NFT_LIBRARY'] = 'off';
    expect(await weir.interceptor.probe(signal)).toMatchObject({
      verdict: 'supported',
      facts: { nftables: 'the nft program' },
    });
    process.env['WEIR_NFT_BINARY'] = 'off';
    expect(await weir.interceptor.probe(signal)).toMatchObject({
      verdict: 'unsupported',
      missing: [{ kind: 'library', remedy: expect.stringContaining('apt-get install') as string }],
    });
    await expect(weir.interceptor.provision(signal)).rejects.toThrow(UnsupportedError);
    expect(state()).toBe(before);
    expect(openedSince(open, descriptorsOf()).filter((entry) => !entry.includes('socket:'))).toEqual([]);
  });

  test('cleanUp removes what is left, says what, and touches nothing else', async () => {
    enterFreshNamespace({ uplink: true });
    shell(`nft add table inet weir_other; ip rule add pref 9700 lookup 22600 protocol 87
      ip route add 9.9.9.0/24 dev lo table 22600 proto 87; ip rule add pref 9501 lookup 77`);
    const before = state();
    const context = { owner: 'default', numbers: TEST_NUMBERS, log: SILENT };
    const left = instance({ onCrash: 'closed' });
    await left.start(left.input([WEB]));
    const removed = await nft.cleanUp(context);
    expect(removed).toEqual([
      'nft table inet weir_default',
      expect.stringMatching(/^ip rule 9500 /) as string,
      expect.stringMatching(/^ip rule 32800 /) as string,
      'ip route table 22497 (1 routes)',
      'ip route table 22498 (2 routes)',
      expect.stringMatching(/^ip -6 rule 9500 /) as string,
      expect.stringMatching(/^ip -6 rule 32800 /) as string,
      'ip -6 route table 22497 (1 routes)',
      'ip -6 route table 22498 (2 routes)',
    ]);
    expect(state()).toBe(before);
    expect(await nft.cleanUp(context)).toEqual([]);
  });
});
