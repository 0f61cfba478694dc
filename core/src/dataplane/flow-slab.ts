/**
 * Every flow of a worker in a fixed slot of shared memory. The worker that owns the slab is its only writer; anybody may
 * read at any time. Counters are exact while bytes are spliced; a torn read can only mix two moments of one flow.
 *
 * A slot is 256 bytes: 8 float64 at its start, then 48 int32 (byte 64 on).
 */
import type { Endpoint, Family, FlowOutcome, RelayKind } from '../api/flow.ts';
import { bytesToAddress } from '../capture/address.ts';

const SLOT_BYTES = 256;
/** Distance between slots in the float64 view. */
export const F64 = SLOT_BYTES / 8;
/** Distance between slots in the int32 view. */
export const I32 = SLOT_BYTES / 4;

// Fields of the float64 view, from a slot's start.
export const BYTES_UP = 0;
export const BYTES_DOWN = 1;
/** Milliseconds since the epoch. */
export const STARTED_AT = 2;
/** Milliseconds since the epoch; 0 until the upstream is connected. */
export const CONNECTED_AT = 3;
/** Milliseconds since the epoch of the last byte either way. */
export const ACTIVE_AT = 4;
/** When the current dial attempt, handshake or refusal is over; 0: no deadline. */
export const DEADLINE = 5;
/** When all attempts of the dial are over. */
export const DIAL_DEADLINE = 6;

// Fields of the int32 view, from a slot's start.
export const STATE = 16;
export const GENERATION = 17;
export const CLIENT_FD = 18;
export const UPSTREAM_FD = 19;
export const SERVICE = 20;
/** Index of the name behind the original destination plus one; 0: none. */
export const NAME = 21;
/** Index of the dial step that is tried or connected. */
export const STEP = 22;
export const DIALER = 23;
export const RELAY = 24;
export const OUTCOME = 25;
/** Flag words of the two sides; see SIDE_*. Client first. */
export const SIDE = 26;
/** Per direction (up, down): read end and write end of its pipe, or 0, and the bytes in it. */
export const PIPE_READ = 28;
export const PIPE_WRITE = 30;
export const PIPE_BYTES = 32;
/** Per direction: consecutive full reads while copying, consecutive small ones while splicing. */
export const STREAK = 34;
/** Which addresses are tried: cursor in the worker's candidate list. */
export const CANDIDATE = 36;
/** 1 while the slot stands in the ready list. */
export const READY = 37;
/** Address family of source and original (4 or 6), and of the upstream. */
export const FAMILY = 38;
export const UPSTREAM_FAMILY = 39;
export const SOURCE_PORT = 40;
export const ORIGINAL_PORT = 41;
export const UPSTREAM_PORT = 42;
/** 1 while the flow counts against its service's pending dials. */
export const PENDING = 43;
/** Per direction: bytes asked for by one splice; 0 while it is copied. It has a pipe only while bytes are in it. */
export const SPLICING = 44;
/**
 * One more than its place in its point's table of held flows while the mechanism holds its client; 0: it does not.
 * api/held-flows.ts.
 */
export const HELD = 46;
/** Scope of an IPv6 source (sin6_scope_id); 0: none. */
export const SCOPE = 47;
/** Four words each, as the kernel wrote them (network order bytes); IPv4 uses the first. */
export const SOURCE = 48;
export const ORIGINAL = 52;
export const UPSTREAM = 56;
/** Which interceptor's point it came by. */
export const POINT = 60;
/** Errno of the last failed attempt. */
export const ERRNO = 61;
/** IPPROTO_TCP (6) or IPPROTO_UDP (17). */
export const PROTOCOL = 62;
/** The connection by which a relay for datagrams was asked for; -1: none. */
export const CONTROL_FD = 63;

// States.
export const FREE = 0;
/** Waits for control: a name's addresses, or the name behind an address. */
export const RESOLVING = 1;
export const DIALING = 2;
export const HANDSHAKE = 3;
export const RELAYING = 4;
/** Its descriptors belong to a stream worker. */
export const STREAMING = 5;
/** Accepted, and answered with silence until its deadline. */
export const DROPPED = 6;
/** A UDP session with its upstream. */
export const SESSION = 7;
/** Has its upstream; its client is let through now and has not been accepted yet. */
export const AWAITING = 8;

// Flags of a side.
export const SIDE_READABLE = 1;
export const SIDE_WRITABLE = 2;
/** The peer has sent FIN; there may still be bytes before it. */
export const SIDE_RDHUP = 4;
/** Read to the end. */
export const SIDE_EOF = 8;
/** FIN has been passed on to this side. */
export const SIDE_SHUT = 16;
/** EPOLLERR or EPOLLHUP was seen. */
export const SIDE_ERROR = 32;

const OUTCOMES: readonly FlowOutcome[] = [
  'closed',
  'client-reset',
  'upstream-reset',
  'idle-timeout',
  'half-closed-timeout',
  'drained',
  'denied',
  'unmatched',
  'worker-died',
  'dial-refused',
  'dial-timeout',
  'dial-unreachable',
  'dial-unresolved',
  'dial-loop',
  'dial-limit',
  'dial-protocol',
  'dial-error',
  'limit',
  'error',
];
const RELAYS: readonly RelayKind[] = ['none', 'copy', 'splice', 'stream'];

/** The number that stands in OUTCOME for an outcome: its place plus one; 0 while the flow lives. */
export function outcomeCode(outcome: FlowOutcome): number {
  return OUTCOMES.indexOf(outcome) + 1;
}

export function outcomeOf(code: number): FlowOutcome | undefined {
  return OUTCOMES[code - 1];
}

/** Word of the head: messages with descriptors that the worker has read; see hand-overs.ts. */
export const HAND_OVERS_READ = 3;

export const RELAY_COPY = 1;
export const RELAY_SPLICE = 2;
export const RELAY_STREAM = 3;

/** What crosses threads. */
export interface FlowSlabData {
  readonly capacity: number;
  readonly buffer: SharedArrayBuffer;
  /** Word 0: one more than the highest slot ever used; word 1: TCP flows living now; word 2: UDP sessions; {@link HAND_OVERS_READ}. */
  readonly head: SharedArrayBuffer;
}

/** A flow as plain numbers and addresses; ids and names are put in by control. */
export interface SlotSnapshot {
  readonly slot: number;
  readonly generation: number;
  readonly state: number;
  readonly protocol: 'tcp' | 'udp';
  readonly service: number;
  readonly name: number;
  readonly dialer: number;
  readonly point: number;
  readonly source: Endpoint;
  readonly original: Endpoint;
  readonly upstream?: Endpoint;
  readonly relay: RelayKind;
  readonly bytesUp: number;
  readonly bytesDown: number;
  readonly startedAt: number;
  readonly connectedAt: number;
  readonly activeAt: number;
  readonly outcome?: FlowOutcome;
}

/** One view of a slab. Make one per thread over the same data. */
export class FlowSlab {
  readonly capacity: number;
  readonly data: FlowSlabData;
  readonly i32: Int32Array;
  readonly f64: Float64Array;
  readonly head: Int32Array;
  readonly #bytes: Uint8Array;

  constructor(data: FlowSlabData) {
    this.data = data;
    this.capacity = data.capacity;
    this.i32 = new Int32Array(data.buffer);
    this.f64 = new Float64Array(data.buffer);
    this.#bytes = new Uint8Array(data.buffer);
    this.head = new Int32Array(data.head);
  }

  /** Fresh shared memory for `capacity` flows; untouched slots cost nothing. */
  static allocate(capacity: number): FlowSlabData {
    return { capacity, buffer: new SharedArrayBuffer(capacity * SLOT_BYTES), head: new SharedArrayBuffer(16) };
  }

  /**
   * An empty slab in place of that of a dead worker. Generations go on: what others still say of a flow of the dead, e.g.
   * the stream worker, must not be taken for said of one of the successor's.
   */
  static successor(dead: FlowSlab): FlowSlab {
    const slab = new FlowSlab(FlowSlab.allocate(dead.capacity));
    for (let slot = 0; slot < (dead.head[0] as number); slot++) {
      slab.i32[slot * I32 + GENERATION] = dead.generation(slot);
    }
    return slab;
  }

  /** The bytes of a slot, for the record ring. */
  slotBytes(slot: number): Uint8Array {
    return this.#bytes.subarray(slot * SLOT_BYTES, (slot + 1) * SLOT_BYTES);
  }

  /** The slots of living flows. */
  *living(): Iterable<number> {
    for (let slot = 0; slot < (this.head[0] as number); slot++) {
      if (this.i32[slot * I32 + STATE] !== FREE) yield slot;
    }
  }

  /** Numbers of the names behind living flows, once per flow. */
  names(): number[] {
    return [...this.living()].flatMap((slot) => {
      const name = this.i32[slot * I32 + NAME] as number;
      return name === 0 ? [] : [name - 1];
    });
  }

  /** The original destination of a flow. */
  destination(slot: number): string {
    return this.#address(slot, ORIGINAL, this.i32[slot * I32 + FAMILY] as Family);
  }

  /** The original destinations of living flows to the name with that number. */
  destinations(name: number): string[] {
    return [...this.living()].flatMap((slot) =>
      this.i32[slot * I32 + NAME] === name + 1 ? [this.destination(slot)] : [],
    );
  }

  /** Which flow of that slot it is; grows with each. */
  generation(slot: number): number {
    return this.i32[slot * I32 + GENERATION] as number;
  }

  snapshot(slot: number): SlotSnapshot {
    const i = slot * I32;
    const f = slot * F64;
    const { i32, f64 } = this;
    const at = (field: number): number => i32[i + field] as number;
    const family = at(FAMILY) as Family;
    const upstreamFamily = at(UPSTREAM_FAMILY) as Family | 0;
    const outcome = outcomeOf(at(OUTCOME));
    return {
      slot,
      generation: at(GENERATION),
      state: at(STATE),
      protocol: at(PROTOCOL) === 17 ? 'udp' : 'tcp',
      service: at(SERVICE),
      name: at(NAME),
      dialer: at(DIALER),
      point: at(POINT),
      source: { address: this.#address(slot, SOURCE, family), port: at(SOURCE_PORT) },
      original: { address: this.#address(slot, ORIGINAL, family), port: at(ORIGINAL_PORT) },
      ...(upstreamFamily === 0
        ? {}
        : { upstream: { address: this.#address(slot, UPSTREAM, upstreamFamily), port: at(UPSTREAM_PORT) } }),
      relay: RELAYS[at(RELAY)] ?? 'none',
      bytesUp: f64[f + BYTES_UP] as number,
      bytesDown: f64[f + BYTES_DOWN] as number,
      startedAt: f64[f + STARTED_AT] as number,
      connectedAt: f64[f + CONNECTED_AT] as number,
      activeAt: f64[f + ACTIVE_AT] as number,
      ...(outcome === undefined ? {} : { outcome }),
    };
  }

  #address(slot: number, field: number, family: Family): string {
    const start = slot * SLOT_BYTES + field * 4;
    const bytes = this.#bytes;
    // Every flow that ends has three of these.
    if (family !== 6) return `${bytes[start]}.${bytes[start + 1]}.${bytes[start + 2]}.${bytes[start + 3]}`;
    // A copy: the view is of shared memory, and text is made of it in more than one step.
    return bytesToAddress(bytes.slice(start, start + 16));
  }
}

/** Bytes of one slot; the size of a record in the ring. */
export const FLOW_SLOT_BYTES = SLOT_BYTES;
