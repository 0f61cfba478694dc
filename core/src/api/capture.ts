/**
 * The capture set: all services compiled to rows. It is what every interceptor must steer, and nothing else. Core makes
 * it (`capture/compile.ts`), and `capture/decide.ts` is the reference that says what it means.
 */
import type { Family, Prefix, Protocol } from './flow.ts';

/** A service's place in the run's list. Stable while the service lives, also over a reload; never reused in one run. */
export type ServiceId = number;

/** The pseudo-service of the assigned DNS ranges: the data plane finds the real one by the name behind the address. */
export const NAMES_SERVICE: ServiceId = 0;

/** The pseudo-service of the canaries: the data plane reports the arrival and closes. */
export const CANARY_SERVICE: ServiceId = 1;

/** The pseudo-services of `resolver.reach: capture`: port 53 of the host's servers, carried to Weir's own resolver. */
export const RESOLVER_SERVICES: Readonly<Record<Protocol, ServiceId>> = { udp: 2, tcp: 3 };

/** The first id given to a configured service. */
export const FIRST_SERVICE: ServiceId = 16;

/**
 * What happens to a flow. `steer`: to a capture point, for that service. `spare`: left alone, as if Weir were not there
 * (exclusions). `deny`: steered, and refused by the data plane with RST or silence.
 */
export type Verdict = { readonly steer: ServiceId } | 'spare' | 'deny';

/** The first choice whose sources contain the flow's source decides. */
export interface CaptureChoice {
  /** Empty: any source. */
  readonly sources: readonly Prefix[];
  readonly verdict: Verdict;
}

/** One stretch of ports of one protocol in one row. Bounds are inclusive. */
export interface CapturePorts {
  readonly protocol: Protocol;
  readonly first: number;
  readonly last: number;
  /** In order of precedence. A choice without sources is the last one; what comes after it could never be reached. */
  readonly choices: readonly CaptureChoice[];
}

/**
 * What holds for one prefix. Rows are complete: `ports` already contains what shorter prefixes contribute, is sorted by
 * protocol and first port, and its stretches are disjoint. So longest-prefix match and one look-up in a disjoint list
 * are all that a mechanism evaluates; it never goes on to a shorter prefix.
 */
export interface CaptureRow {
  readonly prefix: Prefix;
  readonly ports: readonly CapturePorts[];
}

/** Which traffic of the host is looked at. */
export interface CaptureScopes {
  /** Connections made by processes of this host. */
  readonly output: boolean;
  /** Packets that enter by these interfaces and are passed on; `undefined` when forwarded traffic is left alone. */
  readonly forward?: { readonly interfaces: readonly string[] };
}

/** Processes whose traffic is looked at, or not. */
export type OwnerMatch =
  | { readonly kind: 'uid' | 'gid'; readonly first: number; readonly last: number }
  | { readonly kind: 'cgroup'; readonly path: string };

export interface CaptureOwners {
  /** Empty: all processes. */
  readonly only: readonly OwnerMatch[];
  readonly except: readonly OwnerMatch[];
}

/** A destination that nobody uses; a connection to it proves that capture works. It has a row of its own in the set. */
export interface Canary {
  readonly family: Family;
  readonly protocol: Protocol;
  readonly address: string;
  readonly port: number;
}

export interface CaptureSet {
  /** Grows with each change of the set within one run. */
  readonly generation: number;
  /**
   * One per distinct prefix, sorted by family, address, then length. A row that says what it said in the set before is
   * the same object, so that what was made of it can be kept by it. Never changed.
   */
  readonly rows: readonly CaptureRow[];
  readonly scopes: CaptureScopes;
  readonly owners: CaptureOwners;
  readonly canaries: readonly Canary[];
}
