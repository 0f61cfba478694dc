import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { compareWithGolden } from '@weir/core/testing';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

describe('golden files', () => {
  let directory = '';
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'weir-golden-'));
    vi.stubEnv('WEIR_UPDATE_GOLDEN', undefined);
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    rmSync(directory, { recursive: true });
  });

  test('equal text compares equal, with or without the last newline', () => {
    const file = join(directory, 'a.txt');
    writeFileSync(file, 'one\ntwo\n');
    for (const actual of ['one\ntwo', 'one\ntwo\n']) {
      const comparison = compareWithGolden(file, actual);
      expect(comparison.actual).toBe(comparison.expected);
    }
  });

  test('other text compares unequal and leaves the file alone', () => {
    const file = join(directory, 'a.txt');
    writeFileSync(file, 'one\n');
    const comparison = compareWithGolden(pathToFileURL(file), 'two');
    expect(comparison.actual).not.toBe(comparison.expected);
    expect(readFileSync(file, 'utf8')).toBe('one\n');
  });

  test('a file that is missing is an error that says how to make it', () => {
    expect(() => compareWithGolden(join(directory, 'none.txt'), 'x')).toThrow(/WEIR_UPDATE_GOLDEN=1/);
  });

  test('updating writes the file, folders included', () => {
    vi.stubEnv('WEIR_UPDATE_GOLDEN', '1');
    const file = join(directory, 'new', 'a.txt');
    expect(compareWithGolden(file, 'fresh').expected).toBe('fresh\n');
    expect(readFileSync(file, 'utf8')).toBe('fresh\n');
  });
});
