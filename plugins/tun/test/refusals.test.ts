/** What clients are told when a packet cannot be taken, or when the upstream of a connection that waits answers. */
import { bytesToAddress, HELD_ASKED, HELD_FREE, HELD_GIVEN_UP, HeldAnswer } from '@weir/core';
import { sumOf, plus } from '@weir/core/sys';
import { describe, expect, test } from 'vitest';
import { VNET_HEADER } from '../src/packet-path.ts';
import { ACK, packetOf, readPacket, RST, SYN } from './packets.ts';
import { LISTENERS, OWN, TestPath } from './path.ts';

const SERVER = { 4: '203.0.113.7', 6: '2001:db8:7::1' } as const;
const ICMP = { 4: 1, 6: 58 } as const;

function syn(family: 4 | 6, port = 49_152, sequence = 77): Uint8Array {
  return packetOf({ from: [OWN[family], port], to: [SERVER[family], 443] }, { partial: true, sequence });
}

/** Reads a message of ICMP. @throws when its checksums are wrong. */
function icmp(bytes: Uint8Array | undefined, family: 4 | 6) {
  if (bytes === undefined) throw new Error('nothing came out');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const ip = VNET_HEADER;
  const message = ip + (family === 4 ? 20 : 40);
  const [source, width] = family === 4 ? [ip + 12, 4] : [ip + 8, 16];
  const address = (at: number) => bytesToAddress(bytes.subarray(at, at + width));
  const pseudo = plus(sumOf(view, source, source + 2 * width), plus(58, bytes.length - message));
  expect(plus(sumOf(view, message, bytes.length), family === 4 ? 0 : pseudo)).toBe(0xffff);
  if (family === 4) expect(sumOf(view, ip, message)).toBe(0xffff);
  expect(view.getUint8(ip + (family === 4 ? 9 : 6))).toBe(ICMP[family]);
  const length = family === 4 ? view.getUint16(ip + 2, false) : 40 + view.getUint16(ip + 4, false);
  expect(length).toBe(bytes.length - ip);
  expect(bytes.subarray(0, ip)).toEqual(new Uint8Array(ip));
  return {
    from: address(source),
    to: address(source + width),
    type: view.getUint8(message),
    code: view.getUint8(message + 1),
    about: bytes.subarray(message + 8),
  };
}

describe.each([4, 6] as const)('IPv%s: a connection that waits', (family) => {
  const waiting = () => {
    const path = new TestPath({ held: 2 });
    const table = path.held[family === 4 ? 0 : 1];
    if (table === undefined) throw new Error('there is no table');
    return { path, table };
  };

  test('goes on when its upstream stands, as if it came just now', () => {
    const { path, table } = waiting();
    expect(path.take(syn(family))).toBeUndefined();
    expect(table.state(0)).toBe(HELD_ASKED);
    expect(path.answered(1)).toEqual([]);
    table.dialling(0, 5, 1);
    table.dialled(0);
    const [out] = path.answered(2);
    expect(readPacket(out as Uint8Array)).toMatchObject({
      ends: { to: [OWN[family], LISTENERS.tcp] },
      flags: SYN,
      sequence: 77,
      faults: [],
    });
    // From now on its packets pass.
    expect(path.take(syn(family), 3)).toBeDefined();
    expect(table.take(0)).toBe(true);
    expect(path.answered(4)).toEqual([]);
    expect(table.state(0)).toBe(HELD_FREE);
    expect(path.counted()).toMatchObject({ packetsHeld: 1, heldReleased: 1, packetsIn: 1 });
  });

  test('is refused by RST when its upstream is', () => {
    const { path, table } = waiting();
    path.take(syn(family));
    table.dialling(0, 5, 1);
    table.end(0, HeldAnswer.refused);
    const [out] = path.answered(2);
    expect(readPacket(out as Uint8Array)).toMatchObject({
      ends: { from: [SERVER[family], 443], to: [OWN[family], 49_152] },
      flags: RST | ACK,
      acknowledge: 78,
      faults: [],
    });
    expect(table.state(0)).toBe(HELD_FREE);
  });

  test.each([
    [HeldAnswer.networkUnreachable, { 4: 0, 6: 0 }],
    [HeldAnswer.hostUnreachable, { 4: 1, 6: 3 }],
  ])('is told by ICMP about its own packet: answer %i', (answer, code) => {
    const { path, table } = waiting();
    const packet = syn(family);
    path.take(packet);
    table.dialling(0, 5, 1);
    table.end(0, answer);
    const [out] = path.answered(2);
    expect(icmp(out, family)).toEqual({
      from: SERVER[family],
      to: OWN[family],
      type: family === 4 ? 3 : 1,
      code: code[family],
      about: packet.subarray(VNET_HEADER),
    });
  });

  test('gives its place up when its client is silent, resets, or begins another', () => {
    const { path, table } = waiting();
    path.take(syn(family, 50_000));
    path.take(syn(family, 50_001));
    expect(path.take(syn(family, 50_002))).toBeUndefined();
    expect(path.counted()).toMatchObject({ packetsHeld: 2, heldLimit: 1 });
    table.dialling(0, 5, 1);
    path.take(packetOf({ from: [OWN[family], 50_000], to: [SERVER[family], 443] }, { flags: RST, sequence: 78 }));
    expect(table.state(0)).toBe(HELD_GIVEN_UP);
    table.end(0, HeldAnswer.taken);
    // Repeated after a second, silent from then on: 1 + 4 + 2 s.
    path.take(syn(family, 50_001), 10);
    path.answered(69);
    expect(table.state(1)).toBe(HELD_ASKED);
    path.answered(70);
    expect(table.state(1)).toBe(HELD_FREE);
    // One that begins another is dialled anew.
    path.take(syn(family, 50_003, 1), 71);
    path.take(syn(family, 50_003, 2), 71);
    expect(path.counted()).toMatchObject({ heldGivenUp: 3, packetsHeld: 6 });
    expect([table.state(0), table.state(1)]).toContain(HELD_ASKED);
  });
});

describe('packets that cannot be taken', () => {
  test('a source route is prohibited, and the sender is told a bounded number of times', () => {
    const path = new TestPath();
    const options = Uint8Array.of(131, 7, 4, 10, 0, 0, 1, 0);
    const packet = packetOf({ from: [OWN[4], 50_000], to: [SERVER[4], 443] }, { options });
    expect(icmp(path.take(packet), 4)).toMatchObject({ from: SERVER[4], to: OWN[4], type: 3, code: 13 });
    for (let n = 0; n < 200; n++) path.take(packet);
    expect(path.counted()).toEqual({ droppedSourceRoute: 201, prohibited: 100 });
    expect(path.take(packet, 1)).toBeDefined();
  });

  test('so is an authentication header, and nobody is told about multicast', () => {
    const path = new TestPath();
    const packet = packetOf({ from: [OWN[6], 50_000], to: [SERVER[6], 443] }, { protocol: 51 });
    expect(icmp(path.take(packet), 6)).toMatchObject({ from: SERVER[6], to: OWN[6], type: 1, code: 1 });
    expect(path.take(packetOf({ from: [OWN[6], 50_000], to: ['ff02::1', 443] }, { protocol: 51 }))).toBeUndefined();
    expect(path.counted()).toEqual({ droppedAuthenticated: 2, prohibited: 1 });
  });
});
