import { addressToBytes } from '@weir/core';
import { describe, expect, test } from 'vitest';
import {
  createNatTable,
  NAT_ENTRY,
  NAT_HEAD,
  NAT_ORIGINAL_PORT,
  NAT_SOURCE,
  type NatBlock,
} from '../../src/api/nat-table.ts';
import { NatLookup } from '../../src/dataplane/nat-lookup.ts';
import { sockaddr } from '../../src/sys/sockaddr.ts';

function blockOf(family: 4 | 6, first: string): NatBlock {
  return { family, firstAddress: addressToBytes(first), addresses: 4, firstPort: 1024, ports: 100 };
}

function find(lookup: NatLookup, family: 4 | 6, address: string, port: number): number {
  const name = sockaddr({ address, port });
  const view = new DataView(name.buffer, name.byteOffset, name.length);
  return lookup.find(view, family === 4 ? 4 : 8, port);
}

describe.each([
  [4, '169.254.85.254', '169.254.86.1', '169.254.85.253'],
  [6, 'fd64::fffe:ffff:fffd', 'fd64::fffe:ffff:ffff', 'fd64::fffe:ffff:fffc'],
] as const)('the table of an IPv%s block', (family, first, later, before) => {
  const block = blockOf(family, first);
  const table = createNatTable(block);
  const lookup = new NatLookup(table);
  const entryAt = (address: number, port: number) => NAT_HEAD + NAT_ENTRY * (address * 100 + port - 1024);
  for (let n = NAT_HEAD; n < lookup.words.length; n++) lookup.words[n] = 1;

  test('has an entry for each address and port', () => {
    expect(find(lookup, family, first, 1024)).toBe(entryAt(0, 1024));
    expect(find(lookup, family, first, 1123)).toBe(entryAt(0, 1123));
    expect(find(lookup, family, later, 1050)).toBe(entryAt(family === 4 ? 3 : 2, 1050));
  });

  test('has none for others', () => {
    expect(find(lookup, family, first, 1023)).toBe(-1);
    expect(find(lookup, family, first, 1124)).toBe(-1);
    expect(find(lookup, family, before, 1050)).toBe(-1);
    expect(find(lookup, family, family === 4 ? '169.254.86.2' : 'fd64::fffe:0:1', 1050)).toBe(-1);
    expect(find(lookup, family, family === 4 ? '10.0.0.1' : 'fd65::fffe:ffff:fffd', 1050)).toBe(-1);
  });

  test('has none where nothing was ever written', () => {
    const empty = new NatLookup(createNatTable(block));
    expect(find(empty, family, first, 1024)).toBe(-1);
    empty.words[NAT_HEAD + NAT_SOURCE] = 7;
    expect(find(empty, family, first, 1024)).toBe(NAT_HEAD);
    empty.words[NAT_HEAD + NAT_SOURCE] = 0;
    empty.words[NAT_HEAD + NAT_ORIGINAL_PORT] = 80;
    expect(find(empty, family, first, 1024)).toBe(NAT_HEAD);
  });
});

test('a table that is none is refused', () => {
  expect(() => new NatLookup(new SharedArrayBuffer(0))).toThrow(/no NAT table/);
  const cut = createNatTable(blockOf(4, '10.0.0.1')).slice(0, 400);
  expect(() => new NatLookup(cut as SharedArrayBuffer)).toThrow(/no NAT table/);
});
