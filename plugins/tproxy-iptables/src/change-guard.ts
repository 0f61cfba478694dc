/**
 * Keeps a clean-up from overtaking a change. When Weir is killed, an iptables-restore that it had started goes on and commits;
 * a clean-up that looked before that would leave what it commits. So the program inherits a socket with a name, and the
 * clean-up waits until nobody holds that name. Abstract names belong to a network namespace and vanish with their
 * last descriptor (unix(7)).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { HostChangeError } from '@weir/core';
import { AF_UNIX, errno, errnoName, libc, SOCK_CLOEXEC, SOCK_DGRAM } from '@weir/core/sys';

/** asm-generic/errno.h */
const EADDRINUSE = 98;

/** Longer than a restore may take. */
const PATIENCE_MS = 70_000;

/** struct sockaddr_un: family u16 · path, here a zero and the name. */
function address(prefix: string): Buffer {
  const name = Buffer.from(`\0weir-tproxy-iptables/${prefix}`);
  const buffer = Buffer.alloc(2 + name.length);
  buffer.writeUInt16LE(AF_UNIX, 0);
  name.copy(buffer, 2);
  return buffer;
}

function tryHold(prefix: string): number | undefined {
  const fd = libc.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const name = address(prefix);
  if (fd >= 0 && libc.bind(fd, name, name.length) === 0) return fd;
  const number = errno();
  if (fd >= 0) libc.close(fd);
  if (number === EADDRINUSE) return undefined;
  throw new HostChangeError({
    problem: `The guard of changes to iptables could not be taken: ${errnoName(number)}.`,
    remedy: 'Raise the limit of open files (ulimit -n).',
  });
}

/**
 * Runs `change` while nobody else holds the name of these chains.
 * @param change gets a descriptor to pass on to the programs that it starts.
 * @throws HostChangeError when somebody holds it for longer than any change takes.
 */
export async function guarded<T>(prefix: string, change: (fd: number) => Promise<T>): Promise<T> {
  const deadline = Date.now() + PATIENCE_MS;
  let fd = tryHold(prefix);
  while (fd === undefined) {
    if (Date.now() > deadline) {
      throw new HostChangeError({
        problem: `Another process has been changing the iptables chains ${prefix}* for more than a minute.`,
        remedy: 'Find it (pgrep -a tables-restore), end it, and run `weir cleanup`.',
      });
    }
    // eslint-disable-next-line no-await-in-loop -- there is nothing to be told by when it is free
    await sleep(20);
    fd = tryHold(prefix);
  }
  try {
    return await change(fd);
  } finally {
    libc.close(fd);
  }
}
