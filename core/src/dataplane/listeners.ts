/** Opens capture points: for each point one SO_REUSEPORT socket per worker, all on the same port. */
import { NotPermittedError, WeirError } from '../api/errors.ts';
import type { BoundPoint, PointSpec } from '../api/point.ts';
import {
  IP_PKTINFO,
  IP_RECVORIGDSTADDR,
  IPPROTO_TCP,
  IPV6_RECVORIGDSTADDR,
  IPV6_RECVPKTINFO,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
  TCP_NODELAY,
} from '../sys/constants.ts';
import { checked, EADDRINUSE, EADDRNOTAVAIL, SystemCallError } from '../sys/errno.ts';
import * as libc from '../sys/libc.ts';
import { openSocket, setOption, socketName } from '../sys/sockets.ts';

/** The kernel clamps it to net.core.somaxconn. */
const BACKLOG = 4096;
const RECEIVE_BUFFER = 4 * 1024 * 1024;

/**
 * @param mark fwmark of the sockets; accepted ones inherit it, so that replies are not captured again. 0 for none.
 * @param ownPorts ports that this process listens on already, by sockets that it will close.
 * @returns the points with their ports; the caller closes the descriptors with `closePoints`.
 * @throws WeirError WEIR_LISTEN for an address or port that cannot be had; NotPermittedError, SystemCallError; nothing
 * stays open then.
 */
export function openPoints(
  specs: readonly PointSpec[],
  workers: number,
  mark: number,
  ownPorts: ReadonlySet<number> = new Set(),
): readonly BoundPoint[] {
  const points: BoundPoint[] = [];
  try {
    for (const spec of specs) {
      // SO_REUSEPORT would let two instances of one user share a port and each get a part of the connections.
      if (spec.bind.port !== 0 && !ownPorts.has(spec.bind.port)) refuseTaken(spec, mark);
      points.push(openPoint(spec, workers, mark));
    }
    return points;
  } catch (error) {
    closePoints(points);
    throw error;
  }
}

/**
 * Points for other specs: one with the same socket as before keeps it.
 * @returns the points, and those whose sockets none of them uses, which the caller closes.
 * @throws as openPoints; all sockets are as before then.
 */
export function replacePoints(
  before: readonly BoundPoint[],
  specs: readonly PointSpec[],
  workers: number,
  mark: number,
): { readonly points: readonly BoundPoint[]; readonly gone: readonly BoundPoint[] } {
  const known = new Map(before.map((point) => [socketKey(point), point]));
  const missing = specs.filter((spec) => !known.has(socketKey(spec)));
  // From 127.0.0.1 to all addresses on the same port: for a moment we hold both.
  const ownPorts = new Set(before.map(({ port }) => port));
  const opened = new Map(openPoints(missing, workers, mark, ownPorts).map((point) => [socketKey(point), point]));
  const points = specs.map((spec): BoundPoint => {
    const { port, fds } = (known.get(socketKey(spec)) ?? opened.get(socketKey(spec))) as BoundPoint;
    return { ...spec, port, fds };
  });
  const wanted = new Set(specs.map(socketKey));
  return { points, gone: before.filter((point) => !wanted.has(socketKey(point))) };
}

export function closePoints(points: readonly BoundPoint[]): void {
  for (const point of points) for (const fd of point.fds) libc.close(fd);
}

/** What makes the socket of a point another one. Whose port the kernel chooses is told apart by its id. */
function socketKey({ id, network, bind, transparent }: PointSpec): string {
  return JSON.stringify([network.family, network.protocol, bind.address, bind.port || id, transparent]);
}

function openPoint(spec: PointSpec, workers: number, mark: number): BoundPoint {
  const fds: number[] = [];
  let { port } = spec.bind;
  try {
    for (let worker = 0; worker < workers; worker++) {
      const fd = openSocket({
        ...spec.network,
        mark,
        transparent: spec.transparent,
        reuseAddress: true,
        reusePort: true,
        bind: { address: spec.bind.address, port },
      });
      fds.push(fd);
      if (port === 0) port = socketName(fd).port;
      if (spec.network.protocol === 'tcp') {
        // Accepted sockets inherit it: a call less per flow.
        setOption(fd, IPPROTO_TCP, TCP_NODELAY, 1, 'setsockopt(TCP_NODELAY)', 'Report this.');
        checked(libc.listen(fd, BACKLOG), `listen() on port ${port}`, 'Free the port or configure another one.');
      } else if (spec.original.via === 'socket-name') {
        const [level, name] =
          spec.network.family === 4 ? [SOL_IP, IP_RECVORIGDSTADDR] : [SOL_IPV6, IPV6_RECVORIGDSTADDR];
        setOption(fd, level, name, 1, 'setsockopt(IP_RECVORIGDSTADDR)', 'Report this.');
      } else if (spec.original.via === 'fixed') {
        // Bound to all addresses, it must answer from the one that the client wrote to.
        const [level, name] = spec.network.family === 4 ? [SOL_IP, IP_PKTINFO] : [SOL_IPV6, IPV6_RECVPKTINFO];
        setOption(fd, level, name, 1, 'setsockopt(IP_PKTINFO)', 'Report this.');
      }
      if (spec.network.protocol === 'udp') enlargeReceiveBuffer(fd);
    }
    return { ...spec, port, fds };
  } catch (error) {
    for (const fd of fds) libc.close(fd);
    throw spec.bind.port === 0 ? error : listenFailure(spec, error);
  }
}

/** One socket takes the datagrams of all clients; without CAP_NET_ADMIN net.core.rmem_max bounds it. */
function enlargeReceiveBuffer(fd: number): void {
  const bytes = Int32Array.of(RECEIVE_BUFFER);
  if (libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes, 4) < 0)
    libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUF, bytes, 4);
}

function refuseTaken(spec: PointSpec, mark: number): void {
  const { network, bind, transparent } = spec;
  try {
    libc.close(openSocket({ ...network, mark, transparent, reuseAddress: true, bind }));
  } catch (error) {
    throw listenFailure(spec, error);
  }
}

function listenFailure({ id, network, bind }: PointSpec, cause: unknown): unknown {
  const where = `${network.family === 6 ? `[${bind.address}]` : bind.address}:${bind.port} (${network.protocol}) for ${id}`;
  if (cause instanceof NotPermittedError) {
    const low = bind.port < 1024;
    return new NotPermittedError({
      problem: `Weir may not listen on ${where}.`,
      remedy: low ? 'Choose a port from 1024, run Weir as root, or give it CAP_NET_BIND_SERVICE.' : cause.remedy,
      cause,
    });
  }
  const number = cause instanceof SystemCallError ? cause.errno : 0;
  if (number === EADDRINUSE) {
    return new WeirError('WEIR_LISTEN', {
      problem: `Weir cannot listen on ${where}: another process holds that port.`,
      remedy: `Find it with \`ss -lntup 'sport = :${bind.port}'\` and stop it, or choose another port.`,
      cause,
    });
  }
  if (number === EADDRNOTAVAIL) {
    return new WeirError('WEIR_LISTEN', {
      problem: `Weir cannot listen on ${where}: this host does not have that address.`,
      remedy: 'Choose an address that `ip address` shows.',
      cause,
    });
  }
  return cause;
}
