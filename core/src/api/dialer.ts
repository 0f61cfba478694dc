/**
 * A dialer decides how a flow gets its upstream. Three kinds, by how much of the work the kernel and the splice worker
 * can do alone: a *route* is dialled by the worker itself; a *handshake* is a route on which bytes are exchanged before
 * the flow's own; a *stream* is anything else and runs in a thread of Node streams.
 */
import type { Duplex } from 'node:stream';
import type { Endpoint, Protocol } from './flow.ts';
import type { Logger } from './logger.ts';
import type { StandardSchema } from './schema.ts';

/** Where a flow wants to go. */
export interface DialTarget {
  /** The name where there is one, else the original address. */
  readonly host: string;
  readonly port: number;
  readonly protocol: Protocol;
  readonly original: Endpoint;
  readonly source: Endpoint;
  readonly service: string;
  /** Who the client is, where an ingress has proved it (e.g. a SPIFFE id). */
  readonly identity?: string;
  /** The flow's id, for logs. */
  readonly flow: string;
}

/**
 * Where the worker connects to. `host` is an address or a name (resolved through upstreams, never through Weir's own
 * zone, and kept no longer than its TTL); without it, the flow's own destination: the real address of its name, or the
 * original address. `port` likewise.
 */
export interface Route {
  readonly host?: string;
  readonly port?: number;
}

/** The part of a service that a dialer may see. */
export interface DialedService {
  readonly name: string;
  readonly protocols: readonly Protocol[];
}

/** Replaces what the worker dials for this service, in order of preference. An empty list refuses new flows. */
export type PublishRoutes = (routes: readonly Route[]) => void;

/** The splice worker dials by itself. */
export interface RouteDialer {
  readonly kind: 'route';
  /** Publishes once before returning or soon after, and again whenever names or health change, until `signal` aborts. */
  routes(service: DialedService, publish: PublishRoutes, signal: AbortSignal): void;
}

/**
 * How the datagrams of one session travel once its handshake is done: bytes only, no I/O. The worker sends and receives,
 * by a socket that is connected to `relay`, and keeps the connection of the handshake as long as the session lives: when
 * either ends, so does the other.
 */
export interface DatagramTunnel {
  /**
   * Where encapsulated datagrams go. `host` is an address; without it, and for the unspecified one, the address that the
   * handshake was made with.
   */
  readonly relay: { readonly host?: string; readonly port: number };
  /** One datagram of the client as the relay wants it. What it throws drops the datagram, which is counted. */
  encapsulate(datagram: Uint8Array): Uint8Array;
  /**
   * One datagram of the relay as the client gets it, best a part of the input, which is not copied then. Undefined: it is
   * not for the client; it is dropped and counted. The input is valid during the call only.
   */
  decapsulate(datagram: Uint8Array): Uint8Array | undefined;
}

/** What a handshake answers to the bytes it was given. */
export interface HandshakeStep {
  readonly send?: Uint8Array;
  /** How many bytes of the input belong to the handshake; the rest stays for the flow. */
  readonly consumed: number;
  readonly done: boolean;
  /** With `done`, and needed there when the target's protocol is UDP. */
  readonly tunnel?: DatagramTunnel;
}

/** One handshake of one flow. No I/O, no clock, no await. */
export interface Handshake {
  /**
   * Called first with no bytes, then with what the upstream sent and `step` has not consumed.
   * @throws DialError when the upstream refuses or breaks the protocol.
   */
  step(input: Uint8Array): HandshakeStep;
}

/**
 * The worker connects to a route by TCP, then plays the handshake, then splices; a UDP session gets a
 * {@link DatagramTunnel} instead. `handshake` runs in the worker.
 */
export interface HandshakeDialer {
  readonly kind: 'handshake';
  routes(service: DialedService, publish: PublishRoutes, signal: AbortSignal): void;
  handshake(target: DialTarget): Handshake;
}

/** A connected TCP socket as a bare descriptor. Whoever holds it closes it. */
export interface OwnedFd {
  readonly fd: number;
}

/** Anything else. A plain TCP upstream may be handed to the splice relay with `socket`, after `early` was delivered. */
export interface StreamDialer {
  readonly kind: 'stream';
  /** @throws DialError; an abort of `signal` ends the dial and frees what it holds. */
  dial(
    target: DialTarget,
    options: { readonly signal: AbortSignal },
  ): Promise<{ readonly stream: Duplex } | { readonly socket: OwnedFd; readonly early?: Uint8Array }>;
  close(): Promise<void>;
}

export type Dialer = RouteDialer | HandshakeDialer | StreamDialer;

/** What core lends to a dialer. */
export interface DialerContext {
  /** The dialer's name in the configuration. */
  readonly name: string;
  /** fwmark for sockets that the dialer opens itself, so that they are not captured; 0 where nothing is. */
  readonly bypassMark: number;
  /** Silent in workers, where handshakes and stream dialers run: throw what is to be known. */
  readonly log: Logger;
}

/** What a plugin registers: `type` is the word in `dialers: { corp: { type: … } }`. */
export interface DialerDefinition<Options = unknown> {
  readonly type: string;
  readonly kind: Dialer['kind'];
  /**
   * What its flows may be; absent: TCP and UDP for a route, TCP for all else. A service with a protocol that one of its
   * dialers does not carry is an error of the configuration. A stream dialer carries no UDP.
   */
  readonly protocols?: readonly Protocol[];
  /** Validates what the configuration gives; `create` gets its output. `defineDialer` checks the types. */
  readonly options: StandardSchema;
  /** The module whose export `dialer` is this definition; workers import it again. */
  readonly module: URL;
  create(options: Options, context: DialerContext): Dialer;
}

/** What flows of a dialer of this definition may be. */
export function protocolsOfDialer({
  kind,
  protocols,
}: Pick<DialerDefinition, 'kind' | 'protocols'>): readonly Protocol[] {
  return protocols ?? (kind === 'route' ? ['tcp', 'udp'] : ['tcp']);
}
