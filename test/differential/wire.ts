/** What leaves the host: TCP and UDP packets that arrive at the other end of its uplink. packet(7). */
import { bytesToAddress } from '@weir/core';
import { checked, libc, MSG_DONTWAIT, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK } from '@weir/core/sys';

/** linux/socket.h, linux/if_ether.h, linux/if_packet.h */
const AF_PACKET = 17;
const ETH_P_ALL = 3;
const SOCKADDR_LL_LENGTH = 20;
const PROTOCOLS: ReadonlyMap<number, string> = new Map([
  [6, 'tcp'],
  [17, 'udp'],
]);

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

  /** Source ports of the packets since the last call, with protocol, address and port that they were sent to. */
  first(): ReadonlyMap<number, string> {
    const found = new Map<number, string>();
    for (;;) {
      const n = libc.recv(this.#fd, this.#buffer, this.#buffer.length, MSG_DONTWAIT);
      if (n < 0) return found;
      const packet = this.#buffer.subarray(0, n);
      const six = packet[0] !== undefined && packet[0] >> 4 === 6;
      const transport = six ? 40 : ((packet[0] ?? 0) & 0xf) * 4;
      const protocol = PROTOCOLS.get(packet[six ? 6 : 9] ?? 0);
      if (protocol === undefined || n < transport + 8) continue;
      const destination = bytesToAddress(six ? packet.subarray(24, 40) : packet.subarray(16, 20));
      found.set(packet.readUInt16BE(transport), `${protocol} ${destination} ${packet.readUInt16BE(transport + 2)}`);
    }
  }

  [Symbol.dispose](): void {
    libc.close(this.#fd);
  }
}
