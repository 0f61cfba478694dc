/** The door for interceptors without kernel sockets: the in-memory one of the testing kit, a user-space stack. */
import type { Duplex } from 'node:stream';
import type { FlowKey } from './flow.ts';

/** A captured connection as a Node stream. */
export interface OfferedFlow {
  readonly key: FlowKey;
  readonly sourcePort: number;
  /** Core takes it over; it ends with end() on FIN and destroy(error) on RST. */
  readonly stream: Duplex;
}

export interface FlowSink {
  /** Decides, dials and relays the flow. Resolves when it has ended; never rejects for a flow's own failure. */
  offer(flow: OfferedFlow): Promise<void>;
}
