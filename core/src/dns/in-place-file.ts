/**
 * Changing small files of the system in place, because in containers they are often bind mounts that cannot be replaced;
 * mode and owner stay. A process may be killed between any two system calls: writing pads the new content with line breaks
 * to the old length and then cuts the file, so that what is left is either content followed by line breaks only.
 */
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';

/** `EACCES`, or the text of an error without a code. */
export function codeOf(error: unknown): string {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' ? code : String(error);
}

/** Replaces the content of an existing file; see the file comment for what a kill in between leaves. */
export function writeInPlace(path: string, content: Buffer): void {
  const fd = openSync(path, constants.O_RDWR | constants.O_NOFOLLOW);
  try {
    const excess = Math.max(0, fstatSync(fd).size - content.length);
    const padded = Buffer.concat([content, Buffer.alloc(excess, '\n')]);
    for (let done = 0; done < padded.length;) done += writeSync(fd, padded, done, padded.length - done, done);
    fsyncSync(fd);
    ftruncateSync(fd, content.length);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Creates or replaces a file of our own, which is whole or as it was. */
export function writeWhole(path: string, content: Buffer): void {
  const temporary = `${path}.new`;
  const fd = openSync(temporary, 'w', 0o600);
  try {
    writeSync(fd, content);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, path);
  const directory = openSync(dirname(path), 'r');
  fsyncSync(directory);
  closeSync(directory);
}

export function readOrUndefined(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** True for `content`, and for `content` followed by line breaks only. */
export function isWithPadding(found: Buffer, content: Buffer): boolean {
  return (
    found.length >= content.length &&
    found.subarray(0, content.length).equals(content) &&
    found.subarray(content.length).every((byte) => byte === 0x0a)
  );
}
