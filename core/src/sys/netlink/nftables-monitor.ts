/**
 * Tells that the nftables ruleset of the namespace changed, also when Weir itself changed it, and not how. Every table of
 * every program counts. linux/netfilter/nfnetlink.h, multicast group NFNLGRP_NFTABLES.
 */
import { MSG_DONTWAIT } from '../constants.ts';
import { EINTR, ENOBUFS } from '../errno.ts';
import { errno } from '../library.ts';
import * as libc from '../libc.ts';
import { NETLINK_NETFILTER } from './constants.ts';
import { openNetlink } from './socket.ts';

const NFNLGRP_NFTABLES = 7;

/** Datagrams read in one poll; a large transaction is finished at the next one. */
const PER_POLL = 1000;

export class NftablesMonitor implements Disposable {
  readonly #fd: number;
  readonly #buffer = Buffer.allocUnsafe(64 * 1024);
  #closed = false;

  /** Watches the calling thread's network namespace. @throws NotPermittedError without CAP_NET_ADMIN; SystemCallError. */
  constructor() {
    this.#fd = openNetlink(NETLINK_NETFILTER, [NFNLGRP_NFTABLES]);
  }

  /** Whether anything changed since the last poll. Never waits. */
  poll(): boolean {
    if (this.#closed) return false;
    let changed = false;
    for (let count = 0; count < PER_POLL; count++) {
      const n = libc.recv(this.#fd, this.#buffer, this.#buffer.length, MSG_DONTWAIT);
      if (n >= 0) {
        changed = true;
        continue;
      }
      const number = errno();
      if (number === EINTR) continue;
      // ENOBUFS: the kernel had more to tell than there was room for.
      return changed || number === ENOBUFS;
    }
    return changed;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    libc.close(this.#fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
