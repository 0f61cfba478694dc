import { closeSync, openSync } from 'node:fs';
import { countByKind, descriptorsOf, leakedSince, openedSince } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';

describe('descriptor-leak check', () => {
  test('finds what was opened since, and nothing once it is closed', async () => {
    const before = descriptorsOf();
    const fd = openSync('/etc/hostname', 'r');
    expect(openedSince(before, descriptorsOf())).toContain(`${fd} /etc/hostname`);
    expect(await leakedSince(before, 'self', 100)).toContain(`${fd} /etc/hostname`);
    closeSync(fd);
    expect(openedSince(before, descriptorsOf())).not.toContain(`${fd} /etc/hostname`);
  });

  test('waits for what is closed a moment later', async () => {
    const before = descriptorsOf();
    const fd = openSync('/etc/hostname', 'r');
    setTimeout(() => closeSync(fd), 100);
    expect(await leakedSince(before, 'self', 10_000)).not.toContain(`${fd} /etc/hostname`);
  });

  test('a number that points to something else now counts as opened', () => {
    expect(openedSince(new Map([[5, '/a']]), new Map([[5, '/b']]))).toEqual(['5 /b']);
  });

  test('counts by kind', () => {
    const open = new Map([
      [1, 'socket:[1]'],
      [2, 'socket:[2]'],
      [3, 'pipe:[3]'],
      [4, 'anon_inode:[eventpoll]'],
      [5, '/dev/null'],
    ]);
    expect(countByKind(open)).toEqual({ socket: 2, pipe: 1, 'anon_inode:[eventpoll]': 1, file: 1 });
  });

  test('a process that is gone is an error', () => {
    expect(() => descriptorsOf(2 ** 22 + 1)).toThrow(/ENOENT/);
  });
});
