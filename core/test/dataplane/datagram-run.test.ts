/** What of a run one message may be, and what makes Weir ask for runs. */
import { expect, test } from 'vitest';
import { datagramsIn, longestRun, looksLikeRun } from '../../src/dataplane/datagram-run.ts';

test('a message is never more than 64 datagrams nor more than 65,507 bytes, and whole datagrams', () => {
  expect([1, 64, 1000, 1023].map(longestRun)).toEqual([64, 4096, 64_000, 65_472]);
  expect([1024, 1200, 1452, 9000].map(longestRun)).toEqual([63 * 1024, 54 * 1200, 45 * 1452, 7 * 9000]);
  expect([32_754, 40_000, 65_507].map(longestRun)).toEqual([32_754, 40_000, 65_507]);
});

test('datagrams are counted, the shorter last one too', () => {
  expect(datagramsIn(48_000, 1200)).toBe(40);
  expect(datagramsIn(46_801, 1200)).toBe(40);
  expect(datagramsIn(1201, 1200)).toBe(2);
  expect([datagramsIn(0, 0), datagramsIn(65_507, 0)]).toEqual([1, 1]);
});

test('eight of one length in a row look like a run, wherever they stand', () => {
  const looks = (...sizes: readonly number[]) => looksLikeRun(Int32Array.from(sizes), sizes.length);
  const eight = Array<number>(8).fill(1200);
  expect(looks(...eight)).toBe(true);
  expect(looks(5, ...eight, 0)).toBe(true);
  expect(looks(...eight.slice(1), 1, ...eight.slice(1))).toBe(false);
  expect(looks(...eight.slice(1), 1199)).toBe(false);
  expect(looks(...Array<number>(9).fill(0))).toBe(false);
  // What an earlier batch left behind is not looked at.
  expect(looksLikeRun(Int32Array.from(eight), 7)).toBe(false);
});
