/** The newest lines of a log: how many are kept. */
import { expect, test } from 'vitest';
import { LogHistory, MAX_CHARACTERS, MAX_LINES } from '../../src/observe/log-history.ts';

test('the newest, oldest first, without their newlines', () => {
  const history = new LogHistory();
  for (let n = 0; n < MAX_LINES + 5; n++) history.add(`{"n":${n}}\n`);
  expect(history.last(2)).toEqual([`{"n":${MAX_LINES + 3}}`, `{"n":${MAX_LINES + 4}}`]);
  expect(history.last(10_000)).toHaveLength(MAX_LINES);
});

test('few, when they are long; one, when it is longer than all may be', () => {
  const history = new LogHistory();
  for (let n = 0; n < 10; n++) history.add('x'.repeat(MAX_CHARACTERS / 4));
  expect(history.last(10)).toHaveLength(4);
  history.add('y'.repeat(MAX_CHARACTERS * 2));
  expect(history.last(10).map((line) => line[0])).toEqual(['y']);
});

test('listeners get each line until they leave', () => {
  const history = new LogHistory();
  const seen: string[] = [];
  const leave = history.onLine((line) => void seen.push(line));
  history.add('1');
  leave();
  history.add('2');
  expect(seen).toEqual(['1']);
});
