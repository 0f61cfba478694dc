import { basename } from 'node:path';
import { expect, test } from 'vitest';
import { codeFiles } from './sources.ts';

const files = codeFiles();
const offenders = (wrong: (file: (typeof files)[number]) => boolean) => files.filter(wrong).map(({ path }) => path);

test('a file says by its name what it holds', () => {
  const empty = /(?:^|[-.])(?:utils?|helpers?|managers?|misc|common|stuff)(?=[-.])/;
  expect(offenders(({ path }) => empty.test(basename(path)))).toEqual([]);
});

test('names are lower case with dashes', () => {
  expect(offenders(({ path }) => !/^[a-z0-9]+(?:[-.][a-z0-9]+)*$/.test(basename(path)))).toEqual([]);
});

test('no file is longer than 450 lines', () => {
  expect(offenders(({ text }) => text.split('\n').length > 450)).toEqual([]);
});

test('no test is switched off, and a skip names what the machine lacks', () => {
  // Put together, so that this file does not find itself.
  const off = new RegExp(String.raw`\b(?:describe|test|it)\.(?:${['skip', 'only', 'todo'].join('|')})\b(?!If)`);
  const unnamed = new RegExp(`${'skip'}If\\((?!requires\\()`);
  expect(offenders(({ path, text }) => path.endsWith('.test.ts') && (off.test(text) || unnamed.test(text)))).toEqual(
    [],
  );
});

test('nothing is left to do in a comment', () => {
  const mark = new RegExp(`(?://|\\*).*\\b(?:${['TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX'].join('|')})\\b`);
  expect(offenders(({ text }) => mark.test(text))).toEqual([]);
});

test('only plugins export by default, and there is no enum, namespace or decorator', () => {
  const asked =
    /^(?:plugins\/[\w-]+\/src\/index\.ts|vitest\.config\.ts|test\/summary-reporter\.ts|test\/[\w-]+\/plugins\/[\w-]+\.ts)$/;
  expect(offenders(({ path, text }) => /^export default\b/m.test(text) && !asked.test(path))).toEqual([]);
  expect(offenders(({ text }) => /^(?:export )?(?:declare )?(?:const )?enum \w/m.test(text))).toEqual([]);
});
