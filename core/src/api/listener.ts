/** What a mechanism without capture needs to know of a service: where it listens, and where its flows go. */
import type { ServiceId } from './capture.ts';
import type { Endpoint, Prefix, Protocol } from './flow.ts';

/** A service with `listen:`. */
export interface ServiceListener {
  readonly service: ServiceId;
  readonly name: string;
  readonly listen: Endpoint;
  readonly protocols: readonly Protocol[];
  /** Empty: any client. */
  readonly sources: readonly Prefix[];
  /** The one host and port that flows of this service go to. `host` is an address or a name. */
  readonly target: { readonly host: string; readonly port: number };
}
