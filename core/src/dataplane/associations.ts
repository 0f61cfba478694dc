/**
 * Sessions whose datagrams go through a relay: the tunnel of each, and the control connection by which the relay was asked
 * for (RFC 1928, section 6: the association ends when that connection does). Bounded by the sessions.
 */
import type { DatagramTunnel } from '../api/dialer.ts';
import type { FlowOutcome } from '../api/flow.ts';
import { isAddress } from '../capture/address.ts';
import {
  IPPROTO_TCP,
  MSG_DONTWAIT,
  SO_KEEPALIVE,
  SOL_SOCKET,
  TCP_KEEPCNT,
  TCP_KEEPIDLE,
  TCP_KEEPINTVL,
} from '../sys/constants.ts';
import { EAGAIN, EINTR } from '../sys/errno.ts';
import { errno } from '../sys/library.ts';
import * as libc from '../sys/libc.ts';
import { dialAddress, type DialAddress } from './address-cache.ts';
import { outcomeOfErrno } from './dial-outcome.ts';
import { CONTROL_FD, I32, UPSTREAM, UPSTREAM_FAMILY, type FlowSlab } from './flow-slab.ts';
import type { FlowLifecycle } from './flow-lifecycle.ts';
import type { UpstreamConnect } from './upstream-connect.ts';

const READ_SIZE = 4096;
/** Reads of one turn; nothing is expected, so an upstream that sends more keeps no protocol. */
const READS = 4;

/** Nothing is sent by a control connection: without probes a proxy that has lost its power would never be missed. Seconds. */
const KEEP_ALIVE: ReadonlyArray<readonly [level: number, name: number, value: Int32Array]> = [
  [SOL_SOCKET, SO_KEEPALIVE, Int32Array.of(1)],
  [IPPROTO_TCP, TCP_KEEPIDLE, Int32Array.of(15)],
  [IPPROTO_TCP, TCP_KEEPINTVL, Int32Array.of(5)],
  [IPPROTO_TCP, TCP_KEEPCNT, Int32Array.of(3)],
];

const UNSPECIFIED: readonly string[] = ['0.0.0.0', '::'];

export interface AssociationsParts {
  readonly slab: FlowSlab;
  readonly flows: FlowLifecycle;
  readonly upstreams: UpstreamConnect;
}

export class Associations {
  readonly #parts: AssociationsParts;
  readonly #tunnels: Map<number, DatagramTunnel>;
  readonly #buffer = new Uint8Array(READ_SIZE);

  /** @param tunnels by slot; whoever ends sessions takes them out */
  constructor(parts: AssociationsParts, tunnels: Map<number, DatagramTunnel>) {
    this.#parts = parts;
    this.#tunnels = tunnels;
  }

  /** How the datagrams of a session travel; undefined: as they are. */
  tunnelOf(slot: number): DatagramTunnel | undefined {
    return this.#tunnels.size === 0 ? undefined : this.#tunnels.get(slot);
  }

  /**
   * The handshake on the slot's upstream is done: its connection becomes the control connection, and a socket to the
   * relay the upstream.
   * @returns why that could not be; the caller closes both.
   */
  begin(slot: number, tunnel: DatagramTunnel | undefined): FlowOutcome | undefined {
    const { slab, flows, upstreams } = this.#parts;
    const { i32 } = slab;
    const i = slot * I32;
    const port = tunnel?.relay.port ?? 0;
    if (tunnel === undefined || !Number.isInteger(port) || port < 1 || port > 65_535) return 'dial-error';
    const host = tunnel.relay.host ?? '';
    let to: DialAddress;
    if (host === '' || UNSPECIFIED.includes(host)) {
      to = { family: i32[i + UPSTREAM_FAMILY] as 4 | 6, words: i32.slice(i + UPSTREAM, i + UPSTREAM + 4) };
    } else if (isAddress(host)) to = dialAddress(host);
    else return 'dial-error';
    if (!flows.keepAsControl(slot)) return 'dial-error';
    for (const [level, name, value] of KEEP_ALIVE) {
      libc.setsockopt(i32[i + CONTROL_FD] as number, level, name, value, 4);
    }
    const code = upstreams.connect(slot, to, port, true);
    if (code !== 0) return outcomeOfErrno(code);
    this.#tunnels.set(slot, tunnel);
    return undefined;
  }

  /** The control connection is readable or gone. `failed`: it was reset. */
  controlEvent(slot: number, ended: boolean, failed: boolean): void {
    const { slab, flows } = this.#parts;
    if (failed || ended) {
      // By FIN in order, as when the relay has found the session idle; the next datagram asks for another.
      flows.finish(slot, failed ? 'upstream-reset' : 'closed');
      return;
    }
    const fd = slab.i32[slot * I32 + CONTROL_FD] as number;
    for (let reads = 0; reads < READS; reads++) {
      const got = libc.recv(fd, this.#buffer, READ_SIZE, MSG_DONTWAIT);
      if (got > 0) continue;
      const code = got < 0 ? errno() : 0;
      if (code === EINTR) continue;
      if (code !== EAGAIN) flows.finish(slot, got === 0 ? 'closed' : 'upstream-reset');
      return;
    }
    flows.finish(slot, 'upstream-reset');
  }
}
