/** What the doctor reads out of listings of nft and iptables, and what it makes of them. */
import { describe, expect, test } from 'vitest';
import { chainOf, type Firewall, foreignChains, verdictOn } from '../../src/doctor/firewall.ts';
import { parseIptables } from '../../src/doctor/firewall-iptables.ts';
import { parseNft } from '../../src/doctor/firewall-nft.ts';

const MARK = 0x1100_0000;
const ALL = 0xffff_ffff;

function nftDocument(...entries: readonly object[]): string {
  return JSON.stringify({ nftables: [{ metainfo: { version: '1.0.6' } }, ...entries] });
}

const chain = (name: string, more: object = {}, table = 'theirs') => ({
  chain: { family: 'inet', table, name, handle: 1, ...more },
});
const rule = (chainName: string, expr: readonly object[], handle = 7, table = 'theirs') => ({
  rule: { family: 'inet', table, chain: chainName, handle, expr },
});
const meta = (key: string) => ({ meta: { key } });
const match = (left: object, right: unknown, op = '==') => ({ match: { op, left, right } });
const set = (value: unknown) => ({ mangle: { key: meta('mark'), value } });

function nft(...entries: readonly object[]): Firewall {
  return { chains: parseNft(nftDocument(...entries), true), owners: [], unseen: [] };
}

/** The only rule of a listing. */
function nftRule(...expr: readonly object[]) {
  const found = nft(chain('c'), rule('c', expr)).chains[0]?.rules[0];
  if (found === undefined) throw new Error('there is no rule');
  return found;
}

function iptables(text: string): Firewall {
  return { ...parseIptables('iptables-nft', text), unseen: [] };
}

/** The only rule of `-A OUTPUT <specification>` in mangle. */
function iptablesRule(specification: string) {
  const found = iptables(`*mangle\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT ${specification}\nCOMMIT\n`).chains[0]?.rules[0];
  if (found === undefined) throw new Error('there is no rule');
  return found;
}

describe('marks in nft', () => {
  test.each([
    ['a value', 5, { sets: 5, clears: ~5 >>> 0 }],
    ['bits besides', { '|': [meta('mark'), 0x2000_0000] }, { sets: 0x2000_0000, clears: 0 }],
    ['some bits replaced', { '|': [{ '&': [meta('mark'), 0xffff_ff00] }, 1] }, { sets: 1, clears: 0xfe }],
    ['bits kept', { '&': [meta('mark'), 0xff] }, { sets: 0, clears: 0xffff_ff00 }],
    ['the mark of the connection', { ct: { key: 'mark' } }, { sets: 0, clears: ALL }],
    ['itself', meta('mark'), { sets: 0, clears: 0 }],
    ['something looked up', { map: { key: 1 } }, { sets: 0, clears: ALL }],
  ])('%s', (_what, value, change) => {
    expect(nftRule(set(value)).changes).toEqual([change]);
  });

  test('what becomes of the mark of a connection is its own affair', () => {
    expect(nftRule({ mangle: { key: { ct: { key: 'mark' } }, value: 5 } }).changes).toEqual([]);
  });

  test('comparisons', () => {
    expect(nftRule(match({ '&': [meta('mark'), 0x3000_0000] }, 0x1000_0000)).conditions).toEqual([
      { kind: 'mark', mask: 0x3000_0000, value: 0x1000_0000, negated: false },
    ]);
    expect(nftRule(match(meta('mark'), 4660, '!=')).compares).toEqual([4660]);
  });
});

describe('marks in iptables', () => {
  test.each([
    ['-j MARK --set-xmark 0x5/0xffffffff', [{ sets: 5, clears: ~5 >>> 0 }]],
    ['-p tcp -j MARK --set-xmark 0x1/0xff', [{ sets: 1, clears: 0xfe }]],
    ['-j MARK --set-xmark 0x0/0xfffffffa', [{ sets: 0, clears: 0xffff_fffa }]],
    ['-j CONNMARK --restore-mark --nfmask 0xff --ctmask 0xff', [{ sets: 0, clears: 0xff }]],
    ['-j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff', []],
    ['-j CONNMARK --set-xmark 0x5/0xffffffff', []],
    ['-j ACCEPT', []],
  ])('%s', (specification, changes) => {
    expect(iptablesRule(specification).changes).toEqual(changes);
  });

  test('comparisons, targets, and the way to remove the rule', () => {
    const found = iptablesRule('! -i eth0 -m mark --mark 0x1/0xf -m comment --comment "a -j b" -j TPROXY --on-port 1');
    expect(found).toMatchObject({ tproxy: true, notrack: false, compares: [1], changes: [] });
    expect(found.conditions).toEqual([
      { kind: 'device', names: ['eth0'], negated: true },
      { kind: 'mark', mask: 0xf, value: 1, negated: false },
    ]);
    expect(found.verdict).toBeUndefined();
    expect(found.removal).toBe(
      'iptables-nft -t mangle -D OUTPUT ! -i eth0 -m mark --mark 0x1/0xf -m comment --comment "a -j b" -j TPROXY --on-port 1',
    );
    expect(iptablesRule('-j CT --notrack').notrack).toBe(true);
    expect(iptablesRule('-s 192.0.2.1/32 -j DROP').conditions).toEqual([{ kind: 'other' }]);
  });
});

describe('whether a captured packet gets in', () => {
  const input = (policy: string) => chain('input', { hook: 'input', type: 'filter', prio: 0, policy });
  const verdict = (firewall: Firewall) => {
    const base = firewall.chains.find(({ hook }) => hook === 'input');
    return base && verdictOn(firewall, base, MARK);
  };
  const LO = match(meta('iifname'), 'lo');

  test.each([
    ['policy accept', 'accept', [], 'accept'],
    ['policy drop', 'drop', [], 'drop'],
    ['loopback accepted', 'drop', [LO, { accept: null }], 'accept'],
    ['loopback by index, in a set', 'drop', [match(meta('iif'), { set: ['eth0', 'lo'] }), { accept: null }], 'accept'],
    ['another device accepted', 'drop', [match(meta('iifname'), 'eth0'), { accept: null }], 'drop'],
    ['all but another device', 'drop', [match(meta('iifname'), 'eth0', '!='), { accept: null }], 'accept'],
    [
      'only what is established',
      'drop',
      [match({ ct: { key: 'state' } }, ['established', 'related'], 'in'), { accept: null }],
      'drop',
    ],
    ['what is new', 'drop', [match({ ct: { key: 'state' } }, 'new', 'in'), { accept: null }], 'accept'],
    ['what carries our mark', 'drop', [match({ '&': [meta('mark'), 0x3f00_0000] }, MARK), { accept: null }], 'accept'],
    ['a rejection at the end', 'accept', [{ counter: { packets: 1 } }, { reject: null }], 'drop'],
    ['a rejection of something', 'accept', [match({ payload: { field: 'dport' } }, 80), { drop: null }], 'accept'],
    ['a limit', 'accept', [{ limit: { rate: 1 } }, { drop: null }], 'accept'],
  ])('%s', (_what, policy, expr, outcome) => {
    const entries = expr.length === 0 ? [] : [rule('input', expr)];
    expect(verdict(nft(input(policy), ...entries))).toBe(outcome);
  });

  test('jumps come back, gotos do not, and a ring has an end', () => {
    const jump = (kind: 'jump' | 'goto') =>
      nft(
        input('drop'),
        chain('first'),
        rule('input', [{ [kind]: { target: 'first' } }], 2),
        rule('input', [LO, { accept: null }], 3),
      );
    expect(verdict(jump('jump'))).toBe('accept');
    expect(verdict(jump('goto'))).toBe('drop');
    const ring = nft(
      input('drop'),
      chain('a'),
      rule('input', [{ jump: { target: 'a' } }]),
      rule('a', [{ jump: { target: 'a' } }]),
    );
    expect(verdict(ring)).toBe('drop');
  });

  test('in the words of ufw and of firewalld', () => {
    const ufw = iptables(
      `*filter
:INPUT DROP [0:0]
:ufw-before-input - [0:0]
-A INPUT -j ufw-before-input
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
`,
    );
    expect(verdict(ufw)).toBe('accept');
    const bare = iptables(
      '*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n-A INPUT -j REJECT\nCOMMIT\n',
    );
    expect(verdict(bare)).toBe('drop');
    expect(bare.chains[0]?.acceptLoopback).toBe('iptables-nft -t filter -I INPUT -i lo -j ACCEPT');
  });
});

test('what is Weir’s is not foreign, in nft and in iptables, whoever owns it', () => {
  const out = { hook: 'output', type: 'route', prio: -150, policy: 'accept' };
  const both: Firewall = {
    chains: [
      ...nft(chain('out', out, 'weir_default'), rule('out', [set(5)], 1, 'weir_default'), chain('out', out)).chains,
      ...iptables(
        '*mangle\n:OUTPUT ACCEPT [0:0]\n:weir/second/out - [0:0]\n:theirs - [0:0]\n-A OUTPUT -j weir/second/out\n-A OUTPUT -g theirs\nCOMMIT\n',
      ).chains,
    ],
    owners: [],
    unseen: [],
  };
  expect(foreignChains(both, ['output']).map(({ table, name }) => `${table} ${name}`)).toEqual([
    'nft inet theirs out',
    'iptables-nft mangle OUTPUT',
    'iptables-nft mangle theirs',
  ]);
  expect(
    parseIptables('iptables-nft', '*mangle\n:weir/second/out - [0:0]\n:weir-h/0123456789ab/out - [0:0]\n').owners,
  ).toEqual(['second', '#0123456789ab']);
});

test('tables of iptables are told in its own words where it can be asked', () => {
  const entries = [
    { chain: { family: 'ip', table: 'filter', name: 'INPUT', hook: 'input', policy: 'drop' } },
    { chain: { family: 'ip', table: 'theirs', name: 'in', hook: 'input', policy: 'drop' } },
  ];
  const names = (withIptables: boolean) => parseNft(nftDocument(...entries), withIptables).map(({ name }) => name);
  expect(names(true)).toEqual(['INPUT', 'in']);
  expect(names(false)).toEqual(['in']);
  const [first] = parseNft(nftDocument(...entries), true);
  expect(first && chainOf({ chains: [first], owners: [], unseen: [] }, first, 'in')).toBeUndefined();
});
