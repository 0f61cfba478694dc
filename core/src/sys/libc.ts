/**
 * The C library's system call wrappers that Weir uses. Results are what C returns: negative means failed, and
 * `errno()` directly afterwards says why. Structs are plain buffers; see sockaddr.ts and epoll.ts for their layouts.
 */
import { openLibrary } from './library.ts';

const libc = openLibrary(['libc.so.6', 'libc.musl-x86_64.so.1', 'libc.musl-aarch64.so.1'], 'libc6');

type Bytes = Uint8Array | DataView | Int32Array | Uint32Array | BigInt64Array | null;

export const close: (fd: number) => number = libc.func('int close(int fd)');
export const read: (fd: number, buffer: Bytes, length: number) => number = libc.func(
  'int64_t read(int fd, void *buf, size_t count)',
);
export const write: (fd: number, buffer: Bytes, length: number) => number = libc.func(
  'int64_t write(int fd, const void *buf, size_t count)',
);
export const open: (path: string, flags: number, mode: number) => number = libc.func(
  'int open(const char *path, int flags, int mode)',
);
export const fcntl: (fd: number, command: number, argument: number) => number = libc.func(
  'int fcntl(int fd, int cmd, int arg)',
);
export const ioctl: (fd: number, request: number, argument: Bytes) => number = libc.func(
  'int ioctl(int fd, unsigned long request, void *arg)',
);
/** For requests whose argument is a number and no pointer. */
export const ioctl_number: (fd: number, request: number, argument: number) => number = libc.func(
  'int ioctl(int fd, unsigned long request, unsigned long arg)',
);
export const flock: (fd: number, operation: number) => number = libc.func('int flock(int fd, int operation)');
export const dup: (fd: number) => number = libc.func('int dup(int fd)');

export const socket: (domain: number, type: number, protocol: number) => number = libc.func(
  'int socket(int domain, int type, int protocol)',
);
export const bind: (fd: number, address: Bytes, length: number) => number = libc.func(
  'int bind(int fd, const void *addr, uint32_t len)',
);
export const listen: (fd: number, backlog: number) => number = libc.func('int listen(int fd, int backlog)');
export const connect: (fd: number, address: Bytes, length: number) => number = libc.func(
  'int connect(int fd, const void *addr, uint32_t len)',
);
export const accept4: (fd: number, address: Bytes, length: Bytes, flags: number) => number = libc.func(
  'int accept4(int fd, void *addr, void *len, int flags)',
);
export const getsockname: (fd: number, address: Bytes, length: Bytes) => number = libc.func(
  'int getsockname(int fd, void *addr, void *len)',
);
export const getpeername: (fd: number, address: Bytes, length: Bytes) => number = libc.func(
  'int getpeername(int fd, void *addr, void *len)',
);
export const setsockopt: (fd: number, level: number, name: number, value: Bytes, length: number) => number = libc.func(
  'int setsockopt(int fd, int level, int name, const void *value, uint32_t len)',
);
export const getsockopt: (fd: number, level: number, name: number, value: Bytes, length: Bytes) => number = libc.func(
  'int getsockopt(int fd, int level, int name, void *value, void *len)',
);
export const shutdown: (fd: number, how: number) => number = libc.func('int shutdown(int fd, int how)');
export const recv: (fd: number, buffer: Bytes, length: number, flags: number) => number = libc.func(
  'int64_t recv(int fd, void *buf, size_t len, int flags)',
);
export const send: (fd: number, buffer: Bytes, length: number, flags: number) => number = libc.func(
  'int64_t send(int fd, const void *buf, size_t len, int flags)',
);
export const sendto: (
  fd: number,
  buffer: Bytes,
  length: number,
  flags: number,
  address: Bytes,
  addressLength: number,
) => number = libc.func(
  'int64_t sendto(int fd, const void *buf, size_t len, int flags, const void *addr, uint32_t alen)',
);
export const recvmsg: (fd: number, message: Bytes, flags: number) => number = libc.func(
  'int64_t recvmsg(int fd, void *msg, int flags)',
);
export const sendmsg: (fd: number, message: Bytes, flags: number) => number = libc.func(
  'int64_t sendmsg(int fd, const void *msg, int flags)',
);

export const pipe2: (fds: Int32Array, flags: number) => number = libc.func('int pipe2(int *fds, int flags)');
export const splice: (
  from: number,
  fromOffset: null,
  to: number,
  toOffset: null,
  length: number,
  flags: number,
) => number = libc.func('int64_t splice(int in, void *inoff, int out, void *outoff, size_t len, unsigned int flags)');

export const eventfd: (initial: number, flags: number) => number = libc.func(
  'int eventfd(unsigned int initval, int flags)',
);
export const epoll_create1: (flags: number) => number = libc.func('int epoll_create1(int flags)');
export const epoll_ctl: (epfd: number, operation: number, fd: number, event: Bytes) => number = libc.func(
  'int epoll_ctl(int epfd, int op, int fd, void *event)',
);
export const epoll_wait: (epfd: number, events: Bytes, max: number, timeoutMs: number) => number = libc.func(
  'int epoll_wait(int epfd, void *events, int max, int timeout)',
);

export const setns: (fd: number, type: number) => number = libc.func('int setns(int fd, int type)');
export const unshare: (flags: number) => number = libc.func('int unshare(int flags)');
export const prctl: (option: number, a: number, b: number, c: number, d: number) => number = libc.func(
  'int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)',
);
/** The wrappers of the C library: 0 when they worked, whatever the system call itself returns. */
export const sched_getaffinity: (thread: number, length: number, set: Bytes) => number = libc.func(
  'int sched_getaffinity(int pid, size_t cpusetsize, void *mask)',
);
export const sched_setaffinity: (thread: number, length: number, set: Bytes) => number = libc.func(
  'int sched_setaffinity(int pid, size_t cpusetsize, const void *mask)',
);
export const if_nametoindex: (name: string) => number = libc.func('unsigned int if_nametoindex(const char *name)');

/** MSG_DONTWAIT only: the timeout argument of recvmmsg(2) does not do what it says (BUGS). */
export const recvmmsg: (fd: number, messages: Bytes, count: number, flags: number, timeout: null) => number = libc.func(
  'int recvmmsg(int fd, void *msgvec, unsigned int vlen, int flags, void *timeout)',
);
export const sendmmsg: (fd: number, messages: Bytes, count: number, flags: number) => number = libc.func(
  'int sendmmsg(int fd, void *msgvec, unsigned int vlen, int flags)',
);
