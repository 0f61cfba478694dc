/** docs/configuration.md and docs/errors.md say what the code does. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { exitCodeOf } from '../../src/cli/exit-code.ts';
import { DEFAULTS } from '../../src/config/defaults.ts';
import { OVERRIDES } from '../../src/config/precedence.ts';
import { knownKeys } from '../../src/config/schema.ts';
import { read } from './reading.ts';

const ROOT = join(import.meta.dirname, '../../..');
const configuration = readFileSync(join(ROOT, 'docs/configuration.md'), 'utf8');
const errors = readFileSync(join(ROOT, 'docs/errors.md'), 'utf8');

/** Cells of all table rows whose first cell is one piece of code. */
function rows(text: string): ReadonlyArray<readonly string[]> {
  return text
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

const code = (cell: string | undefined) => /^`(.*)`$/.exec(cell ?? '')?.[1];
const keyRows = rows(configuration).filter(([key]) => /^`[a-z][a-z-]*(?:\.[a-z-]+)*`$/.test(key ?? ''));

/** Every key of the schema that is a value: `capture.on-drift`, `owner`. */
function leaves(path: readonly string[]): readonly string[] {
  return knownKeys(path).flatMap((key) => {
    const at = [...path, key];
    // A mark is one value with three parts, services and dialers have tables of their own.
    const tables = ['services', 'dialers', 'interceptors', 'resolver.upstreams', 'resolver.plugins'];
    const whole = ['capture.mark', ...tables].includes(at.join('.'));
    return whole || knownKeys(at).length === 0 ? [at.join('.')] : leaves(at);
  });
}

describe('docs/configuration.md', () => {
  test('lists every key once', () => {
    expect(keyRows.flatMap(([key]) => code(key) ?? []).toSorted()).toEqual(leaves([]).toSorted());
  });

  test('lists every key of a service', () => {
    const documented = rows(configuration).flatMap(([key]) => /^`services\[\]\.([a-z]+)`$/.exec(key ?? '')?.[1] ?? []);
    expect(documented.toSorted()).toEqual(knownKeys(['services', 0]).toSorted());
  });

  test('lists every key of an upstream', () => {
    const documented = rows(configuration).flatMap(
      ([key]) => /^`resolver\.upstreams\[\]\.([a-z]+)`$/.exec(key ?? '')?.[1] ?? [],
    );
    expect(documented.toSorted()).toEqual(knownKeys(['resolver', 'upstreams', 0]).toSorted());
  });

  test.each(
    keyRows.filter(([key]) => key !== '`services`').map(([key, , value]) => [code(key) as string, code(value)]),
  )('%s has the default %s', async (key, value) => {
    expect(value).toBeDefined();
    // Written into a file, the documented default changes nothing.
    const nested = key.split('.').reduceRight((inner, part) => `{ ${part}: ${inner} }`, value as string);
    const document = `${nested.slice(2, -2)}\nservices: []\n`;
    expect(await read(document)).toEqual(DEFAULTS);
  });

  test('lists every flag and variable with the key that it sets', () => {
    for (const { flag, variable, path } of OVERRIDES) {
      const row = rows(configuration).find(([first]) => first?.startsWith(`\`--${flag} `));
      expect(row, flag).toBeDefined();
      expect(row?.[1]).toMatch(variable === undefined ? /^none: / : `\`${variable}\``);
      expect(row?.[2]).toContain(`\`${path.join('.')}\``);
    }
  });
});

function sources(directory: string): readonly string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => readFileSync(join(directory, name), 'utf8'));
}

describe('docs/errors.md', () => {
  const documented = rows(errors).map(([cell, exit]) => [code(cell) as string, Number(exit)] as const);
  const raised = [
    join(ROOT, 'core/src'),
    ...readdirSync(join(ROOT, 'plugins')).map((id) => join(ROOT, 'plugins', id, 'src')),
  ]
    .flatMap(sources)
    .flatMap((text) => [...text.matchAll(/(?:super|new WeirError)\(\s*'(WEIR_[A-Z_]+)'|\bcode: '(WEIR_[A-Z_]+)'/g)])
    .map((match) => (match[1] ?? match[2]) as string);

  test('lists every code of core/src/api/errors.ts', () => {
    const declared = [...readFileSync(join(ROOT, 'core/src/api/errors.ts'), 'utf8').matchAll(/super\('(WEIR_\w+)'/g)];
    expect(declared.length).toBeGreaterThan(10);
    expect(documented.map(([name]) => name)).toEqual(expect.arrayContaining(declared.map((match) => match[1])));
  });

  test('lists every code that is raised, and no other', () => {
    expect(documented.map(([name]) => name).toSorted()).toEqual([...new Set(raised)].toSorted());
  });

  test.each(documented)('%s exits with %i', (name, exit) => {
    expect(exitCodeOf({ code: name })).toBe(exit);
  });
});
