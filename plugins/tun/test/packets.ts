/** Makes IP packets as the kernel gives them to a tun device, and says whether their checksums are right. */
import { addressToBytes, bytesToAddress } from '@weir/core';
import { plus, sumOf } from '@weir/core/sys';
import { VNET_HEADER } from '../src/packet-path.ts';

export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const PSH = 8;
export const ACK = 16;
export const TCP = 6;
export const UDP = 17;

export interface Ends {
  readonly from: readonly [address: string, port: number];
  readonly to: readonly [address: string, port: number];
}

export interface PacketOptions {
  readonly protocol?: number;
  readonly flags?: number;
  readonly sequence?: number;
  readonly acknowledge?: number;
  readonly payload?: Uint8Array;
  /** Only the pseudo-header is in the checksum, as with offload. */
  readonly partial?: boolean;
  readonly gsoSize?: number;
  /** IPv4 options, a multiple of 4 bytes; IPv6 extension headers as [type, bytes] with their own next header left out. */
  readonly options?: Uint8Array;
  readonly extensions?: ReadonlyArray<readonly [type: number, bytes: Uint8Array]>;
  /** IPv4: the 16 bits of flags and offset. */
  readonly fragment?: number;
  readonly id?: number;
  /** UDP: no checksum at all. */
  readonly unchecked?: boolean;
}

export function familyOfEnds({ from }: Ends): 4 | 6 {
  return from[0].includes(':') ? 6 : 4;
}

/** A packet behind its virtio_net_hdr. */
export function packetOf(ends: Ends, options: PacketOptions = {}): Uint8Array {
  const family = familyOfEnds(ends);
  const { protocol = TCP, payload = new Uint8Array(0), partial = false, extensions = [] } = options;
  const optionBytes = family === 4 ? (options.options ?? new Uint8Array(0)) : new Uint8Array(0);
  const extra = extensions.reduce((sum, [, bytes]) => sum + bytes.length, 0);
  const header = family === 4 ? 20 + optionBytes.length : 40 + extra;
  const transportHeader = protocol === TCP ? 20 : 8;
  const length = transportHeader + payload.length;
  const bytes = new Uint8Array(VNET_HEADER + header + length);
  const view = new DataView(bytes.buffer);
  const ip = VNET_HEADER;
  const transport = ip + header;
  const checksumAt = protocol === TCP ? 16 : 6;
  if (partial) {
    view.setUint8(0, 1);
    view.setUint16(6, header, true);
    view.setUint16(8, checksumAt, true);
  }
  if (options.gsoSize !== undefined) {
    view.setUint8(1, family === 4 ? 1 : 4);
    view.setUint16(4, options.gsoSize, true);
    view.setUint16(2, header + transportHeader, true);
  }
  if (family === 4) {
    view.setUint8(ip, 0x40 | (header / 4));
    view.setUint16(ip + 2, header + length, false);
    view.setUint16(ip + 4, options.id ?? 1, false);
    view.setUint16(ip + 6, options.fragment ?? 0x4000, false);
    view.setUint8(ip + 8, 64);
    view.setUint8(ip + 9, protocol);
    bytes.set(addressToBytes(ends.from[0]), ip + 12);
    bytes.set(addressToBytes(ends.to[0]), ip + 16);
    bytes.set(optionBytes, ip + 20);
    view.setUint16(ip + 10, ~sumOf(view, ip, ip + header) & 0xffff, false);
  } else {
    view.setUint8(ip, 0x60);
    view.setUint16(ip + 4, extra + length, false);
    view.setUint8(ip + 6, extensions[0]?.[0] ?? protocol);
    view.setUint8(ip + 7, 64);
    bytes.set(addressToBytes(ends.from[0]), ip + 8);
    bytes.set(addressToBytes(ends.to[0]), ip + 24);
    let at = ip + 40;
    for (const [index, [, extension]] of extensions.entries()) {
      bytes.set(extension, at);
      view.setUint8(at, extensions[index + 1]?.[0] ?? protocol);
      at += extension.length;
    }
  }
  view.setUint16(transport, ends.from[1], false);
  view.setUint16(transport + 2, ends.to[1], false);
  if (protocol === TCP) {
    view.setUint32(transport + 4, options.sequence ?? 1000, false);
    view.setUint32(transport + 8, options.acknowledge ?? 0, false);
    view.setUint8(transport + 12, 5 << 4);
    view.setUint8(transport + 13, options.flags ?? SYN);
    view.setUint16(transport + 14, 65_535, false);
  } else view.setUint16(transport + 4, length, false);
  bytes.set(payload, transport + transportHeader);
  const pseudo = plus(sumOf(view, ip + (family === 4 ? 12 : 8), ip + (family === 4 ? 20 : 40)), plus(protocol, length));
  const whole = ~plus(pseudo, sumOf(view, transport, bytes.length)) & 0xffff;
  if (!options.unchecked) {
    view.setUint16(transport + checksumAt, partial ? pseudo : whole === 0 && protocol === UDP ? 0xffff : whole, false);
  }
  return bytes;
}

export interface Read {
  readonly ends: Ends;
  readonly flags: number;
  readonly payload: Uint8Array;
  readonly header: Uint8Array;
  readonly sequence: number;
  readonly acknowledge: number;
  /** What is wrong with its checksums; empty when nothing is. */
  readonly faults: readonly string[];
}

/** Reads what came out, without options or extension headers unless `transportAt` says where its transport stands. */
export function readPacket(bytes: Uint8Array, transportAt?: number): Read {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const ip = VNET_HEADER;
  const family = view.getUint8(ip) >>> 4;
  const header = family === 4 ? (view.getUint8(ip) & 15) * 4 : 40;
  const transport = transportAt ?? ip + header;
  const protocol =
    transportAt === undefined ? view.getUint8(ip + (family === 4 ? 9 : 6)) : bytes.length - transport < 20 ? UDP : TCP;
  const [source, destination, width] = family === 4 ? [ip + 12, ip + 16, 4] : [ip + 8, ip + 24, 16];
  const address = (at: number) => bytesToAddress(bytes.subarray(at, at + width));
  const faults: string[] = [];
  if (family === 4 && sumOf(view, ip, ip + header) !== 0xffff) faults.push('the IPv4 header');
  const pseudo = plus(sumOf(view, source, source + 2 * width), plus(protocol, bytes.length - transport));
  const checksumAt = transport + (protocol === TCP ? 16 : 6);
  const checksum = view.getUint16(checksumAt, false);
  const isPartial = (view.getUint8(0) & 1) !== 0;
  if (isPartial) {
    if (checksum % 0xffff !== pseudo % 0xffff) faults.push('the sum of the pseudo-header');
  } else if (protocol !== UDP || checksum !== 0) {
    if (plus(pseudo, sumOf(view, transport, bytes.length)) !== 0xffff) faults.push('the checksum of the transport');
  }
  const transportHeader = protocol === TCP ? (view.getUint8(transport + 12) >>> 4) * 4 : 8;
  return {
    ends: {
      from: [address(source), view.getUint16(transport, false)],
      to: [address(destination), view.getUint16(transport + 2, false)],
    },
    flags: protocol === TCP ? view.getUint8(transport + 13) : 0,
    sequence: protocol === TCP ? view.getUint32(transport + 4, false) : 0,
    acknowledge: protocol === TCP ? view.getUint32(transport + 8, false) : 0,
    payload: bytes.slice(transport + transportHeader),
    header: bytes.slice(0, VNET_HEADER),
    faults,
  };
}
