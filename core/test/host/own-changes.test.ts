import type { HostChange } from '@weir/core';
import { OwnChanges } from '@weir/core';
import { MemoryChanges } from '@weir/core/testing';
import { describe, expect, test } from 'vitest';

const live = new AbortController().signal;

function scene(failAt = 0) {
  const said: string[] = [];
  const host = new MemoryChanges(failAt);
  const change = (id: string, undo: () => void = () => undefined): HostChange => ({
    id,
    describe: `make ${id}`,
    do: async () => void said.push(`+${id}`),
    async undo() {
      undo();
      said.push(`-${id}`);
    },
  });
  return { said, host, change, own: new OwnChanges(host) };
}

describe('the changes of one interceptor', () => {
  test('are undone newest first, and those of others stay', async () => {
    const { said, host, change, own } = scene();
    await host.change(change('foreign'));
    await own.make(change('a'));
    await own.makeAll([change('b'), change('c')], live);
    expect(own.count).toBe(3);
    await own.undoTo(1);
    await own.undoTo(0);
    await own.undoTo(0);
    expect(said).toEqual(['+foreign', '+a', '+b', '+c', '-c', '-b', '-a']);
    expect(host.made).toEqual(['foreign']);
  });

  test.each([2, 3, 4])('are all made or none: failing at %i', async (failAt) => {
    const { host, change, own } = scene(failAt);
    await own.make(change('a'));
    await expect(own.makeAll([change('b'), change('c'), change('d')], live)).rejects.toThrow('injected');
    expect(host.made).toEqual(['a']);
    expect(own.count).toBe(1);
  });

  test('are not made any more when the signal is aborted', async () => {
    const { said, change, own } = scene();
    const stop = new AbortController();
    const aborting = { ...change('b'), do: async () => stop.abort(new Error('enough')) };
    await expect(own.makeAll([change('a'), aborting, change('c')], stop.signal)).rejects.toThrow('enough');
    expect(said).toEqual(['+a', '-b', '-a']);
  });

  test('what could not be undone can be undone later', async () => {
    const { host, change, own } = scene();
    let stuck = true;
    const sticky = change('b', () => {
      if (stuck) throw new Error('stuck');
    });
    await own.makeAll([change('a'), sticky], live);
    await expect(own.undoTo(0)).rejects.toThrow('stuck');
    expect(host.made).toEqual(['a', 'b']);
    stuck = false;
    await own.undoTo(0);
    expect(host.made).toEqual([]);
  });
});
