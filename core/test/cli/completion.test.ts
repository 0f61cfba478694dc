/** Completions in the shells themselves: what each offers after some words. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { requires } from '@weir/core/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { weir } from './console.ts';

const directory = mkdtempSync(join(tmpdir(), 'weir-completion-'));
beforeAll(async () => {
  writeFileSync(join(directory, 'there.yaml'), '');
  for (const shell of ['bash', 'zsh', 'fish']) {
    writeFileSync(join(directory, shell), (await weir(['completion', shell])).out);
  }
});
afterAll(() => rmSync(directory, { recursive: true }));

/** Words, the last of which is what is completed; and what is offered. */
const CASES: ReadonlyArray<readonly [words: readonly string[], offered: readonly string[]]> = [
  [['st'], ['status']],
  [['tp'], ['tproxy']],
  [
    ['dns', ''],
    ['names', 'query'],
  ],
  [
    ['run', '--interceptor', 't'],
    ['tproxy-iptables', 'tun'],
  ],
  [['run', '--log-l'], ['--log-level']],
  [['run', 'the'], ['there.yaml']],
  [
    ['run', '--log-level', 'debug', '--log-f'],
    ['--log-flows', '--log-format'],
  ],
  [['dns', 'names', '--l'], ['--limit']],
  [
    ['completion', ''],
    ['bash', 'fish', 'zsh'],
  ],
  [['status', 'the'], []],
];

function offers(argv: readonly string[]): readonly string[] {
  const [program = '', ...args] = argv;
  const out = execFileSync(program, args, { cwd: directory, encoding: 'utf8' });
  return out
    .split('\n')
    .map((line) => line.split('\t')[0] as string)
    .filter((line) => line !== '' && !line.startsWith('--help'))
    .toSorted();
}

/** What a completion function of bash, or of zsh by bashcompinit, answers. */
function answer(words: readonly string[]): string {
  const all = ['weir', ...words].map((word) => `'${word}'`).join(' ');
  return `COMP_WORDS=(${all}); COMP_CWORD=${words.length}; _weir; printf '%s\\n' "\${COMPREPLY[@]}"`;
}

describe('bash', () => {
  test.each(CASES)('weir %j', (words, offered) => {
    expect(offers(['bash', '--norc', '-c', `source ./bash; ${answer(words)}`])).toEqual(offered);
  });
});

describe.skipIf(requires('zsh'))('zsh', () => {
  test.each(CASES)('weir %j', (words, offered) => {
    // As bashcompinit calls it. Its compgen offers everything, and zsh shows what begins with the word.
    const script = `autoload -Uz compinit; compinit -u -D; source ./zsh; setopt kshArrays shwordsplit; ${answer(words)}`;
    const begun = offers(['zsh', '-f', '-c', script]).filter((each) => each.startsWith(words.at(-1) as string));
    expect(begun.filter((each) => !each.startsWith('-') || words.at(-1) !== '')).toEqual(offered);
  });
});

describe.skipIf(requires('fish'))('fish', () => {
  test.each(CASES)('weir %j', (words, offered) => {
    const line = ['weir', ...words].join(' ');
    expect(offers(['fish', '--no-config', '-c', `source ./fish; complete -C '${line}'`])).toEqual(offered);
  });
});

test('another shell is refused with those that there are', async () => {
  const { code, err } = await weir(['completion', 'tcsh']);
  expect(code).toBe(2);
  expect(err).toContain('bash, zsh, fish');
});
