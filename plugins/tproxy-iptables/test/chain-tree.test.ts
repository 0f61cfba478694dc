/** The tree of chains against the boxes it was grown from: a packet meets the same decision, and few rules. */
import { addressToNumber, type Box, type Family } from '@weir/core';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Chain, treeChains } from '../src/chain-tree.ts';
import { boxText } from '../src/rule-text.ts';

interface Packet {
  readonly source: bigint;
  readonly destination: bigint;
  readonly protocol: 'tcp' | 'udp';
  readonly port: number;
}

type Bounds = readonly [bigint, bigint];

function bounds(family: Family, text: string): Bounds {
  const [first = '', second] = text.split(/[-/]/);
  if (text.includes('-')) return [addressToNumber(first), addressToNumber(second ?? '')];
  const host = BigInt((family === 4 ? 32 : 128) - Number(second));
  return [addressToNumber(first), addressToNumber(first) + (1n << host) - 1n];
}

/** What iptables does with a rule of ours, from its text: matches, and where it goes on. */
function matches(family: Family, rule: string, packet: Packet): boolean {
  const inside = (option: string, value: bigint) => {
    const found = new RegExp(`(?:^| )${option} (\\S+)`).exec(rule);
    if (!found?.[1]) return true;
    const [first, last] = bounds(family, found[1]);
    return first <= value && value <= last;
  };
  const protocol = / ?-p (tcp|udp)/.exec(rule)?.[1];
  const ports = /--dport (\d+)(?::(\d+))?/.exec(rule);
  return (
    inside('-s', packet.source) &&
    inside('--src-range', packet.source) &&
    inside('-d', packet.destination) &&
    inside('--dst-range', packet.destination) &&
    (!protocol || protocol === packet.protocol) &&
    (!ports || (Number(ports[1]) <= packet.port && packet.port <= Number(ports[2] ?? ports[1])))
  );
}

/** Goes through the chains as the kernel does. @returns whether the packet was claimed, the rules it met, the depth. */
function walk(family: Family, chains: ReadonlyMap<string, Chain>, packet: Packet) {
  let chain = chains.get('root');
  let met = 0;
  for (let depth = 0; chain; depth++) {
    let next: string | undefined;
    for (const rule of chain.rules) {
      met++;
      if (!matches(family, rule, packet)) continue;
      next = /-g (\S+)$/.exec(rule)?.[1];
      break;
    }
    if (next === 'claim' || next === undefined) return { claimed: next === 'claim', met, depth };
    chain = chains.get(next);
    if (!chain) throw new Error(`there is no chain ${next}`);
  }
  throw new Error('there is no root');
}

function grow(family: Family, boxes: readonly Box[]): ReadonlyMap<string, Chain> {
  const chains = treeChains({
    family,
    boxes,
    rule: (box) => `${boxText(family, box)} -g claim`.trimStart(),
    name: (key) => key,
    root: 'root',
  });
  const byName = new Map(chains.map((chain) => [chain.name.replaceAll(' ', '_'), chain]));
  expect(byName.size).toBe(chains.length);
  const joined = (rule: string) =>
    rule.replace(/-g (root .*)$/, (_, name: string) => `-g ${name.replaceAll(' ', '_')}`);
  return new Map([...byName].map(([name, chain]) => [name, { name, rules: chain.rules.map(joined) }]));
}

const inBox = (box: Box, packet: Packet) =>
  box.firstAddress <= packet.destination &&
  packet.destination <= box.lastAddress &&
  box.protocol === packet.protocol &&
  box.firstPort <= packet.port &&
  packet.port <= box.lastPort &&
  (!box.sources || (box.sources[0] <= packet.source && packet.source <= box.sources[1]));

/** Packets at and beside every bound of some boxes. */
function packetsAt(boxes: readonly Box[]): readonly Packet[] {
  return boxes.flatMap((box) =>
    [box.firstAddress, box.lastAddress, box.firstAddress - 1n, box.lastAddress + 1n].flatMap((destination) =>
      [box.firstPort, box.lastPort, box.firstPort - 1, box.lastPort + 1].map((port) => ({
        source: box.sources?.[0] ?? 7n,
        destination,
        protocol: box.protocol,
        port,
      })),
    ),
  );
}

function agree(family: Family, boxes: readonly Box[], packets: readonly Packet[]): number {
  const chains = grow(family, boxes);
  let most = 0;
  for (const packet of packets) {
    if (packet.destination < 0n || packet.port < 0 || packet.port > 65_535) continue;
    if (packet.destination >= 1n << (family === 4 ? 32n : 128n)) continue;
    const { claimed, met, depth } = walk(family, chains, packet);
    expect(claimed).toBe(boxes.some((box) => inBox(box, packet)));
    expect(depth).toBeLessThanOrEqual(10);
    most = Math.max(most, met);
  }
  return most;
}

const tcp = (first: bigint, last: bigint, ports: readonly [number, number] = [0, 65_535]): Box => ({
  firstAddress: first,
  lastAddress: last,
  protocol: 'tcp',
  firstPort: ports[0],
  lastPort: ports[1],
});

const V4 = (text: string) => addressToNumber(text);

describe('the tree of chains', () => {
  test('random boxes: the same answer as the boxes themselves', () => {
    const box = fc
      .record({
        base: fc.constantFrom(0n, V4('10.0.0.0'), V4('10.3.0.0'), V4('198.51.100.0'), V4('255.255.255.0')),
        offset: fc.bigInt({ min: 0n, max: 600n }),
        size: fc.constantFrom(1n, 2n, 16n, 100n, 256n, 70_000n, 1n << 24n),
        protocol: fc.constantFrom('tcp' as const, 'udp' as const),
        port: fc.integer({ min: 0, max: 65_535 }),
        width: fc.constantFrom(0, 0, 1, 10, 900, 65_535),
        from: fc.option(fc.constantFrom([V4('10.0.0.0'), V4('10.255.255.255')] as const, [1n, 9n] as const), {
          nil: undefined,
        }),
      })
      .map(({ base, offset, size, protocol, port, width, from }): Box => {
        const within = (address: bigint) => (address > 0xffff_ffffn ? 0xffff_ffffn : address);
        return {
          firstAddress: within(base + offset),
          lastAddress: within(base + offset + size - 1n),
          protocol,
          firstPort: port,
          lastPort: Math.min(65_535, port + width),
          ...(from ? { sources: from } : {}),
        };
      });
    fc.assert(
      fc.property(fc.array(box, { minLength: 0, maxLength: 120 }), (boxes) => {
        agree(4, boxes, packetsAt(boxes.slice(0, 15)));
      }),
      { numRuns: 60 },
    );
  });

  test('10,000 prefixes: a flow meets dozens of rules', () => {
    const boxes = Array.from({ length: 10_000 }, (_, i) => {
      const first = V4('20.0.0.0') + BigInt(i) * 512n;
      return tcp(first, first + 255n, [2000 + (i % 7), 2000 + (i % 7)]);
    });
    const sample = packetsAt(boxes.filter((_, i) => i % 97 === 0));
    expect(agree(4, boxes, sample)).toBeLessThan(100);
    expect(grow(4, boxes).size).toBeLessThan(2000);
  });

  test('2,000 services on all addresses, each with a port of its own: dozens too', () => {
    const boxes = Array.from({ length: 2000 }, (_, i) => tcp(0n, 0xffff_ffffn, [1000 + i * 7, 1000 + i * 7]));
    expect(agree(4, boxes, packetsAt(boxes.filter((_, i) => i % 53 === 0)))).toBeLessThan(100);
  });

  test('2,000 sources of one destination: dozens too', () => {
    const boxes = Array.from({ length: 2000 }, (_, i): Box => {
      const source = V4('10.0.0.0') + BigInt(i) * 3n;
      return { ...tcp(5n, 5n, [80, 80]), sources: [source, source] };
    });
    expect(agree(4, boxes, packetsAt(boxes.filter((_, i) => i % 53 === 0)))).toBeLessThan(100);
  });

  test('boxes nested through all of IPv6 stay within the depth that the kernel allows', () => {
    const boxes: Box[] = [];
    for (let bit = 4n; bit < 128n; bit += 4n) {
      for (let i = 0n; i < 20n; i++) {
        const address = (1n << bit) + (i << (bit > 8n ? bit - 8n : 0n));
        boxes.push(tcp(address, address));
      }
    }
    expect(agree(6, boxes, packetsAt(boxes.filter((_, i) => i % 31 === 0)))).toBeLessThan(boxes.length);
  });

  test('one box more changes few chains', () => {
    const all = Array.from({ length: 10_000 }, (_, i) => {
      const first = V4('20.0.0.0') + BigInt(i) * 512n;
      return tcp(first, first + 255n, [1000 + (i >> 1), 1000 + (i >> 1)]);
    });
    const before = grow(
      4,
      all.filter((_, i) => i !== 5000),
    );
    const after = grow(4, all);
    const changed = [...after].filter(([name, { rules }]) => before.get(name)?.rules.join() !== rules.join());
    expect(changed.length).toBeGreaterThan(0);
    expect(changed.length).toBeLessThan(5);
    expect([...before.keys()].filter((name) => !after.has(name))).toEqual([]);
  });

  test('boxes that nothing tells apart stand in a row', () => {
    const boxes = Array.from({ length: 50 }, () => tcp(1n, 1n, [80, 80]));
    expect(grow(4, boxes).size).toBe(1);
  });
});
