import { describe, expect, test } from 'vitest';
import { compileNames, explainPorts, NO_PATTERN, type NameTable } from '../../src/capture/index.ts';
import { flow, numbered, service } from './sets.ts';

const found = (table: NameTable, name: string) => table.patterns[table.match(name)];
const decided = (table: NameTable, name: string, port: number, source?: string) =>
  explainPorts(table.rows[table.match(name)] ?? [], flow('100.64.0.1', port, 'tcp', source)).decision;

describe('match', () => {
  const table = compileNames(
    numbered([
      service({ names: ['web.internal', '*.apps.internal', '*.internal'] }),
      service({ names: ['x.apps.internal', '*.deep.apps.internal'] }),
    ]),
  );

  test('an exact name wins over a suffix, and a longer suffix over a shorter one', () => {
    expect(found(table, 'web.internal')).toBe('web.internal');
    expect(found(table, 'x.apps.internal')).toBe('x.apps.internal');
    expect(found(table, 'y.apps.internal')).toBe('*.apps.internal');
    expect(found(table, 'y.deep.apps.internal')).toBe('*.deep.apps.internal');
    expect(found(table, 'mail.internal')).toBe('*.internal');
  });

  test('a suffix takes any number of labels below it, but not itself', () => {
    expect(found(table, 'a.b.c.apps.internal')).toBe('*.apps.internal');
    expect(found(table, 'apps.internal')).toBe('*.internal');
    expect(found(table, 'deep.apps.internal')).toBe('*.apps.internal');
    expect(table.match('internal')).toBe(NO_PATTERN);
  });

  test('labels are compared whole', () => {
    expect(table.match('web.internalx')).toBe(NO_PATTERN);
    expect(found(table, 'myapps.internal')).toBe('*.internal');
    expect(found(table, 'wweb.internal')).toBe('*.internal');
  });

  test('letter case and a trailing dot do not matter', () => {
    expect(found(table, 'WEB.Internal.')).toBe('web.internal');
    expect(found(table, 'A.APPS.internal.')).toBe('*.apps.internal');
  });

  test('what is no name matches nothing', () => {
    for (const text of ['', '.', '..', '.internal', '*', 'web']) expect(table.match(text)).toBe(NO_PATTERN);
  });
});

describe('globs', () => {
  const table = compileNames(
    numbered([
      service({ names: ['api-*.internal', 'db?.internal', '*.eu.*.internal', '*.internal', 'a.*.b'] }),
      service({ names: ['api-special.internal', 'api-s*.internal', '*.x'] }),
    ]),
  );

  test('a star stands for any characters of one label, a question mark for one', () => {
    expect(found(table, 'api-7.internal')).toBe('api-*.internal');
    expect(found(table, 'api-.internal')).toBe('api-*.internal');
    expect(found(table, 'api-7.x.internal')).toBe('*.internal');
    expect(found(table, 'db1.internal')).toBe('db?.internal');
    expect(found(table, 'db12.internal')).toBe('*.internal');
  });

  test('a label that is a star stands for one label, at the beginning for one or more', () => {
    expect(found(table, 'w.eu.west.internal')).toBe('*.eu.*.internal');
    expect(found(table, 'v.w.eu.west.internal')).toBe('*.eu.*.internal');
    expect(found(table, 'eu.west.internal')).toBe('*.internal');
    expect(found(table, 'w.eu.north.west.internal')).toBe('*.internal');
    expect(found(table, 'a.c.b')).toBe('a.*.b');
    expect(table.match('a.b')).toBe(NO_PATTERN);
    expect(table.match('a.c.d.b')).toBe(NO_PATTERN);
  });

  test('what says more of the name wins: it, then more of a label, then less, then all below', () => {
    expect(found(table, 'api-special.internal')).toBe('api-special.internal');
    expect(found(table, 'api-sx.internal')).toBe('api-s*.internal');
    expect(found(table, 'api-x.internal')).toBe('api-*.internal');
    expect(found(table, 'ap.internal')).toBe('*.internal');
  });

  test('ports that the winner does not take go to the next pattern that has the name', () => {
    const overlapping = compileNames(
      numbered([
        service({ names: ['*.internal'] }),
        service({ names: ['a*.internal'], ports: [80] }),
        service({ names: ['*b.internal'], ports: [[80, 81]] }),
        service({ names: ['ab.internal'], ports: [443] }),
      ]),
    );
    const decisions = (name: string) => [80, 81, 443, 1].map((port) => decided(overlapping, name, port));
    expect(decisions('ab.internal')).toEqual([17, 18, 19, 16]);
    expect(decisions('axb.internal')).toEqual([17, 18, 16, 16]);
    expect(decisions('ax.internal')).toEqual([17, 16, 16, 16]);
    expect(decisions('xb.internal')).toEqual([18, 18, 16, 16]);
  });

  test('a pattern with many stars is answered at once', () => {
    const many = compileNames(numbered([service({ names: [`${'a*'.repeat(20)}b.internal`] })]));
    const begun = performance.now();
    expect(many.match(`${'a'.repeat(63)}.internal`)).toBe(NO_PATTERN);
    expect(performance.now() - begun).toBeLessThan(1000);
  });

  test('combinations of patterns are bounded', () => {
    const letters = 'abcdefghijklmnop'.split('');
    const many = compileNames(numbered([service({ names: letters.map((letter) => `*${letter}*.internal`) })]));
    const ask = () => {
      for (let bits = 1; bits < 1 << letters.length; bits++) {
        many.match(`${letters.filter((_, i) => bits & (1 << i)).join('')}.internal`);
      }
    };
    expect(ask).toThrow(RangeError);
    expect(many.rows.length).toBeLessThan(5000);
    expect(many.match('a.internal')).toBeGreaterThanOrEqual(0);
  });
});

describe('exclusions', () => {
  const table = compileNames(
    numbered([
      service({ names: ['*.internal', '!secret.internal', '!*.lab.internal', 'open.lab.internal', '!db-*.internal'] }),
      service({ names: ['*.lab.internal', 'a.lab.internal'], ports: [22] }),
    ]),
  );

  test('what a service excludes it does not take, unless a more specific pattern of it does', () => {
    expect(table.match('secret.internal')).toBe(NO_PATTERN);
    expect(table.match('db-1.internal')).toBe(NO_PATTERN);
    expect(decided(table, 'db.internal', 80)).toBe(16);
    expect(decided(table, 'open.lab.internal', 80)).toBe(16);
    expect(decided(table, 'x.secret.internal', 80)).toBe(16);
  });

  test('an exclusion concerns its own service only', () => {
    expect(decided(table, 'x.lab.internal', 22)).toBe(17);
    expect(decided(table, 'x.lab.internal', 80)).toBe('none');
    expect(decided(table, 'open.lab.internal', 22)).toBe(16);
  });

  test('of a pattern and its own exclusion the exclusion holds', () => {
    const both = compileNames(numbered([service({ names: ['a.internal', '!a.internal'] })]));
    expect(both.match('a.internal')).toBe(NO_PATTERN);
  });
});

describe('rows', () => {
  test('a pattern takes ports that it does not have from the less specific ones', () => {
    const table = compileNames(
      numbered([
        service({ names: ['*.internal'], ports: [[1, 1023]] }),
        service({ names: ['web.apps.internal'], ports: [443] }),
        service({ names: ['*.apps.internal'], ports: [443, 8080] }),
      ]),
    );
    const ports = [443, 80, 8080, 9000];
    expect(ports.map((port) => decided(table, 'web.apps.internal', port))).toEqual([17, 16, 18, 'none']);
    expect(ports.map((port) => decided(table, 'y.apps.internal', port))).toEqual([18, 16, 18, 'none']);
    expect(ports.map((port) => decided(table, 'y.internal', port))).toEqual([16, 16, 'none', 'none']);
  });

  test('services that share a name are told apart as on one prefix', () => {
    const table = compileNames(
      numbered([
        service({ names: ['db.internal'] }),
        service({ names: ['db.internal'], ports: [5432] }),
        service({ names: ['db.internal'], sources: ['10.0.0.0/8', '2001:db8::/32'] }),
      ]),
    );
    expect(table.patterns).toEqual(['db.internal']);
    expect(decided(table, 'db.internal', 5432)).toBe(17);
    expect(decided(table, 'db.internal', 80)).toBe(18);
    expect(decided(table, 'db.internal', 80, '192.0.2.1')).toBe(16);
  });

  test('a whole family of sources is not any source, because the other family may ask as well', () => {
    const table = compileNames(
      numbered([service({ names: ['a.internal'], sources: ['0.0.0.0/0'] }), service({ names: ['*.internal'] })]),
    );
    const row = table.rows[table.match('a.internal')] ?? [];
    expect(explainPorts(row, flow('100.64.0.1', 80)).decision).toBe(16);
    expect(explainPorts(row, flow('fd64::1', 80)).decision).toBe(17);
  });

  test('a whole family of sources is no more specific than any source', () => {
    const any = service({ names: ['a.internal'] });
    const whole = service({ names: ['a.internal'], sources: ['0.0.0.0/0'] });
    expect(decided(compileNames(numbered([any, whole])), 'a.internal', 80)).toBe(16);
    expect(decided(compileNames(numbered([whole, any])), 'a.internal', 80)).toBe(16);
  });

  test('a name written twice in one service counts once', () => {
    const table = compileNames(numbered([service({ names: ['a.internal', 'a.internal'] })]));
    expect(table.patterns).toEqual(['a.internal']);
    expect(table.rows[0]?.[0]?.choices).toEqual([{ sources: [], verdict: { steer: 16 } }]);
  });
});

describe('a reload', () => {
  const before = compileNames(numbered([service({ names: ['web.internal', '*.internal'] })]));

  test('keeps the index of a pattern wherever it stands now', () => {
    const after = compileNames(numbered([service({ names: ['new.internal', '*.internal', 'web.internal'] })]), before);
    expect(after.match('web.internal')).toBe(before.match('web.internal'));
    expect(after.match('x.internal')).toBe(before.match('x.internal'));
    expect(after.match('new.internal')).toBe(2);
  });

  test('a removed pattern is matched no more, and its index has what the next less specific one gives', () => {
    const index = before.match('web.internal');
    const after = compileNames([{ id: 20, service: service({ names: ['*.internal'], ports: [80] }) }], before);
    expect(found(after, 'web.internal')).toBe('*.internal');
    expect(explainPorts(after.rows[index] ?? [], flow('100.64.0.1', 80)).decision).toBe(20);
    expect(explainPorts(after.rows[index] ?? [], flow('100.64.0.1', 81)).decision).toBe('none');
  });

  test('a pattern that comes back gets its index back', () => {
    const without = compileNames([], before);
    expect(without.match('web.internal')).toBe(NO_PATTERN);
    expect(without.rows).toEqual([[], []]);
    const again = compileNames(numbered([service({ names: ['web.internal'] })]), without);
    expect(again.match('web.internal')).toBe(before.match('web.internal'));
  });
});
