import { describe, expect, test } from 'vitest';
import { median, pairedRatio, randomFrom, shuffled, summarise } from '../src/statistics.ts';

const rounds = (...values: readonly number[]) => new Map(values.map((value, index) => [index + 1, value]));

describe('medians', () => {
  test('of odd and even counts, whatever the order', () => {
    expect(median([5, 1, 3])).toBe(3);
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(median([])).toBeNaN();
  });

  test('with the extremes', () => {
    expect(summarise([9, 10, 11, 2])).toEqual({ median: 9.5, lowest: 2, highest: 11 });
  });
});

describe('ratios', () => {
  test('are taken within a round, so that a slow round changes nothing', () => {
    // Both halve in round 2; the ratio of the medians would be the same, that of a mix would not.
    expect(pairedRatio(rounds(10, 5, 10), rounds(20, 10, 20))).toBe(0.5);
    expect(pairedRatio(rounds(10, 1, 12), rounds(20, 2, 20))).toBe(0.5);
  });

  test('leave out rounds that lack a side, and are absent when none is left', () => {
    expect(
      pairedRatio(
        new Map([
          [1, 3],
          [2, 8],
        ]),
        new Map([[2, 4]]),
      ),
    ).toBe(2);
    expect(pairedRatio(new Map([[1, 3]]), new Map([[2, 4]]))).toBeUndefined();
    expect(pairedRatio(rounds(1), rounds(0))).toBeUndefined();
  });
});

describe('order', () => {
  test('is the same for the same seed, and another for another', () => {
    const items = Array.from({ length: 20 }, (_, n) => n);
    const first = shuffled(items, randomFrom(7));
    expect(shuffled(items, randomFrom(7))).toEqual(first);
    expect(shuffled(items, randomFrom(8))).not.toEqual(first);
    expect(first.toSorted((a, b) => a - b)).toEqual(items);
  });

  test('gives every item every place', () => {
    const random = randomFrom(1);
    const firsts = new Set(Array.from({ length: 200 }, () => shuffled(['a', 'b', 'c'], random)[0]));
    expect(firsts).toEqual(new Set(['a', 'b', 'c']));
  });
});
