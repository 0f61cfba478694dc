/** The tproxy-iptables interceptor: TPROXY by chains of its own, policy routing beside them. README.md says what it changes. */
import {
  type BoundPoint,
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
  tproxyFamilies,
  tproxyPoints,
  UnsupportedError,
} from '@weir/core';
import { chainPrefix } from './chain-names.ts';
import { LiveChains } from './live-chains.ts';
import type { TproxyIptablesOptions } from './options.ts';
import { probe } from './probe.ts';
import { commandName, INSTALL, type Variant } from './programs.ts';
import { type Choice, chooseVariant } from './variant.ts';

interface Running {
  readonly chains: readonly LiveChains[];
  readonly routing: LiveTproxyRouting;
}

export class TproxyIptablesInterceptor implements Interceptor {
  readonly #context: InterceptorContext;
  readonly #variant: 'auto' | Variant;
  #choice: Choice | undefined;
  #running: Running | undefined;
  readonly #changes: OwnChanges;

  constructor(context: InterceptorContext, { variant = 'auto' }: TproxyIptablesOptions) {
    this.#context = context;
    this.#changes = new OwnChanges(context.host);
    this.#variant = variant;
  }

  async probe(signal: AbortSignal): Promise<ProbeResult> {
    signal.throwIfAborted();
    return probe(this.#variant);
  }

  async provision(signal: AbortSignal): Promise<readonly PointSpec[]> {
    signal.throwIfAborted();
    this.#choice ??= await this.#choose();
    return tproxyPoints(hostFacts());
  }

  async start(input: PlanInput, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#running) throw new TypeError('start() was called twice without stop().');
    requireControlGroups(input);
    this.#choice ??= await this.#choose();
    const { programs, because } = this.#choice;
    const running = {
      chains: tproxyFamilies(input).map((family) => new LiveChains(programs, family, input)),
      routing: new LiveTproxyRouting(input),
    };
    await this.#changes.makeAll([...running.routing.changes(), ...chainChanges(input, running.chains)], signal);
    this.#running = running;
    this.#context.log.debug({ variant: programs.variant, because }, 'iptables steers');
  }

  async update(input: PlanInput, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { chains, routing } = this.#started();
    const routes = routing.prepare(input);
    const back: Array<() => Promise<void>> = [];
    try {
      for (const family of chains) {
        // eslint-disable-next-line no-await-in-loop -- each is undone when a later one fails
        back.push(await family.update(input));
      }
    } catch (error) {
      try {
        // eslint-disable-next-line no-await-in-loop -- newest first
        for (const undo of back.toReversed()) await undo();
      } finally {
        routes.undo();
      }
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
    const { chains, routing } = this.#started();
    const drifts = await Promise.all(chains.map((family) => family.verify()));
    return [...drifts.flat(), ...routing.verify()];
  }

  async repair(drift: readonly Drift[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { chains, routing } = this.#started();
    routing.repair(new Set(drift.map((each) => each.object)));
    for (const family of chains) {
      const command = commandName(family.family);
      // eslint-disable-next-line no-await-in-loop -- two programs at once gain nothing
      if (drift.some(({ object }) => object.startsWith(`${command} `))) await family.repair();
    }
  }

  async drain(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    // eslint-disable-next-line no-await-in-loop -- two programs at once gain nothing
    for (const family of this.#running?.chains ?? []) await family.drain();
  }

  async stop(): Promise<void> {
    try {
      await this.#changes.undoTo(0);
    } finally {
      this.#running = undefined;
      this.#choice = undefined;
    }
  }

  #started(): Running {
    if (!this.#running) throw new TypeError('The interceptor is not started.');
    return this.#running;
  }

  async #choose(): Promise<Choice> {
    const choice = await chooseVariant(this.#variant);
    if (choice) return choice;
    throw new UnsupportedError({
      problem:
        this.#variant === 'auto'
          ? 'The programs of iptables are not on this machine.'
          : `The programs of iptables (${this.#variant}) are not on this machine.`,
      remedy: INSTALL,
    });
  }
}

/** Without a hierarchy of version 2 nobody can say which groups exist, and the kernel knows none. */
function requireControlGroups({ set }: PlanInput): void {
  if (!namesControlGroups(set) || controlGroupMount() !== undefined) return;
  throw new UnsupportedError({
    problem: 'The tproxy-iptables interceptor cannot choose processes by control group: none of version 2 is mounted.',
    remedy: 'Mount one (mount -t cgroup2 none /sys/fs/cgroup), or choose processes by uid or gid.',
  });
}

function chainChanges(input: PlanInput, families: readonly LiveChains[]): readonly HostChange[] {
  const prefix = chainPrefix(input.owner);
  return families.map((chains) => ({
    id: chains.name,
    describe: `make the ${commandName(chains.family)} chains ${prefix}*`,
    undoData: { kind: 'chains', family: chains.family, prefix },
    do: () => chains.create(),
    undo: () => chains.remove(),
  }));
}
