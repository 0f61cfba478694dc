/** Control data that gives what a socket sends a source: struct in_pktinfo (ip(7)), struct in6_pktinfo (RFC 3542). */
import { IP_PKTINFO, IPV6_PKTINFO, SOL_IP, SOL_IPV6 } from '../sys/constants.ts';

/**
 * Writes one control message.
 * @param words with the address at `address`, as the kernel wrote it; IPv4 takes the first of four.
 * @param scope interface of an IPv6 address that needs one; 0: any.
 * @returns how many bytes of control data are to be sent.
 */
export function writePacketInfo(
  controls: DataView,
  at: number,
  family: 4 | 6,
  words: Int32Array,
  address: number,
  scope = 0,
): number {
  if (family === 4) {
    controls.setBigUint64(at, 28n, true);
    controls.setInt32(at + 8, SOL_IP, true);
    controls.setInt32(at + 12, IP_PKTINFO, true);
    controls.setInt32(at + 16, 0, true);
    controls.setInt32(at + 20, words[address] as number, true);
    controls.setInt32(at + 24, 0, true);
    return 32;
  }
  controls.setBigUint64(at, 36n, true);
  controls.setInt32(at + 8, SOL_IPV6, true);
  controls.setInt32(at + 12, IPV6_PKTINFO, true);
  for (let word = 0; word < 4; word++) controls.setInt32(at + 16 + 4 * word, words[address + word] as number, true);
  controls.setInt32(at + 32, scope, true);
  return 40;
}
