/** Sending runs of datagrams by UDP_SEGMENT (udp(7)), and receiving them one by one: what Weir is not asked to help with. */
import {
  MessageBatch,
  MSG_DONTWAIT,
  openSocket,
  setOption,
  SO_RCVBUFFORCE,
  SOL_SOCKET,
  SOL_UDP,
  UDP_SEGMENT,
} from '@weir/core/sys';

/** CMSG_SPACE of an unsigned short. */
const CONTROL = 24;
const BUFFER = 16 * 2 ** 20;
const ROOM = 65_536;

export class RunSocket {
  readonly fd: number;
  readonly received = new MessageBatch({ messages: 64, payload: 4096, control: 0 });
  readonly #out = new MessageBatch({ messages: 1, payload: ROOM, control: CONTROL });

  constructor(address: string, bind?: { readonly address: string; readonly port: number }) {
    const family = address.includes(':') ? 6 : 4;
    this.fd = openSocket({ family, protocol: 'udp', ...(bind === undefined ? {} : { bind }) });
    setOption(this.fd, SOL_SOCKET, SO_RCVBUFFORCE, BUFFER, 'setsockopt(SO_RCVBUFFORCE)', 'Run this as root.');
    const { controls } = this.#out;
    controls.setBigUint64(0, 18n, true);
    controls.setInt32(8, SOL_UDP, true);
    controls.setInt32(12, UDP_SEGMENT, true);
  }

  /** How many have come, into `received`; at most 64. */
  receive(): number {
    return Math.max(0, this.received.receive(this.fd, MSG_DONTWAIT));
  }

  /** A copy of datagram `n` of those that have come. */
  datagram(n: number): Buffer {
    const start = this.received.payloadAt(n);
    return Buffer.from(this.received.payloads.subarray(start, start + this.received.length(n)));
  }

  /**
   * Sends datagrams of one length, the last perhaps shorter, by one call.
   * @param to sockaddr; absent: where the socket is connected to.
   * @returns whether they went.
   */
  send(datagrams: readonly Uint8Array[], to?: Uint8Array): boolean {
    const out = this.#out;
    let length = 0;
    for (const datagram of datagrams) {
      out.payloads.set(datagram, length);
      length += datagram.length;
    }
    out.setPayload(0, out, 0, length);
    out.controls.setUint16(16, datagrams[0]?.length ?? 0, true);
    if (to !== undefined) new Uint8Array(out.names.buffer).set(to);
    out.setLengths(0, to?.length ?? 0, datagrams.length > 1 ? CONTROL : 0);
    return out.sendFrom(this.fd, 0, 1, 0) === 1;
  }
}
