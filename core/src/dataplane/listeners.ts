/** Opens capture points: for each point one SO_REUSEPORT socket per worker, all on the same port. */
import type { BoundPoint, PointSpec } from '../api/point.ts';
import { IPPROTO_TCP, TCP_NODELAY } from '../sys/constants.ts';
import { checked } from '../sys/errno.ts';
import * as libc from '../sys/libc.ts';
import { openSocket, setOption, socketName } from '../sys/sockets.ts';

/** The kernel clamps it to net.core.somaxconn. */
const BACKLOG = 4096;

/**
 * @param mark fwmark of the sockets; accepted ones inherit it, so that replies are not captured again.
 * @returns the points with their ports; the caller closes the descriptors with `closePoints`.
 * @throws NotPermittedError, SystemCallError; nothing stays open then.
 */
export function openPoints(specs: readonly PointSpec[], workers: number, mark: number): readonly BoundPoint[] {
  const points: BoundPoint[] = [];
  const fds: number[] = [];
  try {
    for (const spec of specs) {
      let port = spec.bind.port;
      const own: number[] = [];
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
        own.push(fd);
        if (port === 0) port = socketName(fd).port;
        if (spec.network.protocol === 'tcp') {
          // Accepted sockets inherit it: a call less per flow.
          setOption(fd, IPPROTO_TCP, TCP_NODELAY, 1, 'setsockopt(TCP_NODELAY)', 'Report this.');
          checked(libc.listen(fd, BACKLOG), `listen() on port ${port}`, 'Free the port or configure another one.');
        }
      }
      points.push({ ...spec, port, fds: own });
    }
    return points;
  } catch (error) {
    for (const fd of fds) libc.close(fd);
    throw error;
  }
}

export function closePoints(points: readonly BoundPoint[]): void {
  for (const point of points) for (const fd of point.fds) libc.close(fd);
}
