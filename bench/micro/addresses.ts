/** Addresses between text, bytes and numbers: configuration, records, DNS. */
import { addressToBytes, addressToNumber, bytesToAddress, parsePrefix } from '@weir/core';
import type { MicroSuite } from './suite.ts';

const IPV4 = Array.from({ length: 64 }, (_, n) => `203.0.113.${n}`);
const IPV6 = Array.from({ length: 64 }, (_, n) => `2001:db8:1::${n.toString(16)}:7`);
const at = <T>(list: readonly T[], n: number): T => list[n & 63] as T;

export function addresses(): MicroSuite {
  const bytes4 = IPV4.map(addressToBytes);
  const bytes6 = IPV6.map(addressToBytes);
  return {
    name: 'addresses',
    cases: [
      { name: 'addressToBytes, IPv4', once: (n) => addressToBytes(at(IPV4, n)) },
      { name: 'addressToBytes, IPv6', once: (n) => addressToBytes(at(IPV6, n)) },
      { name: 'bytesToAddress, IPv4', once: (n) => bytesToAddress(at(bytes4, n)) },
      { name: 'bytesToAddress, IPv6', once: (n) => bytesToAddress(at(bytes6, n)) },
      { name: 'addressToNumber, IPv6', once: (n) => addressToNumber(at(IPV6, n)) },
      { name: 'parsePrefix, IPv4', once: (n) => parsePrefix(`${at(IPV4, n & ~63)}/24`) },
    ],
  };
}
