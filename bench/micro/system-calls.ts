/** What a system call costs from JavaScript: the floor under everything that the worker does. */
import { EPOLL_CLOEXEC, EPOLL_EVENT_SIZE, errno, libc, O_CLOEXEC, O_NONBLOCK } from '@weir/core/sys';
import type { MicroSuite } from './suite.ts';

export function systemCalls(): MicroSuite {
  const ends = new Int32Array(2);
  if (libc.pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0) throw new Error('pipe2() failed');
  const [read = -1, write = -1] = ends;
  const epfd = libc.epoll_create1(EPOLL_CLOEXEC);
  const events = new DataView(new ArrayBuffer(16 * EPOLL_EVENT_SIZE));
  const bytes = new Uint8Array(64);
  return {
    name: 'system calls through koffi',
    cases: [
      { name: 'errno(), no system call', once: () => errno() },
      { name: 'read() of a pipe that is empty', once: () => libc.read(read, bytes, 64) },
      { name: 'write() and read() of 64 bytes', once: () => libc.write(write, bytes, 64) + libc.read(read, bytes, 64) },
      { name: 'recv() of what is no socket', once: () => libc.recv(read, bytes, 64, 0) },
      { name: 'epoll_wait() without an event', once: () => libc.epoll_wait(epfd, events, 16, 0) },
      { name: 'splice() of an empty pipe', once: () => libc.splice(read, null, write, null, 4096, 2) },
    ],
    close() {
      for (const fd of [read, write, epfd]) libc.close(fd);
    },
  };
}
