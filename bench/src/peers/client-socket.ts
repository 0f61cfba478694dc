/** A client's TCP socket, for load generators. */
import {
  AF_INET,
  AF_INET6,
  checked,
  F_SETFL,
  IPPROTO_TCP,
  libc,
  O_NONBLOCK,
  setOption,
  sockaddr,
  SOCK_CLOEXEC,
  SOCK_STREAM,
  TCP_NODELAY,
} from '@weir/core/sys';

/** A blocking socket, connected nowhere yet. @throws SystemCallError without descriptors. */
export function clientSocket(address: string): number {
  const family = address.includes(':') ? AF_INET6 : AF_INET;
  const fd = checked(libc.socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), 'socket()', 'Raise ulimit -n.');
  setOption(fd, IPPROTO_TCP, TCP_NODELAY, 1, 'setsockopt(TCP_NODELAY)', 'Report this.');
  return fd;
}

/** Connects a blocking socket. @throws SystemCallError when that is refused. */
export function connectTo(fd: number, address: string, port: number): void {
  const name = sockaddr({ address, port });
  checked(libc.connect(fd, name, name.length), `connect() to ${address}:${port}`, 'See whether the server runs.');
}

export function makeNonBlocking(fd: number): void {
  libc.fcntl(fd, F_SETFL, O_NONBLOCK);
}
