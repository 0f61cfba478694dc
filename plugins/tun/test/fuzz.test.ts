/**
 * Generated IP packets through the packet code: nothing throws, every packet goes on or is counted with its reason, what
 * goes on has right checksums where it had them before, and is one of ours. WEIR_SOAK=1: a million.
 */
import { describe, expect, test } from 'vitest';
import { HELD_ASKED, HELD_DIALLED, HELD_DIALLING, HELD_GIVEN_UP, HeldAnswer } from '@weir/core';
import { COUNTERS } from '../src/counters.ts';
import { VNET_HEADER } from '../src/packet-path.ts';
import { readPacket } from './packets.ts';
import { LISTENERS, OWN, TestPath } from './path.ts';
import { RandomPackets } from './random-packets.ts';

const soak = process.env['WEIR_SOAK'] === '1';
const seed = Number(process.env['WEIR_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const count = soak ? 1_000_000 : 100_000;

const random = new RandomPackets(seed);
/** The 16 addresses of a block. */
const NAT_TEXT = { 4: /^169\.254\.85\.(?:\d|1[0-5])$/, 6: /^fd64:7765:6972:fffe::[0-9a-f]?$/ } as const;

/** The data plane in a mood: dials, succeeds, fails, forgets. */
function answerSome({ held }: TestPath): void {
  for (const table of held) {
    for (let place = 0; place < table.high; place++) {
      const state = table.state(place);
      if (random.below(3) === 0) continue;
      if (state === HELD_ASKED) table.dialling(place, 0, 0);
      else if (state === HELD_DIALLING && random.below(2) === 0) table.dialled(place);
      else if (state === HELD_DIALLING) table.end(place, random.pick(Object.values(HeldAnswer)));
      else if (state === HELD_DIALLED && random.below(2) === 0) table.take(place);
      else if (state === HELD_DIALLED || state === HELD_GIVEN_UP) table.end(place, HeldAnswer.taken);
    }
  }
}

/** Packets that go on or are answered count in one of these, all others in the counter of their reason. */
const GOES_ON = ['packetsIn', 'packetsOut', 'packetsPassed', 'resets', 'prohibited'] as const;
const NO_PACKET = [
  'natOpened',
  'prohibited',
  'writeFailed',
  'heldReleased',
  'heldRefused',
  'heldUnreachable',
  'heldGivenUp',
];
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
        if (random.below(20) === 0) now++;
        if (random.below(500) === 0) for (const flows of Object.values(path.flows)) flows.sweep(now);
        if (held !== undefined && random.below(150) === 0) {
          answerSome(path);
          for (const out of path.answered(now)) expect(out.length).toBeLessThanOrEqual(2048 + 1280);
        }
        const { packet, whole } = random.next();
        const out = path.take(packet, now);
        if (out === undefined) continue;
        went++;
        expect(out.length, `packet ${n}`).toBeLessThanOrEqual(
          Math.max(packet.length, VNET_HEADER + 60, packet.length + 48),
        );
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
