import { describe, expect, test } from 'vitest';
import { parseArguments, USAGE } from '../src/arguments.ts';
import { ALL_OF_WEIR, candidatesFor } from '../src/candidates/catalogue.ts';
import { LOADS, loadsFor } from '../src/loads/catalogue.ts';

describe('arguments', () => {
  test('defaults', () => {
    expect(parseArguments([], () => 0)).toMatchObject({
      quick: false,
      interceptors: ALL_OF_WEIR,
      peers: ['haproxy', 'redsocks', 'v2ray', 'pipe'],
      only: undefined,
      rounds: 5,
      seconds: 1,
      minutes: 40,
      seed: 1,
      json: undefined,
    });
    expect(parseArguments(['--quick'])).toMatchObject({ interceptors: ['nft'], minutes: 5 });
    expect(parseArguments([], () => 0.999_999).seed).toBeLessThanOrEqual(0xffffffff);
  });

  test('lists, numbers, none', () => {
    const parsed = parseArguments(['--interceptor', 'nft, tun', '--peers', 'none', '--seed', '42', '--rounds=7']);
    expect(parsed).toMatchObject({ interceptors: ['nft', 'tun'], peers: [], seed: 42, rounds: 7 });
  });

  test.each([['--rounds', '0'], ['--seconds', '1.5'], ['--seed', 'x'], ['--loud'], ['extra'], ['--render', 'film']])(
    '%s %s is refused with what is allowed',
    (...argv) => {
      expect(() => parseArguments(argv)).toThrow(/--|Unexpected/);
    },
  );

  test('every option is explained', () => {
    const options = Object.keys(parseArguments([])).map(
      (option) => ({ interceptors: 'interceptor' })[option] ?? option,
    );
    const unexplained = options.filter((option) => option !== 'help' && !USAGE.includes(`--${option}`));
    expect(unexplained).toEqual([]);
  });
});

describe('what is compared', () => {
  test('in the order in which it is shown', () => {
    const ids = candidatesFor(['nft', 'tun+mtu1500'], ['haproxy']).map(({ id }) => id);
    expect(ids).toEqual(['direct', 'nft', 'tun+mtu1500', 'haproxy']);
    expect(candidatesFor(['nft'], [], '/elsewhere').map(({ id }) => id)).toEqual(['direct', 'nft', 'nft@other']);
  });

  test('unknown names are refused with the known ones', () => {
    expect(() => candidatesFor(['carrier-pigeon'], [])).toThrow(/carrier-pigeon/);
    expect(() => candidatesFor(['nft+warp'], [])).toThrow(/warp/);
    expect(() => candidatesFor([], ['squid'])).toThrow(/squid/);
    expect(() => loadsFor(['speed'], true)).toThrow(/speed/);
  });

  test('a checkout that is none is left out with the reason', () => {
    const [, , other] = candidatesFor(['nft'], [], '/nonexistent');
    expect(other?.missing()).toMatch(/nonexistent/);
  });
});

describe('what is measured', () => {
  test('quick is a part of all, and --only takes any', () => {
    const quick = loadsFor(undefined, true);
    expect(quick.length).toBeLessThan(loadsFor(undefined, false).length);
    expect(loadsFor(['start', 'bulk-up-8'], true).map(({ id }) => id)).toEqual(['start', 'bulk-up-8']);
  });

  test('every metric has an id of its own', () => {
    const ids = LOADS.flatMap(({ metrics }) => metrics.map(({ id }) => id));
    expect(new Set(ids).size).toBe(ids.length);
  });
});
