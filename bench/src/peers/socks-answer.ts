/**
 * The server's half of a SOCKS5 handshake (RFC 1928) in front of the origin's own protocol: the destination answers as if
 * it were the proxy as well. So a candidate that speaks SOCKS5 meets the same server as one that does not, and no proxy of
 * another make stands between, whose speed would be measured instead.
 */

const VERSION = 5;
const GREETED = Buffer.from([VERSION, 0]);
/** Succeeded, bound to 0.0.0.0:0. */
const CONNECTED = Buffer.from([VERSION, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
/** VER CMD=CONNECT RSV ATYP=IPv4, 4 octets of address, 2 of port. */
const CONNECT_LENGTH = 10;

/** The answer to what a connection brought, when it is part of such a handshake; undefined when it is not. */
export function socksAnswer(bytes: Buffer, length: number): Buffer | undefined {
  if (length < 3 || bytes[0] !== VERSION) return undefined;
  const isConnect = (at: number) => length === at + CONNECT_LENGTH && bytes[at + 1] === 1 && bytes[at + 3] === 1;
  if (isConnect(0)) return CONNECTED;
  const greeting = 2 + (bytes[1] ?? 0);
  if (length === greeting) return GREETED;
  return isConnect(greeting) ? Buffer.concat([GREETED, CONNECTED]) : undefined;
}
