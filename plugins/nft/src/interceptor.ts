/** The nft interceptor: TPROXY by a table of its own, policy routing beside it. README.md says what it changes. */
import {
  type BoundPoint,
  CONTROL_GROUPS,
  controlGroupMount,
  type Drift,
  type HostChange,
  hostFacts,
  type Interceptor,
  type InterceptorContext,
  LiveTproxyRouting,
  namesControlGroups,
  OwnChanges,
  type PlanInput,
  type PointSpec,
  type ProbeResult,
  tproxyPoints,
  UnsupportedError,
} from '@weir/core';
import { OBJECT } from './listing.ts';
import { LiveTable } from './live-table.ts';
import { probe } from './probe.ts';
import { Ruleset } from './ruleset.ts';

interface Running {
  readonly table: LiveTable;
  readonly routing: LiveTproxyRouting;
}

export class NftInterceptor implements Interceptor {
  readonly #context: InterceptorContext;
  #ruleset: Ruleset | undefined;
  #running: Running | undefined;
  readonly #changes: OwnChanges;

  constructor(context: InterceptorContext) {
    this.#context = context;
    this.#changes = new OwnChanges(context.host);
  }

  async probe(signal: AbortSignal): Promise<ProbeResult> {
    signal.throwIfAborted();
    return probe();
  }

  async provision(signal: AbortSignal): Promise<readonly PointSpec[]> {
    signal.throwIfAborted();
    this.#ruleset ??= new Ruleset();
    return tproxyPoints(hostFacts());
  }

  async start(input: PlanInput, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#running) throw new TypeError('start() was called twice without stop().');
    requireControlGroups(input);
    this.#ruleset ??= new Ruleset();
    const running = { table: new LiveTable(this.#ruleset, input), routing: new LiveTproxyRouting(input) };
    await this.#changes.makeAll(startChanges(running), signal);
    this.#running = running;
    const { owned, name } = running.table;
    this.#context.log.debug({ table: name, owned, by: this.#ruleset.kind }, 'nft steers');
  }

  async update(input: PlanInput, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { table, routing } = this.#started();
    const routes = routing.prepare(input);
    try {
      table.update(input);
    } catch (error) {
      routes.undo();
      throw error;
    }
    routes.commit();
  }

  async rebind(points: readonly BoundPoint[]): Promise<void> {
    // A point keeps its port while any of its sockets lives; the rules name the port and nothing else of it.
    this.#context.log.debug({ points: points.map((point) => `${point.id}:${point.port}`) }, 'points were bound again');
  }

  async verify(signal: AbortSignal): Promise<readonly Drift[]> {
    signal.throwIfAborted();
    const { table, routing } = this.#started();
    return [...table.verify(), ...routing.verify()];
  }

  async repair(drift: readonly Drift[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { table, routing } = this.#started();
    const objects = new Set(drift.map((each) => each.object));
    routing.repair(objects);
    if ([...objects].some((object) => object.startsWith('nft '))) table.repair(objects);
  }

  async drain(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.#running?.table.drain();
  }

  async stop(): Promise<void> {
    try {
      await this.#changes.undoTo(0);
    } finally {
      this.#running = undefined;
      this.#ruleset?.close();
      this.#ruleset = undefined;
    }
  }

  #started(): Running {
    if (!this.#running) throw new TypeError('The interceptor is not started.');
    return this.#running;
  }
}

/** nft looks for control groups in one place only, and there it must be version 2. */
function requireControlGroups({ set }: PlanInput): void {
  if (!namesControlGroups(set) || controlGroupMount() === CONTROL_GROUPS) return;
  throw new UnsupportedError({
    problem: `The nft interceptor cannot choose processes by control group: ${CONTROL_GROUPS} is not of version 2.`,
    remedy: 'Boot with systemd.unified_cgroup_hierarchy=1, use tproxy-iptables, or choose processes by uid or gid.',
  });
}

/** Routes, rules, table: nothing is steered before it can arrive. */
function startChanges({ table, routing }: Running): readonly HostChange[] {
  const nft: HostChange = {
    id: OBJECT.table(table.name),
    describe: `make the nftables table inet ${table.name}`,
    undoData: { kind: 'table', table: table.name },
    do: () => table.create(),
    undo: () => table.remove(),
  };
  return [...routing.changes(), nft];
}
