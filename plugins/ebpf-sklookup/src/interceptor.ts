/** The sk_lookup interceptor: routes bring flows to this host, a BPF program gives them to our sockets. See README.md. */
import {
  type BoundPoint,
  type Drained,
  type Drift,
  familiesOf,
  type FamilyRouting,
  type HostChange,
  hostFacts,
  type Interceptor,
  type InterceptorContext,
  LiveRouting,
  OwnChanges,
  type OwnSources,
  ownSources,
  placementsOf,
  type PlanInput,
  type PointSpec,
  type ProbeResult,
  type RoutingOptions,
  routingOf,
  updateRouting,
} from '@weir/core';
import { RouteMonitor } from '@weir/core/sys';
import { Anchor, deviceName } from './anchor.ts';
import { namedOwnAddresses, refuseUnsupported } from './limits.ts';
import { LiveMaps } from './live-maps.ts';
import { mapContentOf } from './map-content.ts';
import type { SkLookupOptions } from './options.ts';
import { ID } from './plan.ts';
import { pointsOn } from './points.ts';
import { probe } from './probe.ts';
import { SkLookup } from './sk-lookup.ts';

interface Loaded {
  readonly program: SkLookup;
  readonly maps: LiveMaps;
}

interface Running {
  readonly anchor: Anchor;
  readonly routing: readonly LiveRouting[];
  /** Tells that somebody, perhaps we, changed links, addresses, routes or rules. */
  readonly monitor: RouteMonitor;
}

const LINK = 'bpf link sk_lookup';

export class SkLookupInterceptor implements Interceptor {
  readonly #context: InterceptorContext;
  readonly #sources: OwnSources;
  #loaded: Loaded | undefined;
  #running: Running | undefined;
  #input: PlanInput | undefined;
  #draining = false;
  /** The device, routes and rules were as they should be, and nobody has changed any since. */
  #verified = false;
  readonly #changes: OwnChanges;

  constructor(context: InterceptorContext, options: SkLookupOptions) {
    this.#context = context;
    this.#changes = new OwnChanges(context.host);
    this.#sources = ownSources(context.numbers, options);
  }

  async probe(signal: AbortSignal): Promise<ProbeResult> {
    signal.throwIfAborted();
    return probe();
  }

  async provision(signal: AbortSignal): Promise<readonly PointSpec[]> {
    signal.throwIfAborted();
    this.#load();
    return pointsOn(hostFacts());
  }

  async start(input: PlanInput, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#running) throw new TypeError('start() was called twice without stop().');
    const loaded = this.#load();
    const content = mapContentOf(input);
    refuseUnsupported(input, content);
    const { numbers } = input;
    const source = this.#sources;
    const device = { name: deviceName(numbers), families: familiesOf(input), sources: source };
    const anchor = new Anchor(device, input.onCrash === 'closed');
    const style = () => ({ type: 'local', device: anchor.index, source }) as const;
    const routing = this.#routingOf(input).map((each) => new LiveRouting(each, numbers, style));
    loaded.maps.setPoints(input.points);
    loaded.maps.apply(content);
    await this.#changes.makeAll(this.#startChanges(loaded, { anchor, routing }), signal);
    this.#running = { anchor, routing, monitor: new RouteMonitor() };
    this.#verified = false;
    this.#input = input;
    this.#draining = false;
    const own = namedOwnAddresses(content);
    if (own.length > 0) {
      this.#context.log.warn(
        { addresses: own },
        'services name addresses of this host: Weir itself cannot connect there without being captured; give them a dialer that goes elsewhere',
      );
    }
    this.#context.log.debug({ device: anchor.name }, 'sk_lookup steers');
  }

  async update(input: PlanInput, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.#update(input, this.#draining);
  }

  async rebind(points: readonly BoundPoint[]): Promise<void> {
    this.#load().maps.setPoints(points);
  }

  async verify(signal: AbortSignal): Promise<readonly Drift[]> {
    signal.throwIfAborted();
    this.#started();
    const { program, maps } = this.#load();
    return [
      ...this.#routingDrift(),
      ...(program.attached ? [] : [{ object: LINK, expected: 'attached', found: 'detached' }]),
      ...maps.verify(),
    ];
  }

  async repair(drift: readonly Drift[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { anchor, routing } = this.#started();
    const { program, maps } = this.#load();
    const objects = drift.map(({ object }) => object);
    if (objects.includes(`device ${anchor.name}`)) {
      anchor.remove();
      await anchor.create();
    }
    if (objects.includes(LINK)) {
      program.detach();
      program.attach();
    }
    if (objects.some((object) => object.startsWith('bpf map '))) maps.repair();
    // Routes go with the device, so they are always looked at.
    for (const each of routing) each.repair();
  }

  /** Nothing tells a packet of a living forwarded flow from that of a new one, so that these still arrive. */
  async drain(signal: AbortSignal): Promise<Drained> {
    signal.throwIfAborted();
    if (!this.#input) return 'not-steered';
    this.#update(this.#input, true);
    this.#draining = true;
    const counters = this.#load().maps.counters();
    if (counters.dropped > 0) this.#context.log.warn(counters, 'flows were dropped because no listener was there');
    return this.#input.set.scopes.forward ? 'dialled' : 'not-steered';
  }

  async stop(): Promise<void> {
    try {
      await this.#changes.undoTo(0);
    } finally {
      this.#running?.monitor.close();
      this.#running = undefined;
      this.#input = undefined;
      this.#loaded?.program.close();
      this.#loaded = undefined;
    }
  }

  #load(): Loaded {
    if (!this.#loaded) {
      const program = new SkLookup();
      this.#loaded = { program, maps: new LiveMaps(program, this.#sources) };
    }
    return this.#loaded;
  }

  /** Looks at thousands of routes only when the kernel says that something changed. */
  #routingDrift(): readonly Drift[] {
    const { anchor, routing, monitor } = this.#started();
    if (monitor.poll().size === 0 && this.#verified) return [];
    const fault = anchor.fault();
    const drift = [
      ...(fault === undefined
        ? []
        : [{ object: `device ${anchor.name}`, expected: 'up, with our addresses', found: fault }]),
      ...routing.flatMap((each) => each.verify()),
    ];
    this.#verified = drift.length === 0;
    return drift;
  }

  #started(): Running {
    if (!this.#running) throw new TypeError('The interceptor is not started.');
    return this.#running;
  }

  #routingOf(input: PlanInput, options: RoutingOptions = {}): readonly FamilyRouting[] {
    return routingOf(input, { id: ID, sources: this.#sources }, options);
  }

  /** Maps, then routes: what is brought here finds its entry, and what is no longer wanted is taken all the same. */
  #update(input: PlanInput, draining: boolean): void {
    const { routing } = this.#started();
    const loaded = this.#load();
    const content = mapContentOf(input, draining);
    refuseUnsupported(input, content);
    const next = this.#routingOf(input, { draining, forwardStays: true, placements: placementsOf(routing) });
    const previous = this.#input as PlanInput;
    loaded.maps.apply(content);
    try {
      updateRouting(routing, next);
    } catch (error) {
      loaded.maps.apply(mapContentOf(previous, this.#draining));
      throw error;
    }
    this.#input = input;
  }

  /** Device, program, routes, rules: nothing is steered before it can arrive. */
  #startChanges({ program }: Loaded, { anchor, routing }: Omit<Running, 'monitor'>): readonly HostChange[] {
    const device: HostChange = {
      id: `device ${anchor.name}`,
      describe: `make the device ${anchor.name} with the addresses of captured flows`,
      undoData: { kind: 'device', name: anchor.name },
      do: () => anchor.create(),
      undo: () => anchor.remove(),
    };
    const link: HostChange = {
      id: LINK,
      describe: 'attach the sk_lookup program to the network namespace',
      do: () => program.attach(),
      undo: () => program.detach(),
    };
    const changes = routing.map((each) => each.changes());
    return [device, link, ...changes.map(({ tables }) => tables), ...changes.map(({ rules }) => rules)];
  }
}
