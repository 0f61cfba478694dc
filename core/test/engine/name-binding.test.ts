import { describe, expect, test } from 'vitest';
import { addressToBytes, familyOf } from '../../src/capture/address.ts';
import { NameDirectory } from '../../src/dataplane/name-directory.ts';
import { NameTexts } from '../../src/dataplane/name-texts.ts';
import { NameBinding, type NameBindingOptions } from '../../src/engine/name-binding.ts';

/** A binding, and what a worker sees of it that has been told of `data`. */
function bindingOf(names: number, options: NameBindingOptions = {}) {
  const binding = new NameBinding(names, options);
  const find = (address: string, data = binding.data) => {
    const bytes = new Uint8Array(16);
    bytes.set(addressToBytes(address));
    const [a = 0, b = 0, c = 0, d = 0] = new Int32Array(bytes.buffer);
    const directory = new NameDirectory(data);
    const entry = directory.find(familyOf(address), a, b, c, d);
    if (entry < 0) return undefined;
    return { name: new NameTexts(binding.texts).get(directory.nameAt(entry)), pattern: directory.patternAt(entry) };
  };
  return { binding, find };
}

const of = (n: number, more: object = {}) => ({
  name: `n${n}.x`,
  ipv4: `100.64.${n >> 8}.${n & 255}`,
  ipv6: `fd64::${n.toString(16)}`,
  patternIndex: 3,
  ...more,
});

describe('the names that workers see', () => {
  test('are those that were entered, at each of their addresses, also former ones', () => {
    const { binding, find } = bindingOf(100);
    expect(binding.enter(of(1, { former: ['100.64.9.9'] }))).toBeUndefined();
    for (const address of ['100.64.0.1', 'fd64::1', '100.64.9.9'])
      expect(find(address)).toEqual({ name: 'n1.x', pattern: 3 });
    expect(find('100.64.0.2')).toBeUndefined();
    binding.rematch(() => -1);
    expect(find('100.64.9.9')).toEqual({ name: 'n1.x', pattern: -1 });
  });

  test('are gone when they are released, and an address may become another name’s', () => {
    const { binding, find } = bindingOf(100);
    void binding.enter(of(1));
    void binding.enter(of(2));
    binding.release('n1.x');
    expect(find('100.64.0.1')).toBeUndefined();
    expect(find('100.64.0.2')).toEqual({ name: 'n2.x', pattern: 3 });
    void binding.enter({ ...of(3), ipv4: '100.64.0.1', patternIndex: 5 });
    expect(find('100.64.0.1')).toEqual({ name: 'n3.x', pattern: 5 });
    expect(binding.size).toBe(2);
  });

  test('stay right while names come and go by the ten thousand, in a directory that does not grow', async () => {
    let replaced = 0;
    let now = 0;
    const { binding, find } = bindingOf(100, {
      now: () => now,
      onReplaced: async () => {
        replaced++;
      },
    });
    const bytes = binding.data.buffer.byteLength;
    for (let n = 1; n <= 10_000; n++) {
      await binding.enter(of(n));
      if (n > 50) binding.release(`n${n - 50}.x`);
      now += 10_000;
      binding.recycle(new Set());
    }
    expect(replaced).toBeGreaterThan(10);
    expect(binding.data.buffer.byteLength).toBe(bytes);
    for (let n = 9_951; n <= 10_000; n++) expect(find(of(n).ipv4)).toEqual({ name: `n${n}.x`, pattern: 3 });
    expect(find(of(9_950).ipv4)).toBeUndefined();
    expect(binding.size).toBe(50);
  });

  test('may be told to clients only when workers have a directory that replaced another', async () => {
    let release: () => void = () => {};
    let now = 0;
    const { binding } = bindingOf(100, {
      now: () => now,
      onReplaced: () => new Promise((resolve) => (release = resolve)),
    });
    let entered: void | Promise<void> = undefined;
    for (let n = 1; entered === undefined; n++) {
      entered = binding.enter(of(n));
      binding.release(`n${n - 8}.x`);
      now += 10_000;
      binding.recycle(new Set());
    }
    const waiting = [entered, binding.enter(of(5000))];
    let done = false;
    void Promise.all(waiting.map(async (one) => one)).then(() => (done = true));
    await new Promise((resolve) => setImmediate(resolve));
    expect(done).toBe(false);
    release();
    await Promise.all(waiting.map(async (one) => one));
    expect(binding.enter(of(5001))).toBeUndefined();
  });
});

describe('the number of a name', () => {
  test('is used again only after workers have forgotten it, and never while a flow carries it', () => {
    let now = 0;
    const { binding } = bindingOf(100, { now: () => now });
    void binding.enter(of(1));
    expect(binding.textOf(0)).toBe('n1.x');
    binding.release('n1.x');
    binding.recycle(new Set());
    void binding.enter(of(2));
    // A record of a flow that has just ended still says the right name.
    expect([binding.textOf(0), binding.textOf(1)]).toEqual(['n1.x', 'n2.x']);
    now = 320_000;
    binding.recycle(new Set([0]));
    void binding.enter(of(3));
    expect(binding.textOf(2)).toBe('n3.x');
    binding.recycle(new Set());
    void binding.enter(of(4));
    expect(binding.textOf(0)).toBe('n4.x');
  });

  test('is refused when too many wait to be used again', () => {
    const { binding } = bindingOf(4);
    const comeAndGo = () => {
      for (let n = 0; n < 20; n++) {
        void binding.enter(of(n));
        binding.release(`n${n}.x`);
      }
    };
    expect(comeAndGo).toThrow(/came and went lately.*limits\.names/);
  });
});
