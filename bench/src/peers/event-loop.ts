/** A level-triggered epoll loop of one thread, for servers and load generators that must not be the bottleneck. */
import {
  EPOLL_CLOEXEC,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_CTL_MOD,
  EPOLL_DATA_OFFSET,
  EPOLL_EVENT_SIZE,
  libc,
  openSocket,
  SO_SNDBUF,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOL_SOCKET,
  setOption,
  writeEpollEvent,
} from '@weir/core/sys';

const BATCH = 256;

export class EventLoop {
  readonly #epfd = libc.epoll_create1(EPOLL_CLOEXEC);
  readonly #event = new DataView(new ArrayBuffer(16));
  readonly #events = new DataView(new ArrayBuffer(BATCH * EPOLL_EVENT_SIZE));

  /** `events`: EPOLLIN, EPOLLOUT, … */
  watch(fd: number, events: number): void {
    this.#control(EPOLL_CTL_ADD, fd, events);
  }

  change(fd: number, events: number): void {
    this.#control(EPOLL_CTL_MOD, fd, events);
  }

  forget(fd: number): void {
    this.#control(EPOLL_CTL_DEL, fd, 0);
  }

  /** Waits once and calls `handle` for every descriptor that is ready. `timeoutMs` -1: for ever. */
  turn(timeoutMs: number, handle: (fd: number, events: number) => void): void {
    const count = libc.epoll_wait(this.#epfd, this.#events, BATCH, timeoutMs);
    for (let n = 0; n < count; n++) {
      const at = n * EPOLL_EVENT_SIZE;
      handle(this.#events.getUint32(at + EPOLL_DATA_OFFSET, true), this.#events.getUint32(at, true));
    }
  }

  #control(operation: number, fd: number, events: number): void {
    writeEpollEvent(this.#event, events, fd, 0);
    libc.epoll_ctl(this.#epfd, operation, fd, this.#event);
  }
}

/**
 * A listening TCP socket with a long queue. `sendBuffer`: bytes that every connection's send buffer gets, so that a whole
 * response fits; 0 leaves it to the kernel.
 */
export function listenOn(address: string, port: number, sendBuffer: number): number {
  const fd = openSocket({
    family: address.includes(':') ? 6 : 4,
    protocol: 'tcp',
    reuseAddress: true,
    bind: { address, port },
  });
  if (sendBuffer > 0) setOption(fd, SOL_SOCKET, SO_SNDBUF, sendBuffer, 'setsockopt(SO_SNDBUF)', 'Report this.');
  if (libc.listen(fd, 4096) < 0) throw new Error(`cannot listen on ${address}:${port}`);
  return fd;
}

/** Takes up to 64 connections from a listener; level-triggered, so what is left comes in the next turn. */
export function acceptSome(listener: number, take: (fd: number) => void): void {
  for (let taken = 0; taken < 64; taken++) {
    const fd = libc.accept4(listener, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    take(fd);
  }
}
