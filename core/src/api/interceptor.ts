/**
 * An interceptor is one capture mechanism: it steers matching flows to capture points and can undo it. It never touches
 * a flow's bytes: the data plane accepts, dialers dial, the relay splices.
 *
 * Order in which core calls, and what may be assumed at each call:
 *
 *   probe ─► provision ─► start ─► (update | verify | repair | rebind)* ─► drain ─► stop
 *
 * Between provision and start core opens the points that provision asked for. `stop` may follow anything, also a
 * failure. One call at a time; core never calls two hooks of one instance at once.
 */
import type { CaptureSet } from './capture.ts';
import type { Family, Protocol } from './flow.ts';
import type { HostChanges, HostFacts, HostNumbers } from './host.ts';
import type { ServiceListener } from './listener.ts';
import type { Logger } from './logger.ts';
import type { BoundPoint, PointSpec } from './point.ts';
import type { StandardSchema } from './schema.ts';

/** Something that is missing, and how to get it. `remedy` is an imperative sentence, often a command. */
export interface MissingRequirement {
  readonly kind: 'kernel' | 'capability' | 'module' | 'device' | 'library' | 'binary' | 'sysctl' | 'config' | 'build';
  readonly name: string;
  readonly remedy: string;
}

/**
 * `supported` and `unsupported` are conclusive. `inconclusive` means that the probe could not tell, for instance because
 * an unrelated call failed; selection then tries the mechanism.
 */
export type ProbeResult =
  | { readonly verdict: 'supported'; readonly facts: Readonly<Record<string, string>> }
  | { readonly verdict: 'unsupported'; readonly missing: readonly MissingRequirement[] }
  | { readonly verdict: 'inconclusive'; readonly cause: string };

/** What a mechanism can do at all, independent of the machine. Selection drops what the run cannot use. */
export interface Capabilities {
  readonly networks: ReadonlyArray<{ readonly family: Family; readonly protocol: Protocol }>;
  readonly scopes: ReadonlyArray<'output' | 'forward' | 'explicit'>;
  /** Applications need no change. */
  readonly transparent: boolean;
  /** The capture point sees the client's own source address. */
  readonly preservesSource: boolean;
  readonly owners: ReadonlyArray<'uid' | 'gid' | 'cgroup'>;
  /**
   * False: what this host sends to its own addresses, loopback among them, cannot be captured, or not without keeping Weir
   * itself from them. Absent: it can.
   */
  readonly ownAddresses?: boolean;
}

/** Everything that decides what the kernel is told. The same input gives the same plan. */
export interface PlanInput {
  readonly owner: string;
  readonly set: CaptureSet;
  readonly points: readonly BoundPoint[];
  readonly numbers: HostNumbers;
  readonly facts: HostFacts;
  /** What becomes of captured traffic when the process is killed: as if Weir were not there, or blocked. */
  readonly onCrash: 'open' | 'closed';
  /** Names of services by id, for comments in kernel objects. */
  readonly serviceNames: ReadonlyMap<number, string>;
}

/** One kernel change in the notation of the tool that an operator would use for it. */
export interface PlanStep {
  readonly tool: 'nft' | 'iptables-restore' | 'ip6tables-restore' | 'ip' | 'ip -6' | 'sysctl' | 'bpf' | 'listen';
  /** What is fed to the tool: a ruleset, or one command per line without the tool's name. */
  readonly text: string;
}

export interface Plan {
  readonly interceptor: string;
  readonly steps: readonly PlanStep[];
}

/** A difference between what the plan says and what the kernel has. */
export interface Drift {
  /** The object, e.g. `ip rule 9500`, `nft table inet weir_default`. */
  readonly object: string;
  readonly expected: string;
  readonly found: string;
}

/** A running pump: a plugin's own worker thread, started and watched by core. */
export interface Pump {
  post(message: unknown): void;
  stop(): Promise<void>;
}

/** What core lends to an interceptor. Valid until `stop` has returned. */
export interface InterceptorContext {
  readonly owner: string;
  readonly numbers: HostNumbers;
  readonly host: HostChanges;
  readonly log: Logger;
  /**
   * Runs `module` in a worker thread of its own, with `data` as its workerData; resolves when it has posted `ready`. It is
   * to end when it gets the message `stop`. A dead pump ends the run. A module that imports only `@weir/core/api` and
   * `@weir/core/sys` starts in a tenth of the time that `@weir/core` takes.
   */
  pump(module: URL, data: unknown): Promise<Pump>;
}

/**
 * What a drain has made of new flows. `not-steered`: they do not arrive any more. `dialled`: the mechanism cannot tell them
 * from living ones, so that some still do; core dials their own destinations, as if Weir were not there.
 */
export type Drained = 'not-steered' | 'dialled';

export interface Interceptor {
  /** Asks the machine. Changes nothing that stays. */
  probe(signal: AbortSignal): Promise<ProbeResult>;
  /**
   * Makes devices and loads programs; says which points it needs. No packet changes its way yet.
   * @param listeners the services with `listen:`; only explicit mechanisms look at them.
   */
  provision(signal: AbortSignal, listeners?: readonly ServiceListener[]): Promise<readonly PointSpec[]>;
  /**
   * Applies the plan: all of it, or none when it throws.
   * @throws UnsupportedError when the kernel refuses for want of a feature: selection goes on to the next.
   */
  start(input: PlanInput, signal: AbortSignal): Promise<void>;
  /** Changes what is steered, atomically where the kernel can. Living flows go on, whether they stay captured or not. */
  update(input: PlanInput, signal: AbortSignal): Promise<void>;
  /** A worker was replaced: these points are the ones to steer to from now on. */
  rebind?(points: readonly BoundPoint[]): Promise<void>;
  /** What the kernel has against what the last plan says. Empty: nothing drifted. */
  verify(signal: AbortSignal): Promise<readonly Drift[]>;
  /** Puts back what drifted, without touching what did not. */
  repair(drift: readonly Drift[], signal: AbortSignal): Promise<void>;
  /** Stops steering new flows; living ones go on. Nothing said means `not-steered`. */
  drain(signal: AbortSignal): Promise<Drained | void>;
  /** Frees everything. Idempotent; safe after a failed provision or start. */
  stop(): Promise<void>;
  /** What a mechanism that sees packets counts; shown by `weir status` beside the data plane's own counters. */
  counters?(): Readonly<Record<string, number>>;
}

/** What cleanUp gets: enough to find leftovers by name and number, and nothing of a living run. */
export interface CleanUpContext {
  readonly owner: string;
  readonly numbers: HostNumbers;
  readonly log: Logger;
}

/** What points may depend on beside the host, where they have addresses of their own. */
export interface PointsRun {
  readonly numbers: HostNumbers;
  /** Validated. */
  readonly options: unknown;
}

/** What a plugin package registers. */
export interface InterceptorDefinition<Options = unknown> {
  /** Lower case, dashes; what `--interceptor` takes. */
  readonly id: string;
  /** Higher is tried first. Built-in: nft 500, tproxy-iptables 400, ebpf-sklookup 300, tun 200, proxy 100. */
  readonly priority: number;
  /** False for a package whose mechanism is announced but not built; `auto` then leaves it out of its report. */
  readonly built?: boolean;
  readonly capabilities: Capabilities;
  /** Core validates with it before it passes options on, so a definition of `never` still validates anything. */
  readonly options: StandardSchema;
  /** `import.meta.url` of the definition's module, for error texts and pumps. */
  readonly module: URL;
  /**
   * Pure: the points that `provision` will ask for on such a host; tables of points may be empty ones. For a mechanism
   * with the scope `explicit` core asks again before each update, and opens and closes points accordingly.
   */
  points(facts: HostFacts, listeners?: readonly ServiceListener[], run?: PointsRun): readonly PointSpec[];
  /** Pure: the exact kernel changes that `start` makes for this input. Needs no instance and no privilege. */
  plan(input: PlanInput, options: Options): Plan;
  create(context: InterceptorContext, options: Options): Interceptor;
  /** Removes what a killed process of this owner left; needs no journal. Reports each thing it removed. */
  cleanUp(context: CleanUpContext): Promise<readonly string[]>;
}
