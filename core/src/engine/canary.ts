/**
 * The canary: a connection or datagram that Weir sends to a destination nobody uses, to prove that capture works before
 * it says so. Beside it goes one with the bypass mark, which must not arrive: the proof that Weir does not capture itself.
 */
import type { Canary } from '../api/capture.ts';
import { IneffectiveError, LoopError } from '../api/errors.ts';
import type { CanaryArrival } from '../dataplane/data-plane-host.ts';
import { MSG_DONTWAIT } from '../sys/constants.ts';
import { ECONNREFUSED, EINPROGRESS, ETIMEDOUT, SystemCallError } from '../sys/errno.ts';
import { errno } from '../sys/library.ts';
import * as libc from '../sys/libc.ts';
import { sockaddr } from '../sys/sockaddr.ts';
import { closeWithReset, openSocket, socketName } from '../sys/sockets.ts';

/** How long a canary may take, and how often a datagram that has not arrived is sent again. Milliseconds. */
const CANARY_TIMEOUT = 1000;
const RESEND = 200;

/** What a datagram canary carries; nobody reads it. */
const PAYLOAD = Buffer.from('weir canary');

/** One that is on its way. */
interface Sent {
  readonly fd: number;
  readonly canary: Canary;
}

export class CanaryWatch {
  readonly #arrivals: CanaryArrival[] = [];
  #wake: () => void = () => undefined;

  /** The data plane saw one. */
  arrived(arrival: CanaryArrival): void {
    this.#arrivals.push(arrival);
    this.#wake();
  }

  /**
   * Sends the canaries and waits for all of them.
   * @throws IneffectiveError when one does not arrive: the rules are there, and something else decides before them.
   * @throws LoopError when a marked one arrives; SystemCallError when the host itself refuses to connect.
   */
  async prove(canaries: readonly Canary[], bypassMark: number, signal: AbortSignal): Promise<void> {
    const fds: number[] = [];
    try {
      const marked = new Set<string>();
      const waiting = new Map<string, Sent>();
      for (const canary of canaries) {
        const { family, protocol } = canary;
        const guard = openSocket({ family, protocol, mark: bypassMark });
        fds.push(guard);
        // On a host without a route the marked one cannot even leave, which is as good as not being captured.
        if (send(guard, canary) === 0) marked.add(keyOf(guard, canary));
        const fd = openSocket({ family, protocol });
        fds.push(fd);
        const code = send(fd, canary);
        if (code !== 0) {
          throw new SystemCallError(
            `connect() of the ${protocol} canary to ${canary.address}`,
            code,
            'Give the host a route for that family, or leave out the prefixes and names of that family.',
          );
        }
        waiting.set(keyOf(fd, canary), { fd, canary });
      }
      await this.#wait(waiting, marked, signal);
    } finally {
      this.#wake = () => undefined;
      for (const fd of fds) closeWithReset(fd);
    }
  }

  /** Until nothing is waited for. */
  async #wait(waiting: Map<string, Sent>, marked: ReadonlySet<string>, signal: AbortSignal): Promise<void> {
    const deadline = Date.now() + CANARY_TIMEOUT;
    let resendAt = Date.now() + RESEND;
    for (;;) {
      for (const { protocol, address, port, sourcePort } of this.#arrivals.splice(0)) {
        const key = keyText(protocol, address, port, sourcePort);
        if (marked.has(key)) {
          throw new LoopError({
            problem: 'A connection with the bypass mark was captured, so Weir would capture its own traffic.',
            remedy:
              'Another program changes the marks of packets; see `weir doctor`, or choose other bits by capture.mark.',
          });
        }
        waiting.delete(key);
      }
      if (waiting.size === 0) return;
      const now = Date.now();
      if (now >= deadline) throw ineffective([...waiting.values()].map(({ canary }) => canary));
      if (now >= resendAt) {
        resendAt = now + RESEND;
        for (const { fd, canary } of waiting.values()) if (canary.protocol === 'udp') sendDatagram(fd);
      }
      signal.throwIfAborted();
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(deadline - now, 50));
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}

function ineffective(missing: readonly Canary[]): IneffectiveError {
  const what = missing.map(({ protocol, address, port }) => `${protocol} ${address} port ${port}`).join(' and ');
  return new IneffectiveError({
    problem: `The rules are in place, but a test flow to ${what} was not captured within a second.`,
    remedy: 'Look for another table that accepts or drops before ours, an INPUT policy of drop, or rp_filter.',
  });
}

function keyText(protocol: string, address: string, port: number, sourcePort: number): string {
  return `${protocol} ${address} ${port} ${sourcePort}`;
}

/** What the data plane will see of a socket that was connected. */
function keyOf(fd: number, { protocol, address, port }: Canary): string {
  return keyText(protocol, address, port, socketName(fd).port);
}

/** 0 when the connect is under way or was answered, or the datagram has gone; else the errno of connect(). */
function send(fd: number, canary: Canary): number {
  const name = sockaddr(canary);
  if (libc.connect(fd, name, name.length) !== 0) {
    const code = errno();
    return code === EINPROGRESS || code === ECONNREFUSED || code === ETIMEDOUT ? 0 : code;
  }
  if (canary.protocol === 'udp') sendDatagram(fd);
  return 0;
}

/** A refusal needs no look: what was not sent does not arrive. */
function sendDatagram(fd: number): void {
  libc.send(fd, PAYLOAD, PAYLOAD.length, MSG_DONTWAIT);
}
