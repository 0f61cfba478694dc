/** UDP points: opened, and what has arrived there. ip(7), IP_RECVORIGDSTADDR; ipv6(7). */
import type { BoundPoint, Endpoint, PointSpec } from '@weir/core';
import {
  IP_RECVORIGDSTADDR,
  IPV6_RECVORIGDSTADDR,
  MessageBatch,
  MSG_DONTWAIT,
  openSocket,
  readSockaddr,
  setOption,
  SO_RCVBUF,
  SOCKADDR_LENGTH,
  socketName,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
} from '@weir/core/sys';

const BATCH = 64;
/** struct cmsghdr, then a sockaddr_in6 at most. */
const CONTROL = 64;
const CONTROL_HEADER = 16;

export function receiveAt(spec: PointSpec, mark: number): BoundPoint {
  const { network, transparent, bind } = spec;
  const fd = openSocket({ ...network, mark, transparent, bind });
  const [level, name] = network.family === 4 ? [SOL_IP, IP_RECVORIGDSTADDR] : [SOL_IPV6, IPV6_RECVORIGDSTADDR];
  setOption(fd, level, name, 1, 'setsockopt(IP_RECVORIGDSTADDR)', 'Report this.');
  setOption(fd, SOL_SOCKET, SO_RCVBUF, 2 ** 20, 'setsockopt(SO_RCVBUF)', 'Report this.');
  return { ...spec, port: socketName(fd).port, fds: [fd] };
}

export class Datagrams {
  readonly #batch = new MessageBatch({ messages: BATCH, payload: 64, control: CONTROL });

  /** Source and the name that the kernel gives beside it: of the socket, or of the original destination. */
  *arrivals({ fds: [fd = -1], port, bind, original }: BoundPoint): Generator<readonly [Endpoint, Endpoint]> {
    const { names, controls } = this.#batch;
    for (;;) {
      const count = this.#batch.receive(fd, MSG_DONTWAIT);
      if (count <= 0) return;
      for (let n = 0; n < count; n++) {
        const source = readSockaddr(Buffer.from(names.buffer, this.#batch.nameAt(n), SOCKADDR_LENGTH));
        const at = this.#batch.controlAt(n) + CONTROL_HEADER;
        yield original.via === 'socket-name'
          ? [source, readSockaddr(Buffer.from(controls.buffer, at, SOCKADDR_LENGTH))]
          : [source, { address: bind.address, port }];
      }
    }
  }
}
