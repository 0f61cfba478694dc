import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseYaml } from '../../src/config/document.ts';
import { parsePlainJson } from '../../src/config/plain-json.ts';
import { faultsOf, read } from './reading.ts';

const SERVICE = '{"name": "web", "addresses": ["10.0.0.0/8"]}';

describe('a document that is JSON', () => {
  test('is what YAML sees in it, or left to YAML', () => {
    let taken = 0;
    expect(() =>
      fc.assert(
        fc.property(
          fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 4 })),
          fc.constantFrom(undefined, 2),
          (value, indent) => {
            const text = JSON.stringify(value, undefined, indent);
            const plain = parsePlainJson(text);
            if (plain === undefined) return;
            taken++;
            const { root, faults } = parseYaml(text, 'weir.yaml');
            expect(faults).toEqual([]);
            expect(plain).toEqual(root);
          },
        ),
        { numRuns: 500 },
      ),
    ).not.toThrow();
    expect(taken).toBeGreaterThan(300);
  });

  test('is taken whatever its texts look like', () => {
    const value = { a: [':', '":', '\\": ', '"b":', ', "c": 1'], 'd"': { 'e:': '', 'f\\': 'g' } };
    for (const indent of [0, 2]) expect(parsePlainJson(JSON.stringify(value, undefined, indent))).toEqual(value);
  });

  test.each([
    ['a key that is there twice', '{"a": 1, "a": 1}'],
    ['a key that is there twice, written in two ways', '{"a": 1, "\\u0061": 1}'],
    ['a key that is there twice, further in, beside texts with colons', '{"x": ["k", ":", {"b": ":", "b": ":"}]}'],
    ['a tab', '{\n\t"a": 1\n}'],
    ['more than JSON', '{a: 1}'],
    ['JSON with a comment', '{"a": 1} # one'],
    ['no mapping', '[1]'],
    ['a key of another kind', '{"__proto__": {"a": 1}}'],
    ['a key longer than YAML has room for', `{"${'k'.repeat(2000)}": 1}`],
    ['nesting without end', `{"a": ${'['.repeat(5000)}${']'.repeat(5000)}}`],
  ])('is left to YAML: %s', (_, text) => {
    expect(parsePlainJson(text)).toBeUndefined();
  });

  test('has faults with their places, as any other', async () => {
    expect(await faultsOf(read(`{\n  "services": [${SERVICE}],\n  "unmatched": "maybe"\n}`))).toEqual([
      expect.stringContaining('weir.yaml:3:16'),
    ]);
    expect(await faultsOf(read(`{"services": [${SERVICE}],\n "owner": "a", "owner": "b"}`))).toEqual([
      expect.stringMatching(/weir\.yaml:2:\d+[^]*twice/),
    ]);
  });
});
