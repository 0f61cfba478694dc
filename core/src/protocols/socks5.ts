/**
 * SOCKS Protocol Version 5 as bytes (RFC 1928) and its user/password method (RFC 1929): both roles, no I/O. Parsers
 * return undefined while bytes are missing and throw RangeError when the bytes are no SOCKS5.
 */
import { addressToBytes, bytesToAddress, isAddress } from '../capture/address.ts';

export const SOCKS_VERSION = 5;
export const METHOD_NONE = 0;
export const METHOD_PASSWORD = 2;
export const METHOD_REFUSED = 0xff;
export const COMMAND_CONNECT = 1;
export const COMMAND_ASSOCIATE = 3;

const ADDRESS_IPV4 = 1;
const ADDRESS_NAME = 3;
const ADDRESS_IPV6 = 4;

/** What a reply code means (RFC 1928, section 6). */
export const REPLIES: readonly string[] = [
  'succeeded',
  'general failure',
  'not allowed by its rules',
  'network unreachable',
  'host unreachable',
  'connection refused',
  'TTL expired',
  'command not supported',
  'address type not supported',
];

/** A host (name or address) and a port, and how many bytes they took. */
export interface ParsedAddress {
  readonly host: string;
  readonly port: number;
  readonly length: number;
}

export function greeting(methods: readonly number[]): Uint8Array {
  return Uint8Array.of(SOCKS_VERSION, methods.length, ...methods);
}

/** The method that the server chose. @throws RangeError for another version. */
export function parseMethod(bytes: Uint8Array): number | undefined {
  if (bytes.length > 0) requireVersion(bytes[0], SOCKS_VERSION);
  return bytes.length < 2 ? undefined : bytes[1];
}

/** @throws RangeError when either is empty or longer than 255 octets. */
export function passwordRequest(username: string, password: string): Uint8Array {
  const [user, secret] = [Buffer.from(username), Buffer.from(password)];
  for (const part of [user, secret]) {
    if (part.length < 1 || part.length > 255) throw new RangeError('a SOCKS user or password has 1 to 255 octets');
  }
  return Buffer.concat([Uint8Array.of(1, user.length), user, Uint8Array.of(secret.length), secret]);
}

/** True when the server accepts. @throws RangeError for another version of the method. */
export function parsePasswordReply(bytes: Uint8Array): boolean | undefined {
  if (bytes.length > 0) requireVersion(bytes[0], 1);
  return bytes.length < 2 ? undefined : bytes[1] === 0;
}

/** A request; names go as names, so that the server resolves them. @throws RangeError for a name above 255 octets. */
export function request(command: number, host: string, port: number): Uint8Array {
  return Buffer.concat([Uint8Array.of(SOCKS_VERSION, command, 0), encodeAddress(host, port)]);
}

export interface ParsedReply {
  /** 0: granted; see {@link REPLIES}. */
  readonly code: number;
  readonly bound: ParsedAddress;
  /** Bytes of the whole reply. */
  readonly length: number;
}

/** @throws RangeError for another version or an unknown address type. */
export function parseReply(bytes: Uint8Array): ParsedReply | undefined {
  if (bytes.length > 0) requireVersion(bytes[0], SOCKS_VERSION);
  // A refusal may come without a usable address; its code alone is enough, and nothing follows it.
  const code = bytes[1];
  if (code === undefined) return undefined;
  if (code !== 0) return { code, bound: { host: '', port: 0, length: 0 }, length: bytes.length };
  const bound = decodeAddress(bytes.subarray(3));
  return bound === undefined ? undefined : { code, bound, length: 3 + bound.length };
}

export function encodeAddress(host: string, port: number): Uint8Array {
  const tail = Uint8Array.of(port >> 8, port & 0xff);
  if (isAddress(host)) {
    const address = addressToBytes(host);
    return Buffer.concat([Uint8Array.of(address.length === 4 ? ADDRESS_IPV4 : ADDRESS_IPV6), address, tail]);
  }
  const name = Buffer.from(host, 'latin1');
  if (name.length < 1 || name.length > 255) throw new RangeError('a SOCKS host name has 1 to 255 octets');
  return Buffer.concat([Uint8Array.of(ADDRESS_NAME, name.length), name, tail]);
}

/** From the address type on. */
export function decodeAddress(bytes: Uint8Array): ParsedAddress | undefined {
  const type = bytes[0];
  if (type === undefined) return undefined;
  let start = 1;
  let size: number;
  if (type === ADDRESS_IPV4) size = 4;
  else if (type === ADDRESS_IPV6) size = 16;
  else if (type === ADDRESS_NAME) {
    if (bytes[1] === undefined) return undefined;
    size = bytes[1];
    start = 2;
  } else throw new RangeError(`SOCKS address type ${type} is unknown`);
  const length = start + size + 2;
  if (bytes.length < length) return undefined;
  const raw = bytes.slice(start, start + size);
  const host = type === ADDRESS_NAME ? Buffer.from(raw).toString('latin1') : bytesToAddress(raw);
  return { host, port: ((bytes[length - 2] as number) << 8) | (bytes[length - 1] as number), length };
}

/**
 * What stands in front of a datagram (section 7): reserved, fragment number 0, the address. Through a relay it is the
 * destination on the way there and the source on the way back.
 */
export function datagramHeader(host: string, port: number): Uint8Array {
  return Buffer.concat([Uint8Array.of(0, 0, 0), encodeAddress(host, port)]);
}

/** Where the header of a datagram ends, and what it says. */
export interface ParsedDatagram {
  /** 0: a whole datagram. */
  readonly fragment: number;
  readonly address: ParsedAddress;
  readonly payloadStart: number;
}

/** @returns undefined for what is cut short. @throws RangeError for an unknown address type. */
export function parseDatagram(bytes: Uint8Array): ParsedDatagram | undefined {
  const address = bytes.length < 4 ? undefined : decodeAddress(bytes.subarray(3));
  if (address === undefined) return undefined;
  return { fragment: bytes[2] as number, address, payloadStart: 3 + address.length };
}

function requireVersion(found: number | undefined, wanted: number): void {
  if (found !== wanted) throw new RangeError(`the answer begins with ${found} and not with version ${wanted}`);
}
