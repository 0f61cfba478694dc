/**
 * The canary: a connection that Weir makes to a destination nobody uses, to prove that capture works before it says so.
 * Beside it goes one with the bypass mark, which must not arrive: the proof that Weir does not capture itself.
 */
import type { Canary } from '../api/capture.ts';
import { IneffectiveError, LoopError } from '../api/errors.ts';
import type { CanaryArrival } from '../dataplane/data-plane.ts';
import { ECONNREFUSED, EINPROGRESS, ETIMEDOUT, SystemCallError } from '../sys/errno.ts';
import { errno } from '../sys/library.ts';
import * as libc from '../sys/libc.ts';
import { sockaddr } from '../sys/sockaddr.ts';
import { closeWithReset, openSocket, socketName } from '../sys/sockets.ts';

/** How long a canary may take. Milliseconds. */
const CANARY_TIMEOUT = 1000;

export class CanaryWatch {
  readonly #arrivals: CanaryArrival[] = [];
  #wake: () => void = () => undefined;

  /** The data plane saw one. */
  arrived(arrival: CanaryArrival): void {
    this.#arrivals.push(arrival);
    this.#wake();
  }

  /**
   * Sends the TCP canaries and waits for all of them.
   * @throws IneffectiveError when one does not arrive: the rules are there, and something else decides before them.
   * @throws LoopError when a marked connection arrives; SystemCallError when the host itself refuses to connect.
   */
  async prove(canaries: readonly Canary[], bypassMark: number, signal: AbortSignal): Promise<void> {
    const fds: number[] = [];
    try {
      const marked = new Set<number>();
      const waiting = new Map<number, Canary>();
      for (const canary of canaries) {
        if (canary.protocol !== 'tcp') continue;
        const guard = openSocket({ family: canary.family, protocol: 'tcp', mark: bypassMark });
        fds.push(guard);
        // On a host without a route the marked one cannot even leave, which is as good as not being captured.
        if (this.#connect(guard, canary) === 0) marked.add(socketName(guard).port);
        const fd = openSocket({ family: canary.family, protocol: 'tcp' });
        fds.push(fd);
        const code = this.#connect(fd, canary);
        if (code !== 0) {
          throw new SystemCallError(
            `connect() of the canary to ${canary.address}`,
            code,
            'Give the host a route for that family, or leave out the prefixes and names of that family.',
          );
        }
        waiting.set(socketName(fd).port, canary);
      }
      const deadline = Date.now() + CANARY_TIMEOUT;
      while (waiting.size > 0) {
        for (const arrival of this.#arrivals.splice(0)) {
          if (marked.has(arrival.sourcePort)) {
            throw new LoopError({
              problem: 'A connection with the bypass mark was captured, so Weir would capture its own traffic.',
              remedy:
                'Another program changes the marks of packets; see `weir doctor`, or choose other bits by capture.mark.',
            });
          }
          if (waiting.get(arrival.sourcePort)?.address === arrival.address) waiting.delete(arrival.sourcePort);
        }
        if (waiting.size === 0) break;
        const left = deadline - Date.now();
        if (left <= 0) {
          const missing = [...waiting.values()].map((canary) => `${canary.address}:${canary.port}`).join(' and ');
          throw new IneffectiveError({
            problem: `The rules are in place, but a test connection to ${missing} was not captured within a second.`,
            remedy: 'Look for another table that accepts or drops before ours, an INPUT policy of drop, or rp_filter.',
          });
        }
        signal.throwIfAborted();
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, Math.min(left, 50));
          this.#wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
    } finally {
      this.#wake = () => undefined;
      for (const fd of fds) closeWithReset(fd);
    }
  }

  /** 0 when the connect is under way or was answered, else the errno. */
  #connect(fd: number, canary: Canary): number {
    const name = sockaddr(canary);
    if (libc.connect(fd, name, name.length) === 0) return 0;
    const code = errno();
    return code === EINPROGRESS || code === ECONNREFUSED || code === ETIMEDOUT ? 0 : code;
  }
}
