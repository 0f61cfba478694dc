/** The files in a page: fenced blocks whose info string says `file=PATH`. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const BLOCK = /^```\w+ file=(\S+)\n([^]*?)^```$/gm;

/** Writes each block to its path below `directory`; returns the paths. @throws Error when the page has none. */
export function extractFiles(page: string, directory: string): readonly string[] {
  const paths: string[] = [];
  for (const [, path = '', text = ''] of readFileSync(page, 'utf8').matchAll(BLOCK)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    writeFileSync(join(directory, path), text);
    paths.push(path);
  }
  if (paths.length === 0) throw new Error(`${page} has no block with a file name`);
  return paths;
}
