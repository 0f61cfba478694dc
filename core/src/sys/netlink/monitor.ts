/**
 * Tells that links, addresses, routes or rules of the namespace changed, also when Weir itself changed them. It does not
 * say what they are now: whoever listens looks again. rtnetlink(7), multicast groups.
 */
import { MSG_DONTWAIT } from '../constants.ts';
import { EINTR, ENOBUFS } from '../errno.ts';
import { errno } from '../library.ts';
import * as libc from '../libc.ts';
import {
  NETLINK_ROUTE,
  RTM_DELADDR,
  RTM_DELLINK,
  RTM_DELROUTE,
  RTM_DELRULE,
  RTM_NEWADDR,
  RTM_NEWLINK,
  RTM_NEWROUTE,
  RTM_NEWRULE,
  RTNLGRP_IPV4_IFADDR,
  RTNLGRP_IPV4_ROUTE,
  RTNLGRP_IPV4_RULE,
  RTNLGRP_IPV6_IFADDR,
  RTNLGRP_IPV6_ROUTE,
  RTNLGRP_IPV6_RULE,
  RTNLGRP_LINK,
} from './constants.ts';
import { decodeMessages } from './message.ts';
import { openNetlink } from './socket.ts';

export type RouteChange = 'link' | 'address' | 'route' | 'rule';

const KINDS: ReadonlyMap<number, RouteChange> = new Map([
  [RTM_NEWLINK, 'link'],
  [RTM_DELLINK, 'link'],
  [RTM_NEWADDR, 'address'],
  [RTM_DELADDR, 'address'],
  [RTM_NEWROUTE, 'route'],
  [RTM_DELROUTE, 'route'],
  [RTM_NEWRULE, 'rule'],
  [RTM_DELRULE, 'rule'],
]);

const ALL: ReadonlySet<RouteChange> = new Set(['link', 'address', 'route', 'rule']);

const GROUPS = [
  RTNLGRP_LINK,
  RTNLGRP_IPV4_IFADDR,
  RTNLGRP_IPV6_IFADDR,
  RTNLGRP_IPV4_ROUTE,
  RTNLGRP_IPV6_ROUTE,
  RTNLGRP_IPV4_RULE,
  RTNLGRP_IPV6_RULE,
];

/** Datagrams read in one poll; a busier namespace is finished at the next one. */
const PER_POLL = 1000;

export class RouteMonitor implements Disposable {
  /** Readable when something changed. Closed by `close`. */
  readonly fd: number;
  readonly #buffer = Buffer.allocUnsafe(64 * 1024);
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  /** Watches the calling thread's network namespace. @throws NotPermittedError, SystemCallError. */
  constructor() {
    this.fd = openNetlink(NETLINK_ROUTE, GROUPS);
  }

  /** What kinds of objects changed since the last poll. Never waits. All of them after an overrun. */
  poll(): ReadonlySet<RouteChange> {
    if (this.#closed) return new Set();
    const changed = new Set<RouteChange>();
    for (let count = 0; count < PER_POLL; count++) {
      const n = libc.recv(this.fd, this.#buffer, this.#buffer.length, MSG_DONTWAIT);
      if (n < 0) {
        const number = errno();
        if (number === EINTR) continue;
        // The kernel dropped notices: anything may have changed.
        if (number === ENOBUFS) return ALL;
        return changed;
      }
      for (const message of decodeMessages(this.#buffer.subarray(0, n))) {
        const kind = KINDS.get(message.type);
        if (kind) changed.add(kind);
      }
    }
    return changed;
  }

  /**
   * Polls every `intervalMs` and calls back when something changed. The timer does not keep the process alive.
   * @returns the way to stop; `close` stops too.
   */
  watch(listener: (changed: ReadonlySet<RouteChange>) => void, intervalMs = 250): () => void {
    const stop = () => clearInterval(timer);
    const timer = setInterval(() => {
      const changed = this.poll();
      if (changed.size > 0) listener(changed);
    }, intervalMs).unref();
    clearInterval(this.#timer);
    this.#timer = timer;
    return stop;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    libc.close(this.fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
