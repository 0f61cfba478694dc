/** Capture points: the kernel sockets on which captured flows arrive. Core opens and owns them; plugins only ask. */
import type { ServiceId } from './capture.ts';
import type { Endpoint, Family, Prefix, Protocol } from './flow.ts';

/** How a captured flow's original destination is learnt. */
export type OriginalDestination =
  /** It is the accepted socket's own name (TPROXY, sk_lookup). */
  | { readonly via: 'socket-name' }
  /**
   * It stands in a table that the plugin writes, beside the real source: flows of this point come from addresses and
   * ports that the plugin gave them, and those say where. Layout: nat-table.ts. Others that connect are refused.
   * `held`, of TCP: flows are announced there before they connect, so that their upstreams are dialled first; see
   * held-flows.ts.
   */
  | { readonly via: 'nat-table'; readonly table: SharedArrayBuffer; readonly held?: SharedArrayBuffer }
  /** The point serves one service with one target. */
  | {
      readonly via: 'fixed';
      readonly service: ServiceId;
      readonly target: { readonly host: string; readonly port: number };
      /** Clients from elsewhere are refused; absent or empty: any. */
      readonly sources?: readonly Prefix[];
    };

/** What a plugin asks for. Core opens one SO_REUSEPORT socket per worker and lends the descriptors. */
export interface PointSpec {
  /** Unique within the plugin, e.g. `tcp4`. */
  readonly id: string;
  readonly network: { readonly family: Family; readonly protocol: Protocol };
  /** Port 0: the kernel chooses one, the same for all workers of the point. */
  readonly bind: Endpoint;
  /** Sets IP_TRANSPARENT / IPV6_TRANSPARENT, so that the socket may carry foreign addresses. */
  readonly transparent: boolean;
  readonly original: OriginalDestination;
}

/** A point that is open. Valid until the next start, update or rebind; the descriptors stay core's. */
export interface BoundPoint extends PointSpec {
  /** The port it listens on. */
  readonly port: number;
  /** One descriptor per worker, in worker order. */
  readonly fds: readonly number[];
}
