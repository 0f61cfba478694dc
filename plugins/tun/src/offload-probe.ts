/** Whether the kernel takes a packet of several segments, or one whose checksum it is to finish, from a device. */
import type { Family } from '@weir/core';
import { IPPROTO_TCP, libc, plus, sumOf } from '@weir/core/sys';
import { VNET_HEADER } from './packet-path.ts';

const VIRTIO_NET_HDR_F_NEEDS_CSUM = 1;
const VIRTIO_NET_HDR_GSO_TCPV4 = 1;
const VIRTIO_NET_HDR_GSO_TCPV6 = 4;
const TCP_HEADER = 20;
const RST = 4;
const SEGMENT = 64;
/** discard: nobody answers a RST. */
const PORT = 9;

export interface SuperPacketProbe {
  readonly family: Family;
  /** As 4 or 16 bytes. */
  readonly from: Uint8Array;
  readonly to: Uint8Array;
  /** Two segments in one packet; otherwise one. */
  readonly segments: boolean;
}

/** A RST that belongs to nothing, so that whoever gets it is silent. */
export function probePacket({ family, from, to, segments }: SuperPacketProbe): Uint8Array {
  const header = family === 4 ? 20 : 40;
  const payload = segments ? 2 * SEGMENT : SEGMENT;
  const bytes = new Uint8Array(VNET_HEADER + header + TCP_HEADER + payload);
  const view = new DataView(bytes.buffer);
  const ip = VNET_HEADER;
  const tcp = ip + header;
  view.setUint8(0, VIRTIO_NET_HDR_F_NEEDS_CSUM);
  if (segments) {
    view.setUint8(1, family === 4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6);
    view.setUint16(4, SEGMENT, true);
  }
  view.setUint16(2, header + TCP_HEADER, true);
  view.setUint16(6, header, true);
  view.setUint16(8, 16, true);
  const length = TCP_HEADER + payload;
  if (family === 4) {
    view.setUint8(ip, 0x45);
    view.setUint16(ip + 2, header + length, false);
    view.setUint16(ip + 6, 0x4000, false);
    view.setUint8(ip + 8, 64);
    view.setUint8(ip + 9, IPPROTO_TCP);
    bytes.set(from, ip + 12);
    bytes.set(to, ip + 16);
    view.setUint16(ip + 10, ~sumOf(view, ip, tcp) & 0xffff, false);
  } else {
    view.setUint8(ip, 0x60);
    view.setUint16(ip + 4, length, false);
    view.setUint8(ip + 6, IPPROTO_TCP);
    view.setUint8(ip + 7, 64);
    bytes.set(from, ip + 8);
    bytes.set(to, ip + 24);
  }
  view.setUint16(tcp, PORT, false);
  view.setUint16(tcp + 2, PORT, false);
  view.setUint8(tcp + 12, (TCP_HEADER / 4) << 4);
  view.setUint8(tcp + 13, RST);
  const addresses = sumOf(view, ip + (family === 4 ? 12 : 8), tcp);
  view.setUint16(tcp + 16, plus(addresses, plus(IPPROTO_TCP, length)), false);
  return bytes;
}

export function takesSuperPackets(fd: number, probe: SuperPacketProbe): boolean {
  const packet = probePacket(probe);
  return libc.write(fd, packet, packet.length) === packet.length;
}
