/** Makes of a TCP packet that nobody takes the RST that answers it. RFC 9293 section 3.5.2, group 1. */
import { IPPROTO_TCP, plus, sumOf } from '@weir/core/sys';
import type { Packet } from './packet.ts';

const FIN = 1;
const SYN = 2;
const RST = 4;
const ACK = 16;
const TTL = 64;
const TCP_HEADER = 20;

/**
 * Writes the answer over the packet, at the same place.
 * @returns where it ends.
 */
export function writeReset(packet: Packet): number {
  const { view, start, family, source, destination, transport, data, end } = packet;
  const flags = view.getUint8(transport + 13);
  const sequence = view.getUint32(transport + 4, false);
  const acknowledged = view.getUint32(transport + 8, false);
  const length = end - data + ((flags & SYN) === 0 ? 0 : 1) + ((flags & FIN) === 0 ? 0 : 1);
  const [from, to] = [view.getUint16(transport, false), view.getUint16(transport + 2, false)];
  const width = family === 4 ? 4 : 16;
  for (let byte = 0; byte < width; byte++) {
    const one = view.getUint8(source + byte);
    view.setUint8(source + byte, view.getUint8(destination + byte));
    view.setUint8(destination + byte, one);
  }
  const tcp = start + (family === 4 ? 20 : 40);
  const total = tcp + TCP_HEADER;
  if (family === 4) writeHeader4(view, start);
  else writeHeader6(view, start);
  view.setUint16(tcp, to, false);
  view.setUint16(tcp + 2, from, false);
  const answers = (flags & ACK) !== 0;
  view.setUint32(tcp + 4, answers ? acknowledged : 0, false);
  view.setUint32(tcp + 8, answers ? 0 : (sequence + length) >>> 0, false);
  view.setUint8(tcp + 12, (TCP_HEADER / 4) << 4);
  view.setUint8(tcp + 13, answers ? RST : RST | ACK);
  view.setUint32(tcp + 14, 0, false);
  view.setUint16(tcp + 18, 0, false);
  const addresses = sumOf(view, source, destination + width);
  const pseudo = plus(addresses, plus(IPPROTO_TCP, TCP_HEADER));
  view.setUint16(tcp + 16, ~plus(pseudo, sumOf(view, tcp, total)) & 0xffff, false);
  return total;
}

function writeHeader4(view: DataView, start: number): void {
  view.setUint8(start, 0x45);
  view.setUint8(start + 1, 0);
  view.setUint16(start + 2, 20 + TCP_HEADER, false);
  view.setUint32(start + 4, 0x4000, false);
  view.setUint8(start + 8, TTL);
  view.setUint8(start + 9, IPPROTO_TCP);
  view.setUint16(start + 10, 0, false);
  view.setUint16(start + 10, ~sumOf(view, start, start + 20) & 0xffff, false);
}

function writeHeader6(view: DataView, start: number): void {
  view.setUint32(start, 0x60000000, false);
  view.setUint16(start + 4, TCP_HEADER, false);
  view.setUint8(start + 6, IPPROTO_TCP);
  view.setUint8(start + 7, TTL);
}
