import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseYaml } from '../../src/config/document.ts';
import { parsePlainYaml } from '../../src/config/plain-yaml.ts';
import { CAPTURE_CASES } from './capture-fault-cases.ts';
import { CASES } from './fault-cases.ts';
import { faultsOf, read } from './reading.ts';

const DOCUMENT = `# A comment
interceptor: [nft, tun]   # the first that can
capture:
  scopes: [output]
  mark: { mask: 0x3f000000, capture: 0x10000000, bypass: 0x20000000 }
  only:
  - uid:1000
  - 'cgroup:/a b'

resolver:
    listen: [udp://127.0.0.1:53, "tcp://[::1]:53"]
    ranges:
      - 100.64.0.0/10
      - "fd64:7765:6972::/64"
    doh-canary: false
dialers:
  pool: { type: direct, to: "10.0.0.5:6432" }
services:
  - name: web
    addresses: [web.internal, "*.apps.internal", 203.0.113.0/24, 2001:db8::/48]
    ports: [443, 8000-8100]
    dialer: [direct]
  -   name: db
      addresses: db.internal
      ports:
        - 5432
      listen: 127.0.0.1:15432
  - { name: flat, addresses: [10.0.0.1], ports: [80, ] }
admin:
timeouts: { connect: 10s }
limits: { flows: 50k }
`;

/** What a plain reader says must be what the whole of YAML says. @returns whether it said anything. */
function compare(text: string): boolean {
  const plain = parsePlainYaml(text);
  if (plain === undefined) return false;
  const { root, faults } = parseYaml(text, 'weir.yaml');
  expect(faults, text).toEqual([]);
  expect(plain, text).toEqual(root);
  return true;
}

const PIECES = [
  ':',
  ': ',
  ' :',
  '- ',
  '-',
  '[',
  ']',
  '{',
  '}',
  ',',
  ', ',
  '#',
  ' #',
  '"',
  "'",
  '*',
  '&',
  '!',
  '|',
  '>',
  '?',
  '%',
  '@',
  '`',
  '~',
  '=',
  '<<',
  '\\',
  '\n',
  '\n  ',
  '\n    ',
  '\n- ',
  ' ',
  '  ',
  '\t',
  'é',
  '...',
  '---',
  '0x',
  '1e3',
  '.5',
  '007',
  '-1',
  'null',
  'True',
  'false',
  'a',
  'a: b',
  'a:\n',
  '::',
  '12:30',
  '1_000',
  '.inf',
  '2026-11-28',
  '0o17',
  '0xFF',
];
const piece = fc.constantFrom(...PIECES);
/** Cuts, insertions and replacements at random places. */
const edits = fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.nat(6), piece), { maxLength: 4 });
const edited = (text: string, list: ReadonlyArray<readonly [number, number, string]>) =>
  list.reduce((all, [place, cut, put]) => {
    const at = Math.floor(place * all.length);
    return all.slice(0, at) + put + all.slice(at + cut);
  }, text);

const indent = fc.constantFrom('', '', '  ', '  ', '    ', ' ', '      ');
const lead = fc.constantFrom(
  '',
  'a: ',
  'b: ',
  'c: ',
  '- ',
  '-  ',
  'a: ',
  'b: ',
  'c:',
  '- a: ',
  '- b:',
  '"a": ',
  '# ',
  '- - ',
);
const value = fc.oneof(
  fc.constantFrom(
    '',
    'x',
    '1',
    '10.0.0.0/8',
    '[a, b]',
    '{ a: 1, b: [c] }',
    '"q: 1"',
    "'s'",
    'x # y',
    '[]',
    '{}',
    'a b',
    'x:',
    '- y',
  ),
  piece,
);
const lines = fc
  .array(fc.tuple(indent, lead, value), { minLength: 1, maxLength: 5 })
  .map((list) => list.map((parts) => parts.join('')).join('\n'));

type Tree = string | readonly Tree[] | { readonly [key: string]: Tree };

const word = fc.constantFrom(
  'x',
  '1',
  '0',
  '443',
  '0x1f',
  '10.0.0.0/8',
  'a-b',
  'true',
  'null',
  '"q: #1"',
  "'s'",
  '2001:db8::1',
);
const { tree } = fc.letrec<{ tree: Tree; node: Tree }>((tie) => ({
  tree: fc.dictionary(fc.constantFrom('a', 'b', 'on-drift', 'x.y'), tie('node'), { minKeys: 1, maxKeys: 3 }),
  node: fc.oneof(
    { maxDepth: 4 },
    word,
    fc.array(tie('node'), { minLength: 1, maxLength: 3 }),
    fc.dictionary(fc.constantFrom('a', 'b', 'c'), tie('node'), { minKeys: 1, maxKeys: 3 }),
  ),
}));

/** A tree as lines, in one of the many ways to write it. */
function written(node: Tree, indentation: number, choose: (ways: number) => number): string {
  if (typeof node === 'string') return ` ${node}${choose(6) === 0 ? ' # why' : ''}\n`;
  if (choose(4) === 0) return ` ${inBrackets(node)}\n`;
  const between = () => (choose(8) === 0 ? ['\n', '# why\n', '   # why\n'][choose(3)] : '');
  const by = choose(3) + 1;
  const pad = ' '.repeat(indentation + by);
  if (!isList(node)) {
    const pairs = Object.entries(node).map(
      ([key, one]) => `${between()}${pad}${key}:${written(one, indentation + by, choose)}`,
    );
    return `\n${pairs.join('')}`;
  }
  const items = node.map((one) => {
    if (typeof one === 'string' || isList(one) || choose(2) === 0) return `${between()}${pad}- ${inBrackets(one)}\n`;
    // The first pair beside the dash, the others below it.
    const gap = ' '.repeat(choose(2) + 1);
    const inner = indentation + by + 1 + gap.length;
    const pairs = Object.entries(one).map(([key, each]) => `${key}:${written(each, inner, choose)}`);
    return `${pad}-${gap}${pairs.join(' '.repeat(inner))}`;
  });
  return `\n${items.join('')}`;
}

function isList(node: Tree): node is readonly Tree[] {
  return Array.isArray(node);
}

function inBrackets(node: Tree): string {
  if (typeof node === 'string') return node;
  if (isList(node)) return `[${node.map(inBrackets).join(', ')}]`;
  return `{ ${Object.entries(node)
    .map(([key, one]) => `${key}: ${inBrackets(one)}`)
    .join(', ')} }`;
}

describe('plain YAML', () => {
  test('a whole configuration', () => {
    expect(compare(DOCUMENT)).toBe(true);
    expect(parsePlainYaml(DOCUMENT)).toMatchObject({
      admin: null,
      capture: { mark: { mask: 0x3f00_0000 }, only: ['uid:1000', 'cgroup:/a b'] },
      services: [{ ports: [443, '8000-8100'] }, { name: 'db', ports: [5432] }, { name: 'flat', ports: [80] }],
    });
  });

  test('a text that is edited anywhere: what YAML says, or nothing', () => {
    let taken = 0;
    const property = fc.property(edits, (list) => {
      if (compare(edited(DOCUMENT, list))) taken++;
    });
    expect(() => fc.assert(property, { numRuns: 1500 })).not.toThrow();
    expect(taken).toBeGreaterThan(250);
  });

  test('lines that fit or do not: what YAML says, or nothing', () => {
    let taken = 0;
    const property = fc.property(lines, (text) => {
      if (compare(text)) taken++;
    });
    expect(() => fc.assert(property, { numRuns: 4000 })).not.toThrow();
    expect(taken).toBeGreaterThan(50);
  });

  test('a tree in any way to write it, whole and edited', () => {
    let taken = 0;
    const property = fc.property(tree, fc.infiniteStream(fc.nat(1000)), edits, (root, numbers, list) => {
      const choose = (ways: number) => (numbers.next().value as number) % ways;
      const pairs = Object.entries(root).map(([key, one]) => `${key}:${written(one, 0, choose)}`);
      const text = pairs.join('');
      if (compare(text)) taken++;
      compare(edited(text, list));
    });
    expect(() => fc.assert(property, { numRuns: 2000 })).not.toThrow();
    // All but what is beyond plain YAML, as a list in a list.
    expect(taken).toBeGreaterThan(1000);
  });

  test('faulty configurations are read as YAML reads them', () => {
    const taken = [...CASES, ...CAPTURE_CASES].filter(({ text }) => compare(text));
    expect(taken.length).toBeGreaterThan(20);
  });

  test.each([
    ['a key that is there twice', 'a: 1\na: 2\n'],
    ['a key that is there twice in braces', 'a: { b: 1, b: 2 }\n'],
    ['an anchor and an alias', 'a: &x 1\nb: *x\n'],
    ['a text over several lines', 'a: b\n  c\n'],
    ['a block of text', 'a: |\n  b\n'],
    ['a quoted text with an escape', 'a: "b\\n"\n'],
    ['a second document', 'a: 1\n---\nb: 2\n'],
    ['a tab', 'a:\n\tb: 1\n'],
    ['letters beyond ASCII', 'a: é\n'],
    ['a colon at the end of a value', 'a: [2001:db8::]\n'],
    ['a number that is not whole', 'a: 1.5\n'],
    ['nothing', '\n# nothing\n'],
    ['a list outside', '- a\n'],
    ['nesting without end', `a: ${'['.repeat(5000)}${']'.repeat(5000)}\n`],
  ])('is left to all of YAML: %s', (_, text) => {
    expect(parsePlainYaml(text)).toBeUndefined();
  });

  test('has faults with their places, as any other', async () => {
    const text = 'services:\n  - name: web\n    addresses: [10.0.0.1/8]\n';
    expect(await faultsOf(read(text))).toEqual([expect.stringContaining('weir.yaml:3:17')]);
  });
});
