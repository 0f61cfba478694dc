/** Golden files: text that a test makes must equal a file in the repository, which people read and review. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What a golden comparison found; a test asserts that `actual` equals `expected`, so that its runner shows the diff. */
export interface GoldenComparison {
  readonly file: string;
  readonly actual: string;
  readonly expected: string;
}

/**
 * Reads the golden file beside what the test made. With WEIR_UPDATE_GOLDEN=1 the file is written first, so that the
 * change can be reviewed in git.
 * @throws Error when the file does not exist and is not being updated.
 */
export function compareWithGolden(file: URL | string, actual: string): GoldenComparison {
  const path = typeof file === 'string' ? file : fileURLToPath(file);
  const text = actual.endsWith('\n') ? actual : `${actual}\n`;
  if (process.env['WEIR_UPDATE_GOLDEN'] === '1') {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
  let expected: string;
  try {
    expected = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new Error(`no golden file ${path}; make it with WEIR_UPDATE_GOLDEN=1 and review it`, { cause });
  }
  return { file: path, actual: text, expected };
}
