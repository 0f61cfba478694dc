/** What leaves the host: TCP SYN packets that arrive at the other end of its uplink. packet(7). */
import { bytesToAddress } from '@weir/core';
import { checked, libc, MSG_DONTWAIT, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK } from '@weir/core/sys';

/** linux/socket.h, linux/if_ether.h, linux/if_packet.h */
const AF_PACKET = 17;
const ETH_P_ALL = 3;
const SOCKADDR_LL_LENGTH = 20;
const IPPROTO_TCP = 6;

export class Wire implements Disposable {
  readonly #fd: number;
  readonly #buffer = Buffer.alloc(2048);

  constructor(device: string) {
    const protocol = ETH_P_ALL << 8;
    this.#fd = checked(
      libc.socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol),
      'socket(AF_PACKET)',
      'Run the test as root.',
    );
    const address = Buffer.alloc(SOCKADDR_LL_LENGTH);
    address.writeUInt16LE(AF_PACKET, 0);
    address.writeUInt16LE(protocol, 2);
    address.writeInt32LE(libc.if_nametoindex(device), 4);
    checked(libc.bind(this.#fd, address, SOCKADDR_LL_LENGTH), `bind() to ${device}`, 'Report this.');
  }

  /** Source ports of the SYNs since the last call, with what they were sent to. */
  syns(): ReadonlyMap<number, string> {
    const found = new Map<number, string>();
    for (;;) {
      const n = libc.recv(this.#fd, this.#buffer, this.#buffer.length, MSG_DONTWAIT);
      if (n < 0) return found;
      const packet = this.#buffer.subarray(0, n);
      const six = packet[0] !== undefined && packet[0] >> 4 === 6;
      const tcp = six ? 40 : ((packet[0] ?? 0) & 0xf) * 4;
      if (packet[six ? 6 : 9] !== IPPROTO_TCP || n < tcp + 20) continue;
      const destination = bytesToAddress(six ? packet.subarray(24, 40) : packet.subarray(16, 20));
      found.set(packet.readUInt16BE(tcp), `${destination} ${packet.readUInt16BE(tcp + 2)}`);
    }
  }

  [Symbol.dispose](): void {
    libc.close(this.#fd);
  }
}
