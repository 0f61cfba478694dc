import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parsePrefix } from '../../src/capture/address.ts';
import { createDnsCounters } from '../../src/dns/counters.ts';
import { NameMap, type MappedName, type NameMapOptions } from '../../src/dns/name-map.ts';
import { NameStore, type NameStoreOptions } from '../../src/resolvers/name-store.ts';
import { RANGES, silent, TemporaryDirectory } from './fixtures.ts';

let directory: TemporaryDirectory;
let path: string;
beforeEach(() => {
  directory = new TemporaryDirectory();
  path = directory.file('names');
});
afterEach(() => directory[Symbol.dispose]());

function open(options: Partial<NameMapOptions> = {}): NameMap {
  return new NameMap({
    path,
    ranges: RANGES,
    secret: '',
    durable: false,
    onError: (error) => {
      throw error;
    },
    ...options,
  });
}

const name = (n: number, more: Partial<MappedName> = {}): MappedName => ({
  name: `n${n}.internal`,
  ipv4: `100.64.1.${n}`,
  ipv6: `fd64:7765:6972::${n}`,
  configured: false,
  ...more,
});

function written(...names: readonly MappedName[]): void {
  const map = open();
  for (const one of names) map.assigned(one);
  map.close();
}

describe('a map', () => {
  test('says what was written into it: the last word on each name, in the order of the first', () => {
    const map = open();
    expect(map.restored).toEqual([]);
    map.assigned(name(1, { configured: true }));
    map.assigned(name(2));
    map.assigned(name(3));
    map.released('n2.internal');
    map.assigned(name(1, { former: ['100.64.9.1', '100.64.9.2'] }));
    map.close();
    const again = open();
    expect(again.restored).toEqual([name(1, { former: ['100.64.9.1', '100.64.9.2'] }), name(3)]);
    again.close();
  });

  test('keeps names that have addresses of one family only', () => {
    const { ipv6: _, ...v4 } = name(1);
    written(v4);
    const map = open();
    expect(map.restored).toEqual([v4]);
    map.close();
  });

  test('is readable by its owner only', () => {
    written(name(1));
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test('loses nothing but the line that was torn, wherever that is', () => {
    written(name(1), name(2), name(3));
    const whole = readFileSync(path, 'latin1');
    const third = whole.indexOf('+ n3');
    for (let length = third; length < whole.length - 1; length++) {
      writeFileSync(path, whole.slice(0, length));
      const map = open();
      expect(map.restored).toEqual([name(1), name(2)]);
      map.assigned(name(4));
      map.close();
      const again = open();
      expect(again.restored).toEqual([name(1), name(2), name(4)]);
      again.close();
    }
  });

  test('does not believe a line that was changed', () => {
    written(name(1), name(2));
    writeFileSync(path, readFileSync(path, 'latin1').replace('100.64.1.2', '100.64.1.1'));
    const map = open();
    expect(map.restored).toEqual([name(1)]);
    map.close();
  });

  test('of other ranges or another secret begins anew, and says so', () => {
    written(name(1));
    for (const other of [{ ranges: [parsePrefix('10.0.0.0/8')] }, { secret: 'x' }]) {
      const map = open(other);
      expect(map).toMatchObject({ begunAnew: true, restored: [] });
      map.close();
    }
    writeFileSync(path, 'something else\n');
    const map = open();
    expect(map.begunAnew).toBe(true);
    map.close();
  });

  test('is open in one process at a time', () => {
    const map = open();
    expect(() => open()).toThrow(/is in use by another process.*resolver\.map/);
    map.close();
    open().close();
  });

  test('that cannot be had is an error with what to do', () => {
    writeFileSync(directory.file('file'), '');
    expect(() => open({ path: directory.file('file/names') })).toThrow(/cannot be opened.*resolver\.map/);
  });

  test('is written anew when most of it is history', () => {
    const map = open();
    for (let i = 0; i < 6000; i++) {
      map.assigned(name(1));
      map.released('n1.internal');
    }
    expect(map.isMostlyHistory(1)).toBe(true);
    const before = statSync(path).size;
    map.compact([name(7)]);
    expect(map.isMostlyHistory(1)).toBe(false);
    map.assigned(name(8));
    map.close();
    expect(statSync(path).size).toBeLessThan(before / 100);
    const again = open();
    expect(again.restored).toEqual([name(7), name(8)]);
    again.close();
    expect(existsSync(`${path}.new`)).toBe(false);
  });
});

describe('the names of a run', () => {
  function store(options: Partial<NameStoreOptions> = {}) {
    const counters = createDnsCounters();
    return {
      counters,
      store: new NameStore({
        ranges: RANGES,
        families: [4, 6],
        names: 1000,
        secret: '',
        map: { path, durable: false },
        keepMs: 1000,
        counters,
        log: silent,
        ...options,
      }),
    };
  }

  test('are what they were in the run before, also those that nobody configured', () => {
    const first = store();
    first.store.pool.configure(['web.internal']);
    first.store.open();
    const given = ['web.internal', 'x.apps.internal', 'y.apps.internal'].map((one) => first.store.pool.assign(one));
    first.store.close();
    const second = store();
    expect(second.store.open()).toEqual(given);
    expect(second.counters.restored).toBe(3);
    for (const one of given) expect(second.store.pool.get(one.name)).toEqual(one);
    second.store.close();
  });

  test('that nobody uses give their addresses back after the time, but not while a flow lives or they are configured', () => {
    let now = 0;
    const { store: one, counters } = store({ now: () => now });
    one.pool.configure(['web.internal']);
    one.open();
    for (const each of ['web.internal', 'asked.x', 'flowing.x', 'idle.x']) one.pool.assign(each);
    now = 900;
    one.pool.assign('asked.x');
    expect(one.sweep([])).toEqual([]);
    now = 1100;
    expect(one.sweep(['flowing.x'])).toEqual(['idle.x']);
    now = 2000;
    expect(one.sweep([])).toEqual(['asked.x']);
    now = 9000;
    expect(one.sweep([])).toEqual(['flowing.x']);
    expect(one.pool.size).toBe(1);
    expect(counters.released).toBe(3);
    one.close();
    const { store: next } = store();
    expect(next.open().map((each) => each.name)).toEqual(['web.internal']);
    next.close();
  });

  test('of a family that the host has lost are given anew', () => {
    const first = store();
    first.store.open();
    const { ipv4 } = first.store.pool.assign('a.x');
    first.store.close();
    const second = store({ families: [4] });
    expect(second.store.open()).toEqual([]);
    expect(second.store.pool.assign('a.x')).toEqual({ name: 'a.x', ipv4 });
    second.store.close();
  });
});

test(
  'SIGKILL in the middle of 1,000 allocations: no name changes its address, and none shares one',
  { timeout: 120_000 },
  async () => {
    const program = fileURLToPath(new URL('./programs/allocate.ts', import.meta.url));
    const seen = new Map<string, string>();
    let kills = 0;
    for (let round = 0; seen.size < 1000 || kills < 6; round++) {
      const first = (round * 137) % 1000;
      const child = spawn(process.execPath, ['--conditions=source', program, path, String(first)]);
      let text = '';
      const until = 20 + ((round * 7919) % 900);
      child.stdout.setEncoding('latin1').on('data', (chunk: string) => {
        text += chunk;
        if (text.split('\n').length > until) child.kill('SIGKILL');
      });
      const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
      if (signal === 'SIGKILL') kills++;
      else expect(code).toBe(0);
      // What came before the last line break was printed whole.
      for (const one of text.slice(0, text.lastIndexOf('\n')).split('\n')) {
        const [host = '', ...addresses] = one.split(' ');
        const before = seen.get(host);
        if (before === undefined) seen.set(host, addresses.join(' '));
        else expect(addresses.join(' ')).toBe(before);
      }
      // Between two runs somebody tears the last line as well.
      if (round % 2 === 0) appendFileSync(path, '+ torn.internal 100.64.7.7');
      expect(round).toBeLessThan(60);
    }
    const addresses = [...seen.values()].flatMap((one) => one.split(' '));
    expect(new Set(addresses).size).toBe(2000);
  },
);
