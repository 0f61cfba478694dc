import { describe, expect, test } from 'vitest';
import { VNET_HEADER } from '../src/packet-path.ts';
import { ACK, type Ends, FIN, packetOf, readPacket, RST, SYN, TCP, UDP } from './packets.ts';
import { FIRST_PORT, LISTENERS, NAT, OWN, TestPath } from './path.ts';

const SERVER = { 4: '203.0.113.7', 6: '2001:db8:7::1' } as const;

function ends(family: 4 | 6, port = 49_152, to = 443): Ends {
  return { from: [OWN[family], port], to: [SERVER[family], to] };
}

function read(bytes: Uint8Array | undefined, transportAt?: number) {
  if (bytes === undefined) throw new Error('nothing came out');
  return readPacket(bytes, transportAt);
}

describe.each([4, 6] as const)('IPv%s', (family) => {
  test.each([
    ['with its whole checksum', false],
    ['with its checksum left to the reader', true],
  ])('TCP goes to the listener and back, %s', (_, partial) => {
    const path = new TestPath();
    const there = read(path.take(packetOf(ends(family), { partial, sequence: 77 })));
    expect(there).toMatchObject({
      ends: { from: [NAT[family], FIRST_PORT], to: [OWN[family], LISTENERS.tcp] },
      flags: SYN,
      sequence: 77,
      faults: [],
    });
    const back = read(
      path.take(packetOf({ from: there.ends.to, to: there.ends.from }, { partial, flags: SYN | ACK, acknowledge: 78 })),
    );
    expect(back).toMatchObject({
      ends: { from: [SERVER[family], 443], to: [OWN[family], 49_152] },
      flags: SYN | ACK,
      acknowledge: 78,
      faults: [],
    });
    expect(path.portsAt(`tcp${family}`, 0)).toEqual({ source: 49_152, original: 443 });
    expect(path.counted()).toEqual({ packetsIn: 1, packetsOut: 1, natOpened: 1 });
  });

  test('a packet of many segments passes uncut, with its header as it was', () => {
    const path = new TestPath();
    path.take(packetOf(ends(family)));
    const payload = Uint8Array.from({ length: 40_000 }, (_, n) => n % 251);
    const packet = packetOf(ends(family), { flags: ACK, partial: true, gsoSize: 1400, payload });
    const there = read(path.take(packet));
    expect(there.payload).toEqual(payload);
    expect(there.header).toEqual(packet.slice(0, VNET_HEADER));
    expect(there.faults).toEqual([]);
  });

  test('every address, port and payload keeps its checksum right', () => {
    const path = new TestPath({ addresses: 16, ports: 200 });
    for (let n = 0; n < 3000; n++) {
      const from = [OWN[family], 1024 + ((n * 7919) % 60_000)] as const;
      const to =
        family === 4
          ? (`${1 + (n % 223)}.${(n * 13) % 256}.${(n * 7) % 256}.${n % 256}` as const)
          : (`2001:db8:${((n * 31) % 0xffff).toString(16)}::${((n * 17) % 0xffff).toString(16)}` as const);
      if (to.startsWith('127.')) continue;
      const protocol = n % 2 === 0 ? TCP : UDP;
      const options = {
        protocol,
        partial: n % 3 === 0,
        payload: Uint8Array.from({ length: n % 40 }, (_, byte) => (n * byte) % 256),
      };
      const there = read(path.take(packetOf({ from, to: [to, 1 + ((n * 104_729) % 65_535)] }, options)));
      expect(there.faults, `packet ${n}`).toEqual([]);
      expect(there.payload).toEqual(options.payload);
    }
    expect(path.counted()['natExhausted']).toBeUndefined();
  });

  test('UDP goes to its own listener; without a checksum it stays without', () => {
    const path = new TestPath();
    const payload = Uint8Array.of(1, 2, 3);
    const there = read(path.take(packetOf(ends(family), { protocol: UDP, payload })));
    expect(there).toMatchObject({
      ends: { from: [NAT[family], FIRST_PORT], to: [OWN[family], LISTENERS.udp] },
      payload,
      faults: [],
    });
    const bare = path.take(packetOf(ends(family), { protocol: UDP, payload, unchecked: true }));
    const at = VNET_HEADER + (family === 4 ? 20 : 40) + 6;
    expect(bare?.subarray(at, at + 2)).toEqual(Uint8Array.of(0, 0));
  });

  test('flows are kept apart by both ends, and each keeps its source', () => {
    const path = new TestPath();
    const sourceOf = (from: number, to: number) => read(path.take(packetOf(ends(family, from, to)))).ends.from[1];
    const first = sourceOf(5000, 443);
    expect(sourceOf(5001, 443)).not.toBe(first);
    expect(sourceOf(5000, 444)).not.toBe(first);
    expect(sourceOf(5000, 443)).toBe(first);
    expect(path.counted()['natOpened']).toBe(3);
  });

  test('a packet of a connection that nobody knows is answered with RST', () => {
    const path = new TestPath();
    const stray = { flags: ACK, sequence: 500, acknowledge: 900, payload: new Uint8Array(10), partial: true };
    const answer = read(path.take(packetOf(ends(family), stray)));
    expect(answer).toMatchObject({
      ends: { from: [SERVER[family], 443], to: [OWN[family], 49_152] },
      flags: RST,
      sequence: 900,
      faults: [],
    });
    expect(answer.header).toEqual(new Uint8Array(VNET_HEADER));
    const unacknowledged = read(path.take(packetOf(ends(family), { flags: FIN, sequence: 500 })));
    expect(unacknowledged).toMatchObject({ flags: RST | ACK, sequence: 0, acknowledge: 501, faults: [] });
    expect(path.take(packetOf(ends(family), { flags: RST, sequence: 1 })), 'a RST is not answered').toBeUndefined();
    expect(path.counted()).toEqual({ resets: 2, droppedUnknown: 1 });
  });

  test('what is nobody’s flow is dropped and counted', () => {
    const path = new TestPath();
    const nat = [NAT[family], FIRST_PORT] as const;
    // To a source that no flow has; from somebody who is not the listener; from a source of ours.
    path.take(packetOf({ from: [OWN[family], LISTENERS.tcp], to: nat }, { flags: ACK }));
    path.take(packetOf({ from: [OWN[family], 7], to: nat }, { flags: ACK }));
    path.take(packetOf({ from: [SERVER[family], LISTENERS.tcp], to: nat }, { flags: ACK }));
    path.take(packetOf({ from: nat, to: [SERVER[family], 443] }));
    path.take(packetOf({ from: [OWN[family], 7], to: [family === 4 ? '224.0.0.1' : 'ff02::1', 443] }));
    path.take(packetOf(ends(family), { protocol: family === 4 ? 1 : 58 }));
    path.take(packetOf(ends(family), { protocol: 47 }));
    expect(path.counted()).toEqual({ droppedUnknown: 1, droppedStray: 4, droppedIcmp: 1, droppedProtocol: 1 });
  });

  test('new flows are dropped when no source is free, and living ones go on', () => {
    const path = new TestPath({ addresses: 1, ports: 2 });
    for (const port of [1, 2]) path.take(packetOf(ends(family, port)));
    expect(path.take(packetOf(ends(family, 3)))).toBeUndefined();
    expect(path.counted()).toMatchObject({ natExhausted: 1, natOpened: 2 });
    expect(read(path.take(packetOf(ends(family, 2), { flags: ACK }))).ends.from[1]).toBe(FIRST_PORT + 1);
  });
});

describe('packets of other hosts', () => {
  const other: Ends = { from: ['10.2.0.2', 50_000], to: ['203.0.113.7', 443] };

  test('that begin a flow are taken with their own source', () => {
    const path = new TestPath();
    expect(read(path.take(packetOf(other))).ends).toEqual({
      from: [NAT[4], FIRST_PORT],
      to: [OWN[4], LISTENERS.tcp],
    });
    const back = packetOf({ from: [OWN[4], LISTENERS.tcp], to: [NAT[4], FIRST_PORT] }, { flags: SYN | ACK });
    expect(read(path.take(back)).ends).toEqual({ from: other.to, to: other.from });
  });

  test.each([
    ['of a connection from before', { flags: ACK, payload: new Uint8Array(3000), partial: true, gsoSize: 1448 }],
    ['that end one', { flags: RST }],
    ['in a fragment whose first one went another way', { protocol: UDP, fragment: 5, payload: new Uint8Array(64) }],
  ])('%s go on as they came', (_, options) => {
    const path = new TestPath();
    const packet = packetOf(other, options);
    expect(path.take(packet)).toEqual(packet);
    expect(path.counted()).toEqual({ packetsPassed: 1 });
  });

  test('while draining, new ones go on as they came, and living flows stay', () => {
    const path = new TestPath();
    path.take(packetOf(other));
    path.drain();
    const next = packetOf({ ...other, from: ['10.2.0.2', 50_001] });
    expect(path.take(next)).toEqual(next);
    const datagram = packetOf(other, { protocol: UDP });
    expect(path.take(datagram)).toEqual(datagram);
    expect(read(path.take(packetOf(other, { flags: ACK }))).ends.to).toEqual([OWN[4], LISTENERS.tcp]);
    expect(path.counted()).toMatchObject({ packetsPassed: 2, packetsIn: 2 });
  });
});

describe('IPv4 headers', () => {
  const udp = { protocol: UDP, payload: new Uint8Array(16) };

  test('options pass, and source routes do not', () => {
    const path = new TestPath();
    // Router alert (RFC 2113); loose source route (RFC 791).
    const alert = Uint8Array.of(148, 4, 0, 0);
    const there = read(path.take(packetOf(ends(4), { options: alert })));
    expect(there).toMatchObject({ ends: { from: [NAT[4], FIRST_PORT] }, faults: [] });
    const route = Uint8Array.of(131, 7, 4, 10, 0, 0, 1, 0);
    path.take(packetOf(ends(4), { options: route }));
    expect(path.take(packetOf(ends(4), { options: Uint8Array.of(148, 0, 0, 0) }))).toBeUndefined();
    expect(path.counted()).toMatchObject({ packetsIn: 1, droppedSourceRoute: 1, prohibited: 1, droppedMalformed: 1 });
  });

  test('fragments follow their first one, and those without are dropped', () => {
    const path = new TestPath();
    const fragment = (id: number, place: number) => packetOf(ends(4), { ...udp, id, fragment: place, unchecked: true });
    const first = read(path.take(fragment(9, 0x2000)));
    expect(first.ends.from).toEqual([NAT[4], FIRST_PORT]);
    const later = path.take(fragment(9, 3));
    expect(later?.subarray(VNET_HEADER + 12, VNET_HEADER + 16)).toEqual(Uint8Array.of(169, 254, 85, 0));
    expect(later?.subarray(VNET_HEADER + 20), 'what is behind the header is data').toEqual(
      fragment(9, 3).subarray(VNET_HEADER + 20),
    );
    expect(later && readPacket(later).faults.filter((fault) => fault.includes('header'))).toEqual([]);
    expect(path.take(fragment(10, 3))).toBeUndefined();
    expect(path.take(fragment(9, 3), 10_000), 'much later').toBeUndefined();
    expect(path.counted()).toMatchObject({ packetsIn: 2, droppedFragment: 2 });
  });
});

describe('IPv6 extension headers', () => {
  const header = (...bytes: readonly number[]) => Uint8Array.from({ length: 8 }, (_, n) => bytes[n] ?? 0);

  test('hop-by-hop and destination options pass', () => {
    const path = new TestPath();
    const extensions = [[0, header(0, 0, 1, 4)] as const, [60, header(0, 0, 1, 4)] as const];
    const there = read(path.take(packetOf(ends(6), { extensions })), VNET_HEADER + 56);
    expect(there).toMatchObject({ ends: { from: [NAT[6], FIRST_PORT], to: [OWN[6], LISTENERS.tcp] }, faults: [] });
  });

  test.each([
    ['a routing header on its way', [[43, header(0, 0, 4, 1)]], 'droppedSourceRoute'],
    ['a home address', [[60, header(0, 0, 201, 4)]], 'droppedExtension'],
    ['authentication', [[51, header()]], 'droppedAuthenticated'],
    ['more headers than anybody sends', Array.from({ length: 9 }, () => [60, header(0, 0, 1, 4)]), 'droppedExtension'],
    ['a header that is longer than the packet', [[0, header(0, 200)]], 'droppedMalformed'],
    ['a later fragment without its first', [[44, header(0, 0, 0, 8)]], 'droppedFragment'],
  ] as ReadonlyArray<[string, ReadonlyArray<readonly [number, Uint8Array]>, string]>)(
    '%s: not taken',
    (_, extensions, counter) => {
      const path = new TestPath();
      const isTold = counter !== 'droppedMalformed' && counter !== 'droppedFragment';
      expect(path.take(packetOf(ends(6), { extensions })) !== undefined).toBe(isTold);
      expect(path.counted()).toEqual({ [counter]: 1, ...(isTold ? { prohibited: 1 } : {}) });
    },
  );

  test('fragments follow their first one', () => {
    const path = new TestPath();
    const fragment = (offset: number, more: number) =>
      packetOf(ends(6), {
        protocol: UDP,
        payload: new Uint8Array(16),
        extensions: [[44, header(0, 0, offset >>> 8, (offset & 0xf8) | more, 0, 0, 0, 5)]],
      });
    expect(path.take(fragment(0, 1))).toBeDefined();
    const later = path.take(fragment(64, 0));
    expect(later?.subarray(VNET_HEADER + 48)).toEqual(fragment(64, 0).subarray(VNET_HEADER + 48));
    expect(path.counted()).toMatchObject({ packetsIn: 2, natOpened: 1 });
  });
});

test.each([
  ['nothing at all', new Uint8Array(0)],
  ['only a virtio_net_hdr', new Uint8Array(VNET_HEADER)],
  [
    'a virtio_net_hdr that points elsewhere',
    (() => {
      const packet = packetOf(ends(4), { partial: true });
      new DataView(packet.buffer).setUint16(6, 400, true);
      return packet;
    })(),
  ],
  ['a TCP header that is cut', packetOf(ends(4)).subarray(0, VNET_HEADER + 30)],
])('%s is malformed', (_, packet) => {
  const path = new TestPath();
  expect(path.take(packet)).toBeUndefined();
  expect(path.counted()['droppedMalformed']).toBe(1);
});
