/** The vocabulary of flows: addresses, prefixes, endpoints, and what is said about a flow when it has ended. */

/** IPv4 or IPv6, by the number people say. */
export type Family = 4 | 6;

/** The transport protocols that Weir captures. */
export type Protocol = 'tcp' | 'udp';

/**
 * A set of addresses that share their first `length` bits.
 * `address` is the number that the address bytes spell in network order (32 bits for IPv4, 128 for IPv6), with every
 * bit after `length` zero. Text forms are made and parsed by `capture/address.ts`.
 */
export interface Prefix {
  readonly family: Family;
  readonly address: bigint;
  /** 0–32 for IPv4, 0–128 for IPv6. */
  readonly length: number;
}

/** An address and a port. `address` is an IP literal without brackets or zone; `port` is 0–65535. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** What a capture decision depends on. Addresses are numbers as in {@link Prefix}. */
export interface FlowKey {
  readonly family: Family;
  readonly protocol: Protocol;
  readonly source: bigint;
  readonly destination: bigint;
  readonly port: number;
}

/** How the bytes of a flow were carried: `splice` by the worker (copy or kernel splice), `stream` by Node streams. */
export type RelayKind = 'none' | 'copy' | 'splice' | 'stream';

/** How a flow ended. Everything but `closed` is a RST on at least one side. */
export type FlowOutcome =
  | 'closed'
  | 'client-reset'
  | 'upstream-reset'
  | 'idle-timeout'
  | 'half-closed-timeout'
  | 'drained'
  | 'denied'
  | 'unmatched'
  | 'worker-died'
  | 'dial-refused'
  | 'dial-timeout'
  | 'dial-unreachable'
  | 'dial-unresolved'
  | 'dial-loop'
  | 'dial-limit'
  | 'dial-protocol'
  | 'dial-error'
  | 'limit'
  | 'error';

/** What is known of one flow, living or ended. One of these is what `weir flows` prints per line. */
export interface FlowRecord {
  /** Unique within one run of Weir. */
  readonly id: string;
  readonly protocol: Protocol;
  readonly interceptor: string;
  readonly source: Endpoint;
  /** Where the application meant to go, before anything was rewritten. */
  readonly original: Endpoint;
  /** The name behind `original`, when Weir's resolver gave that address to a name. */
  readonly name?: string;
  /** The service that took it; absent when none did. */
  readonly service?: string;
  readonly dialer?: string;
  /** Where Weir connected to; absent until a dial was begun. */
  readonly upstream?: Endpoint;
  readonly relay: RelayKind;
  /** Payload bytes from the client to the upstream. */
  readonly bytesUp: number;
  /** Payload bytes from the upstream to the client. */
  readonly bytesDown: number;
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  /** Milliseconds from accept to the end, or to now while the flow lives. */
  readonly durationMs: number;
  /** Milliseconds from accept to the connected upstream; absent when it never connected. */
  readonly connectMs?: number;
  /** Absent while the flow lives. */
  readonly outcome?: FlowOutcome;
}
