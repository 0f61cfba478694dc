/**
 * Generated IP packets through the packet code: nothing throws, every packet goes on or is counted with its reason, what
 * goes on has right checksums where it had them before, and is one of ours. WEIR_SOAK=1: a million.
 */
import { describe, expect, test } from 'vitest';
import { HELD_ASKED, HELD_DIALLED, HELD_DIALLING, HELD_GIVEN_UP, HeldAnswer } from '@weir/core';
import { COUNTERS } from '../src/counters.ts';
import { VNET_HEADER } from '../src/packet-path.ts';
import { type Ends, packetOf, type PacketOptions, readPacket, TCP, UDP } from './packets.ts';
import { FIRST_PORT, LISTENERS, NAT, OWN, TestPath } from './path.ts';

const soak = process.env['WEIR_SOAK'] === '1';
const seed = Number(process.env['WEIR_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const count = soak ? 1_000_000 : 100_000;

function generator(start: number): (limit: number) => number {
  let state = start >>> 0;
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * limit);
  };
}

const below = generator(seed);
const pick = <T>(list: readonly T[]): T => list[below(list.length)] as T;
const bytes = (length: number): Uint8Array => Uint8Array.from({ length }, () => below(256));

const ADDRESSES = {
  4: [OWN[4], NAT[4], '169.254.85.5', '203.0.113.7', '198.51.100.1', '224.0.0.1', '0.0.0.0', '127.0.0.1', '10.1.0.2'],
  6: [OWN[6], NAT[6], 'fd64:7765:6972:fffe::5', '2001:db8::7', '2001:db8:1::1', 'ff02::1', '::', '::1', 'fe80::1'],
} as const;
const PORTS = [0, 1, 53, 80, 443, FIRST_PORT, FIRST_PORT + 1, LISTENERS.tcp, LISTENERS.udp, 49_152, 65_535] as const;
/** The 16 addresses of a block. */
const NAT_TEXT = { 4: /^169\.254\.85\.(?:\d|1[0-5])$/, 6: /^fd64:7765:6972:fffe::[0-9a-f]?$/ } as const;
const EXTENSIONS = [0, 43, 44, 50, 51, 59, 60, 135, 139, 140];

function randomEnds(family: 4 | 6): Ends {
  // What our listeners send, and what hardly ever comes up by chance.
  if (below(5) === 0) {
    const source = FIRST_PORT + below(60);
    return { from: [OWN[family], pick([LISTENERS.tcp, LISTENERS.udp])], to: [NAT[family], source] };
  }
  return {
    from: [pick(ADDRESSES[family]), pick(PORTS)],
    to: [pick(ADDRESSES[family]), pick(PORTS)],
  };
}

/** Mostly right, so that what is behind the first check is reached too. */
function randomOptions(family: 4 | 6): PacketOptions {
  const often = below(12) !== 0;
  return {
    protocol: often ? pick([TCP, TCP, UDP]) : below(256),
    flags: below(256),
    sequence: below(2 ** 32),
    acknowledge: below(2 ** 32),
    payload: bytes(pick([0, 0, 1, 7, 64, 1400])),
    partial: below(2) === 0,
    ...(below(6) === 0 ? { gsoSize: below(65_536) } : {}),
    ...(family === 4 && below(5) === 0 ? { options: bytes(4 * (1 + below(10))) } : {}),
    ...(family === 4 && below(5) === 0 ? { fragment: below(65_536), id: below(8) } : {}),
    ...(family === 6 && below(3) === 0
      ? {
          extensions: Array.from({ length: 1 + below(12) }, () => {
            const extension = bytes(8 * (1 + below(3)));
            if (below(4) !== 0) extension[1] = extension.length / 8 - 1;
            if (below(4) === 0) extension[2] = 201;
            return [below(3) === 0 ? pick(EXTENSIONS) : pick([0, 60]), extension] as const;
          }),
        }
      : {}),
    unchecked: below(10) === 0,
  };
}

/** @returns the packet, and whether its checksums are still right. */
function randomPacket(): { readonly packet: Uint8Array; readonly whole: boolean } {
  if (below(50) === 0) return { packet: bytes(below(200)), whole: false };
  const family = pick([4, 6] as const);
  const options = randomOptions(family);
  const made = packetOf(randomEnds(family), options);
  const isPlain =
    options.options === undefined &&
    options.extensions === undefined &&
    options.fragment === undefined &&
    (options.protocol === TCP || options.protocol === UDP) &&
    !options.unchecked;
  if (below(3) !== 0) return { packet: made, whole: isPlain };
  const damaged = below(3) === 0 ? made.slice(0, below(made.length + 1)) : made;
  for (let n = below(4); n > 0 && damaged.length > 0; n--) {
    // The headers are where a damaged byte does something.
    damaged[below(Math.min(damaged.length, VNET_HEADER + 80))] = pick([0, 1, 4, 255, below(256)]);
  }
  return { packet: damaged, whole: false };
}

/** The data plane in a mood: dials, succeeds, fails, forgets. */
function answerSome({ held }: TestPath): void {
  for (const table of held) {
    for (let place = 0; place < table.high; place++) {
      const state = table.state(place);
      if (below(3) === 0) continue;
      if (state === HELD_ASKED) table.dialling(place, 0, 0);
      else if (state === HELD_DIALLING && below(2) === 0) table.dialled(place);
      else if (state === HELD_DIALLING) table.end(place, pick(Object.values(HeldAnswer)));
      else if (state === HELD_DIALLED && below(2) === 0) table.take(place);
      else if (state === HELD_DIALLED || state === HELD_GIVEN_UP) table.end(place, HeldAnswer.taken);
    }
  }
}

/** Packets that go on or are answered count in one of these, all others in the counter of their reason. */
const GOES_ON = ['packetsIn', 'packetsOut', 'packetsPassed', 'resets'] as const;
const NO_PACKET = ['natOpened', 'writeFailed', 'heldReleased', 'heldRefused', 'heldUnreachable', 'heldGivenUp'];
const OF_HELD = COUNTERS.filter((name) => /held/i.test(name));

/** Not without a device; not with both families. */
const UNREACHED: ReadonlySet<string> = new Set(['writeFailed', 'droppedFamily']);

describe(`WEIR_SEED=${seed}`, () => {
  test.each([
    ['answered at once', undefined],
    ['answered as the upstream answers', 6],
  ])(
    `${count / 2} packets, %s: each goes on or is counted, and what goes on is right`,
    { timeout: 600_000 },
    (_, held) => {
      const path = new TestPath({
        addresses: 2,
        ports: 30,
        times: { brief: 5, linger: 30, opening: 50, idle: 20 },
        ...(held === undefined ? {} : { held }),
      });
      const check = (out: Uint8Array, n: number) => {
        const { ends, faults } = readPacket(out);
        const family = ends.from[0].includes(':') ? 6 : 4;
        expect(faults, `packet ${n}`).toEqual([]);
        const toListener = ends.to[0] === OWN[family] && (ends.to[1] === LISTENERS.tcp || ends.to[1] === LISTENERS.udp);
        // Everything else is an answer or passes; nothing leaves for a source of ours.
        if (!toListener) expect(ends.to[0], `packet ${n} ${JSON.stringify(ends)}`).not.toMatch(NAT_TEXT[family]);
      };
      const sum = () =>
        Object.entries(path.counted())
          .filter(([name]) => !NO_PACKET.includes(name))
          .reduce((total, [, number]) => total + number, 0);
      let went = 0;
      let now = 0;
      for (let n = 0; n < count / 2; n++) {
        if (below(20) === 0) now++;
        if (below(500) === 0) for (const flows of Object.values(path.flows)) flows.sweep(now);
        if (held !== undefined && below(150) === 0) {
          answerSome(path);
          for (const out of path.answered(now)) expect(out.length).toBeLessThanOrEqual(2048 + 1280);
        }
        const { packet, whole } = randomPacket();
        const out = path.take(packet, now);
        if (out === undefined) continue;
        went++;
        expect(out.length, `packet ${n}`).toBeLessThanOrEqual(Math.max(packet.length, VNET_HEADER + 60));
        if (!whole) continue;
        check(out, n);
      }
      const counted = path.counted();
      process.stderr.write(`fuzz of tun: WEIR_SEED=${seed} ${JSON.stringify(counted)}\n`);
      expect(sum()).toBe(count / 2);
      expect(GOES_ON.reduce((total, name) => total + (counted[name] ?? 0), 0)).toBe(went);
      // A run that never came to some place would prove nothing of it.
      const reached = COUNTERS.filter(
        (name) => !UNREACHED.has(name) && (held !== undefined || !OF_HELD.includes(name)),
      );
      expect(reached.filter((name) => (counted[name] ?? 0) === 0)).toEqual([]);
    },
  );
});
