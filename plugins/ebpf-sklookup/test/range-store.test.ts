import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RangeStore } from '../src/range-store.ts';

test('runs never overlap, and what is given back can be taken again', () => {
  const lengths = fc.array(fc.record({ take: fc.boolean(), size: fc.integer({ min: 0, max: 9 }) }), { maxLength: 200 });
  expect(() =>
    fc.assert(
      fc.property(lengths, (steps) => {
        const store = new RangeStore(64);
        const taken: Array<readonly [first: number, length: number]> = [];
        for (const { take, size } of steps) {
          if (take) {
            const first = store.take(size);
            if (first !== undefined && size > 0) taken.push([first, size]);
          } else if (taken.length > 0) {
            const [[first, length]] = taken.splice(size % taken.length, 1) as [readonly [number, number]];
            store.give(first, length);
          }
          const used = taken.flatMap(([first, length]) => Array.from({ length }, (_, i) => first + i));
          expect(new Set(used).size).toBe(used.length);
          expect(store.used).toBe(used.length);
          expect(used.every((each) => each >= 0 && each < 64)).toBe(true);
        }
        for (const [first, length] of taken) store.give(first, length);
        // Nothing is left in pieces.
        expect(store.take(64)).toBe(0);
        expect(store.take(1)).toBeUndefined();
      }),
    ),
  ).not.toThrow();
});

test('a run of nothing takes nothing', () => {
  const store = new RangeStore(1);
  expect(store.take(1)).toBe(0);
  expect(store.take(0)).toBe(0);
  store.give(0, 0);
  expect(store.used).toBe(1);
});
