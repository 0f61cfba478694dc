/** Which endpoints are Weir's own listeners, so that no query is ever sent in a circle. */
import { networkInterfaces } from 'node:os';
import type { Endpoint } from '../api/flow.ts';
import type { DnsListen } from '../config/model.ts';

/** Milliseconds that the host's addresses are remembered. */
const ADDRESSES_AGE = 5000;

/** Linux takes a connection to the unspecified address as one to loopback. */
export function reachable(address: string): string {
  if (address === '0.0.0.0') return '127.0.0.1';
  return address === '::' ? '::1' : address;
}

export class OwnEndpoints {
  readonly #exact = new Set<string>();
  readonly #anyAddress = new Set<number>();
  #local = new Set<string>();
  #readAt = Number.NEGATIVE_INFINITY;

  constructor(listening: readonly DnsListen[]) {
    for (const { endpoint } of listening) {
      if (endpoint.address === '0.0.0.0' || endpoint.address === '::') this.#anyAddress.add(endpoint.port);
      this.#exact.add(`${reachable(endpoint.address)} ${endpoint.port}`);
    }
  }

  has({ address, port }: Endpoint): boolean {
    const target = reachable(address);
    if (this.#exact.has(`${target} ${port}`)) return true;
    return this.#anyAddress.has(port) && this.#isLocal(target);
  }

  #isLocal(address: string): boolean {
    if (address.startsWith('127.') || address === '::1') return true;
    const now = performance.now();
    if (now - this.#readAt > ADDRESSES_AGE) {
      this.#readAt = now;
      this.#local = new Set(
        Object.values(networkInterfaces()).flatMap((list) => list?.map((one) => one.address) ?? []),
      );
    }
    return this.#local.has(address.replace(/%.*/, ''));
  }
}
