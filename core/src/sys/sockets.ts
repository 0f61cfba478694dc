/**
 * Sockets that Weir opens itself. Every one carries the bypass mark, is close-on-exec and, unless said otherwise, not
 * blocking. Whoever gets a descriptor closes it, or hands it to Node (`net`, `dgram`), which then closes it.
 */
import { NotPermittedError } from '../api/errors.ts';
import type { Endpoint, Family, Protocol } from '../api/flow.ts';
import {
  AF_INET,
  AF_INET6,
  IP_TRANSPARENT,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_UDP,
  IPV6_CHECKSUM,
  IPV6_TRANSPARENT,
  IPV6_V6ONLY,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_RAW,
  SOCK_STREAM,
  SO_LINGER,
  SO_MARK,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
} from './constants.ts';
import { checked } from './errno.ts';
import * as libc from './libc.ts';
import { readSockaddr, sockaddr, SOCKADDR_LENGTH } from './sockaddr.ts';

export interface SocketOptions {
  readonly family: Family;
  readonly protocol: Protocol;
  /** fwmark for SO_MARK; 0 or absent sets none. */
  readonly mark?: number;
  readonly transparent?: boolean;
  readonly reuseAddress?: boolean;
  readonly reusePort?: boolean;
  readonly bind?: Endpoint;
}

const MARK_REMEDY = 'Run Weir as root or give it CAP_NET_ADMIN or CAP_NET_RAW.';

/** Sets an integer option. @throws NotPermittedError, SystemCallError. */
export function setOption(fd: number, level: number, name: number, value: number, call: string, remedy: string): void {
  checked(libc.setsockopt(fd, level, name, Int32Array.of(value), 4), call, remedy);
}

/**
 * Opens a socket and binds it when asked.
 * @returns the descriptor; the caller owns it.
 * @throws NotPermittedError when a mark or transparency is refused; SystemCallError otherwise. Nothing stays open.
 */
export function openSocket(options: SocketOptions): number {
  const domain = options.family === 4 ? AF_INET : AF_INET6;
  const type = (options.protocol === 'tcp' ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;
  const fd = checked(libc.socket(domain, type, 0), 'socket()', 'Raise the limit of open files (ulimit -n).');
  try {
    if (options.mark) setOption(fd, SOL_SOCKET, SO_MARK, options.mark, 'setsockopt(SO_MARK)', MARK_REMEDY);
    if (options.family === 6) setOption(fd, SOL_IPV6, IPV6_V6ONLY, 1, 'setsockopt(IPV6_V6ONLY)', 'Report this.');
    if (options.transparent) {
      const [level, name] = options.family === 4 ? [SOL_IP, IP_TRANSPARENT] : [SOL_IPV6, IPV6_TRANSPARENT];
      setOption(fd, level, name, 1, 'setsockopt(IP_TRANSPARENT)', MARK_REMEDY);
    }
    if (options.reuseAddress) setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1, 'setsockopt(SO_REUSEADDR)', 'Report this.');
    if (options.reusePort) setOption(fd, SOL_SOCKET, SO_REUSEPORT, 1, 'setsockopt(SO_REUSEPORT)', 'Report this.');
    if (options.bind) {
      const { address, port } = options.bind;
      const name = sockaddr(options.bind);
      checked(
        libc.bind(fd, name, name.length),
        `bind() to ${options.family === 6 ? `[${address}]` : address}:${port} (${options.protocol})`,
        'Free the address (ss -lntup shows who holds it) or configure another one.',
      );
    }
    return fd;
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

/** Whether this process may set that fwmark: CAP_NET_ADMIN, since Linux 5.17 also CAP_NET_RAW. */
export function mayMark(mark: number): boolean {
  try {
    libc.close(openSocket({ family: 4, protocol: 'tcp', mark }));
    return true;
  } catch (error) {
    if (error instanceof NotPermittedError) return false;
    throw error;
  }
}

/** Addresses that nobody sends to: a raw UDP socket gets copies of what arrives at its own. */
const REPLY_BIND: Readonly<Record<Family, string>> = { 4: '127.84.0.1', 6: '100::84:1' };
/** Where the checksum stands in a UDP header (RFC 768). */
const UDP_CHECKSUM_OFFSET = 6;

/**
 * A raw socket that sends UDP datagrams from any address and port: the header comes with the payload, the source address
 * as control data. The kernel fragments; in IPv6 it computes the checksum.
 * @returns the descriptor; the caller owns it.
 * @throws NotPermittedError without CAP_NET_RAW; SystemCallError.
 */
export function openReplySocket(family: Family, mark: number): number {
  return openRawSocket(family, mark, IPPROTO_UDP);
}

/**
 * A raw socket that sends ICMP messages from any address, the source as control data. The checksum comes with the message
 * in IPv4, and is the kernel's in IPv6.
 * @returns the descriptor; the caller owns it.
 * @throws as openReplySocket.
 */
export function openIcmpSocket(family: Family, mark: number): number {
  return openRawSocket(family, mark, family === 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

function openRawSocket(family: Family, mark: number, protocol: number): number {
  const domain = family === 4 ? AF_INET : AF_INET6;
  const type = SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC;
  const fd = checked(libc.socket(domain, type, protocol), 'socket(SOCK_RAW)', MARK_REMEDY);
  try {
    const [level, name] = family === 4 ? [SOL_IP, IP_TRANSPARENT] : [SOL_IPV6, IPV6_TRANSPARENT];
    setOption(fd, level, name, 1, 'setsockopt(IP_TRANSPARENT)', MARK_REMEDY);
    if (mark !== 0) setOption(fd, SOL_SOCKET, SO_MARK, mark, 'setsockopt(SO_MARK)', MARK_REMEDY);
    if (family === 6 && protocol === IPPROTO_UDP) {
      setOption(fd, SOL_IPV6, IPV6_CHECKSUM, UDP_CHECKSUM_OFFSET, 'setsockopt(IPV6_CHECKSUM)', 'Report this.');
    }
    const address = sockaddr({ address: REPLY_BIND[family], port: 0 });
    checked(
      libc.bind(fd, address, address.length),
      `bind() of the reply socket to ${REPLY_BIND[family]}`,
      'Report this.',
    );
    return fd;
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

/** The socket's own name. */
export function socketName(fd: number): Endpoint {
  const buffer = Buffer.alloc(SOCKADDR_LENGTH);
  checked(libc.getsockname(fd, buffer, Int32Array.of(SOCKADDR_LENGTH)), 'getsockname()', 'Report this.');
  return readSockaddr(buffer);
}

const lingerZero = Int32Array.of(1, 0);

/** Closes with RST instead of FIN. Harmless on anything that is no TCP socket. */
export function closeWithReset(fd: number): void {
  libc.setsockopt(fd, SOL_SOCKET, SO_LINGER, lingerZero, 8);
  libc.close(fd);
}
