/** Makes of a packet the ICMP message that says that its destination cannot be reached. RFC 792, RFC 4443 section 3.1. */
import { IPPROTO_ICMP, IPPROTO_ICMPV6, plus, sumOf } from '@weir/core/sys';
import type { Packet } from './packet.ts';

const TTL = 64;
const ICMP_HEADER = 8;
/** Bytes of the message, its IP header included: RFC 1812 section 4.3.2.3, RFC 4443 section 2.4 (c). */
const LONGEST = { 4: 576, 6: 1280 } as const;

export type Unreachable = 'network' | 'host' | 'prohibited';

/**
 * linux/icmp.h ICMP_NET_UNREACH, ICMP_HOST_UNREACH, ICMP_PKT_FILTERED; linux/icmpv6.h ICMPV6_NOROUTE, ICMPV6_ADDR_UNREACH,
 * ICMPV6_ADM_PROHIBITED.
 */
const CODES: Readonly<Record<4 | 6, Readonly<Record<Unreachable, number>>>> = {
  4: { network: 0, host: 1, prohibited: 13 },
  6: { network: 0, host: 3, prohibited: 1 },
};
const ICMP_DEST_UNREACH = 3;
const ICMPV6_DEST_UNREACH = 1;

/**
 * Writes the message over the packet, at the same place: from the packet's destination to its source, about it.
 * @param bytes the memory behind the packet's view.
 * @returns where it ends.
 */
export function writeUnreachable(packet: Packet, bytes: Uint8Array, what: Unreachable): number {
  const { view, start, end, family, source, destination } = packet;
  const header = family === 4 ? 20 : 40;
  const width = family === 4 ? 4 : 16;
  const icmp = start + header;
  const inner = icmp + ICMP_HEADER;
  const about = Math.min(end - start, LONGEST[family] - header - ICMP_HEADER);
  const [from, to] = [source - start, destination - start];
  bytes.copyWithin(inner, start, start + about);
  bytes.fill(0, start, inner);
  const total = inner + about;
  if (family === 4) {
    view.setUint8(start, 0x45);
    view.setUint16(start + 2, total - start, false);
    view.setUint8(start + 8, TTL);
    view.setUint8(start + 9, IPPROTO_ICMP);
  } else {
    view.setUint32(start, 0x60000000, false);
    view.setUint16(start + 4, total - icmp, false);
    view.setUint8(start + 6, IPPROTO_ICMPV6);
    view.setUint8(start + 7, TTL);
  }
  bytes.copyWithin(source, inner + to, inner + to + width);
  bytes.copyWithin(destination, inner + from, inner + from + width);
  view.setUint8(icmp, family === 4 ? ICMP_DEST_UNREACH : ICMPV6_DEST_UNREACH);
  view.setUint8(icmp + 1, CODES[family][what]);
  let sum = sumOf(view, icmp, total);
  if (family === 4) view.setUint16(start + 10, ~sumOf(view, start, icmp) & 0xffff, false);
  else {
    const pseudo = plus(sumOf(view, source, destination + width), plus(IPPROTO_ICMPV6, total - icmp));
    sum = plus(sum, pseudo);
  }
  view.setUint16(icmp + 2, ~sum & 0xffff, false);
  return total;
}
