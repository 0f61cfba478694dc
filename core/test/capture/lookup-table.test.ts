import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { addressToNumber, addressToWords } from '../../src/capture/address.ts';
import {
  buildLookupTable,
  compileNames,
  LookupTable,
  type LookupTableData,
  NONE,
  SPARE,
} from '../../src/capture/index.ts';
import { compile, numbered, service } from './sets.ts';

const TCP = 6;
const UDP = 17;
const ICMP = 1;
const ip = (text: string) => Number(addressToNumber(text));
const words = (text: string) => addressToWords(addressToNumber(text));

const services = [
  service({ prefixes: ['198.51.100.0/24', '2001:db8::/32'], ports: [443], protocols: ['tcp', 'udp'] }),
  service({ prefixes: ['255.255.255.0/24'], sources: ['200.0.0.0/8', '10.1.0.0/16'] }),
  service({ names: ['*.internal'], ports: [[1, 1023]] }),
];
const set = compile({ services, exclude: ['198.51.100.128/25'] });
const data = buildLookupTable(set, compileNames(numbered(services)));
const table = new LookupTable(data);

function arraysOf(of: LookupTableData): readonly ArrayBufferView[] {
  return Object.values(of).filter((value) => ArrayBuffer.isView(value));
}

describe('LookupTable', () => {
  test('answers for protocols by their number in the IP header, and for nothing but TCP and UDP', () => {
    const to = ip('198.51.100.1');
    expect(table.decide4(to, 443, TCP, 0)).toBe(16);
    expect(table.decide4(to, 443, UDP, 0)).toBe(16);
    expect(table.decide4(to, 443, ICMP, 0)).toBe(NONE);
    expect(table.decide4(to, 442, TCP, 0)).toBe(NONE);
    expect(table.decide4(ip('198.51.100.200'), 443, TCP, 0)).toBe(SPARE);
  });

  test('takes addresses above 2³¹, also as the signed numbers that bit operations make of them', () => {
    const to = ip('255.255.255.255');
    const from = ip('200.1.2.3');
    expect(table.decide4(to, 80, TCP, from)).toBe(17);
    expect(table.decide4(to | 0, 80, TCP, from | 0)).toBe(17);
    expect(table.decide4(to, 80, TCP, ip('201.0.0.0'))).toBe(NONE);
    const [d0, d1, d2, d3] = words('2001:db8:ffff:ffff:ffff:ffff:ffff:ffff');
    expect(table.decide6(d0, d1 | 0, d2 | 0, d3 | 0, 443, TCP, 0, 0, 0, 0)).toBe(16);
  });

  test('answers for names, and not for a pattern that it does not know', () => {
    expect(table.decideName(0, 80, TCP, 4, ip('10.0.0.1'), 0, 0, 0)).toBe(18);
    expect(table.decideName(0, 80, TCP, 6, ...words('2001:db8::1'))).toBe(18);
    expect(table.decideName(0, 8080, TCP, 4, 0, 0, 0, 0)).toBe(NONE);
    for (const pattern of [-1, 1, 1e6]) expect(table.decideName(pattern, 80, TCP, 4, 0, 0, 0, 0)).toBe(NONE);
  });

  test('an empty set takes nothing', () => {
    const empty = new LookupTable(buildLookupTable(compile({ services: [] }), { rows: [] }));
    expect(empty.decide4(0, 0, TCP, 0)).toBe(NONE);
    expect(empty.decide6(0, 0, 0, 0, 65_535, UDP, 0, 0, 0, 0)).toBe(NONE);
  });

  test('goes to a worker as a message, without a copy', () => {
    const { port1, port2 } = new MessageChannel();
    port1.postMessage(data);
    const received = receiveMessageOnPort(port2)?.message as LookupTableData;
    port1.close();
    const there = new LookupTable(received);
    expect(there.generation).toBe(set.generation);
    expect(there.decide4(ip('198.51.100.1'), 443, TCP, 0)).toBe(16);
    expect(arraysOf(received)).toHaveLength(15);
    expect(arraysOf(received).every((array) => array.buffer instanceof SharedArrayBuffer)).toBe(true);
    // The same memory, not equal memory: what one side writes, the other reads.
    data.ports4[0] = 7;
    expect(received.ports4[0]).toBe(7);
    data.ports4[0] = 0;
  });

  test('stores what is equal once', () => {
    const many = Array.from({ length: 256 }, (_, n) => `10.${n}.0.0/24`);
    const built = buildLookupTable(compile({ services: [service({ prefixes: many, ports: [80] })] }), { rows: [] });
    expect(new Set(built.ports4).size).toBe(2);
    // Two parts for each list: nothing at all (for both families), and port 80.
    expect(built.portIndex).toHaveLength(2 * 3 + 1);
  });
});
