/** Bytes that are sent by sendfile(2) from memory, so that the sender is not the bottleneck. */
import { libc, openLibrary } from '@weir/core/sys';

const library = openLibrary(['libc.so.6', 'libc.musl-x86_64.so.1', 'libc.musl-aarch64.so.1'], 'libc6');
const memfd_create: (name: string, flags: number) => number = library.func(
  'int memfd_create(const char *name, unsigned int flags)',
);
const sendfile: (out: number, from: number, offset: BigInt64Array, count: number) => number = library.func(
  'int64_t sendfile(int out, int in, void *offset, size_t count)',
);

const SIZE = 4 << 20;
/** Of one call, so that streams take turns. */
const SHARE = 1 << 20;
const file = memfd_create('bench', 0);
for (let written = 0; written < SIZE;) {
  const count = libc.write(file, Buffer.alloc(SIZE - written, 'x'), SIZE - written);
  if (count <= 0) throw new Error('cannot fill a memfd');
  written += count;
}
const offset = new BigInt64Array(1);

/** Sends as much as a socket takes in one turn. @returns bytes, or -1 with errno. */
export function sendEndless(fd: number): number {
  offset[0] = 0n;
  return sendfile(fd, file, offset, SHARE);
}
