/**
 * struct sockaddr_in and sockaddr_in6 (linux/in.h, linux/in6.h) as bytes.
 *
 *   sockaddr_in  16 bytes: family u16 native @0 · port u16 network @2 · address 4 bytes @4
 *   sockaddr_in6 28 bytes: family u16 native @0 · port u16 network @2 · flowinfo @4 · address 16 bytes @8 · scope @24
 */
import type { Endpoint, Family } from '../api/flow.ts';
import { addressToBytes, bytesToAddress, familyOf } from '../capture/address.ts';
import { AF_INET, AF_INET6 } from './constants.ts';

/** Large enough for either family. */
export const SOCKADDR_LENGTH = 28;

export function sockaddrLength(family: Family): number {
  return family === 4 ? 16 : 28;
}

/** Writes the address into `buffer` and returns the struct's length. */
export function writeSockaddr(buffer: Buffer, endpoint: Endpoint): number {
  const family = familyOf(endpoint.address);
  buffer.fill(0, 0, SOCKADDR_LENGTH);
  buffer.writeUInt16LE(family === 4 ? AF_INET : AF_INET6, 0);
  buffer.writeUInt16BE(endpoint.port, 2);
  buffer.set(addressToBytes(endpoint.address), family === 4 ? 4 : 8);
  return sockaddrLength(family);
}

/** A fresh sockaddr for `endpoint`, as long as its family needs. */
export function sockaddr(endpoint: Endpoint): Buffer {
  const buffer = Buffer.alloc(SOCKADDR_LENGTH);
  return buffer.subarray(0, writeSockaddr(buffer, endpoint));
}

/** Reads what the kernel wrote. @throws RangeError for a family that is neither IPv4 nor IPv6. */
export function readSockaddr(buffer: Buffer): Endpoint {
  const family = buffer.readUInt16LE(0);
  const port = buffer.readUInt16BE(2);
  if (family === AF_INET) return { address: bytesToAddress(buffer.subarray(4, 8)), port };
  if (family === AF_INET6) return { address: bytesToAddress(buffer.subarray(8, 24)), port };
  throw new RangeError(`address family ${family} is neither AF_INET nor AF_INET6`);
}
