/** The repository's own files, as the conventions tests read them. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export interface SourceFile {
  /** Relative to the repository, with `/`. */
  readonly path: string;
  readonly text: string;
}

const SKIPPED = new Set(['node_modules', 'dist', 'bundle', '.git', '.cache', 'results', 'coverage']);

/** Paths below `directory` that match, relative to the repository, sorted. */
export function listFiles(directory: string, matches: RegExp): readonly string[] {
  return readdirSync(join(ROOT, directory), { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(directory, entry.name);
      if (entry.isDirectory()) return SKIPPED.has(entry.name) ? [] : listFiles(path, matches);
      return matches.test(entry.name) ? [relative('.', path)] : [];
    })
    .toSorted();
}

export function readSource(path: string): SourceFile {
  return { path, text: readFileSync(join(ROOT, path), 'utf8') };
}

/** Everything a person writes here that a machine runs. */
export function codeFiles(): readonly SourceFile[] {
  const directories = ['core', 'plugins', 'bench', 'test', 'scripts'];
  return directories.flatMap((directory) => listFiles(directory, /\.(?:ts|mjs|js)$/)).map(readSource);
}

const IMPORT =
  /(?:^|\n)[ \t]*(?:import|export)\b[^'"`;]*?\bfrom\s*['"]([^'"]+)['"]|(?:^|\n)[ \t]*import\s*['"]([^'"]+)['"]|\bimport\s*\(\s*['"]([^'"]+)['"]/g;

/** The specifiers of all static, side-effect and dynamic imports and re-exports; types too. */
export function importsOf(file: SourceFile): readonly string[] {
  return [...file.text.matchAll(IMPORT)].map((match) => match[1] ?? match[2] ?? match[3] ?? '');
}
