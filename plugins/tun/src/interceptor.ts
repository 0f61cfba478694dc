/** The tun interceptor: routes bring flows to a device, a pump rewrites them for the kernel's own TCP. See README.md. */
import {
  addressToBytes,
  type BoundPoint,
  type Drift,
  type Family,
  type HostChange,
  HeldTable,
  hostFacts,
  type Interceptor,
  type InterceptorContext,
  LiveRouting,
  numberToAddress,
  OwnChanges,
  placementsOf,
  type PlanInput,
  type PointSpec,
  type ProbeResult,
  type Pump,
  type RoutingOptions,
  routingOf,
  updateRouting,
} from '@weir/core';
import { checked, EFD_CLOEXEC, EFD_NONBLOCK, libc } from '@weir/core/sys';
import { addressesOf, deviceName, type TunAddresses } from './addresses.ts';
import { TunCounters } from './counters.ts';
import { Device } from './device.ts';
import { refuseClosedGateway, refuseUnsupported } from './limits.ts';
import { DEFAULT_MTU, NAT_ADDRESSES, type TunOptions } from './options.ts';
import { ID } from './plan.ts';
import { FIRST_NAT_PORT, NAT_PORTS, pointsOn } from './points.ts';
import { probe } from './probe.ts';
import type { PumpData, ToPump } from './pump.ts';

const PUMP = new URL(`./pump-thread.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url);
const WAKE = BigInt64Array.of(1n);

/** What provision makes. */
interface Provisioned {
  readonly device: Device;
  readonly families: readonly Family[];
  readonly specs: readonly PointSpec[];
  readonly wakeFd: number;
  readonly counters: TunCounters;
}

export class TunInterceptor implements Interceptor {
  readonly #context: InterceptorContext;
  readonly #options: TunOptions;
  readonly #addresses: TunAddresses;
  #provisioned: Provisioned | undefined;
  #pump: Pump | undefined;
  #routing: readonly LiveRouting[] | undefined;
  #input: PlanInput | undefined;
  #draining = false;
  readonly #changes: OwnChanges;
  readonly #onExit = (): void => this.#wake();

  constructor(context: InterceptorContext, options: TunOptions) {
    this.#context = context;
    this.#changes = new OwnChanges(context.host);
    this.#options = options;
    this.#addresses = addressesOf(context.numbers, options);
  }

  async probe(signal: AbortSignal): Promise<ProbeResult> {
    signal.throwIfAborted();
    return probe();
  }

  async provision(signal: AbortSignal): Promise<readonly PointSpec[]> {
    signal.throwIfAborted();
    if (this.#provisioned) throw new TypeError('provision() was called twice without stop().');
    const facts = hostFacts();
    const families: readonly Family[] = facts.ipv6 ? [4, 6] : [4];
    const { numbers } = this.#context;
    const device = new Device({
      name: deviceName(numbers),
      addresses: this.#addresses,
      families,
      mtu: this.#options.mtu ?? DEFAULT_MTU,
      offload: this.#options.offload ?? 'auto',
      numbers,
    });
    const specs = pointsOn(facts, this.#addresses, this.#options);
    const wakeFd = checked(libc.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), 'eventfd()', 'Raise the limit of open files.');
    for (const table of heldTables(specs)) table.wake = wakeFd;
    this.#provisioned = { device, families, specs, wakeFd, counters: new TunCounters() };
    process.on('exit', this.#onExit);
    await this.#changes.make({
      id: `device ${device.name}`,
      describe: `make the device ${device.name} with the addresses of captured flows`,
      undoData: { kind: 'device', name: device.name },
      do: () => device.create(),
      undo: async () => {
        await this.#stopPump();
        device.remove();
      },
    });
    return specs;
  }

  async start(input: PlanInput, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#routing) throw new TypeError('start() was called twice without stop().');
    refuseUnsupported(input);
    refuseClosedGateway(input);
    const { device } = this.#ready();
    const { numbers, onCrash } = input;
    const source = this.#addresses.sources;
    const style = () => ({ type: 'unicast', device: device.index, source }) as const;
    const routing = this.#routingOf(input).map((each) => new LiveRouting(each, numbers, style));
    const done = this.#changes.count;
    try {
      if (onCrash === 'closed') await this.#changes.make(stays(device));
      if (input.set.scopes.forward) device.passOn();
      await this.#startPump(input.points);
      const changes = routing.map((each) => each.changes());
      await this.#changes.makeAll(
        [...changes.map(({ tables }) => tables), ...changes.map(({ rules }) => rules)],
        signal,
      );
    } catch (error) {
      await this.#changes.undoTo(done);
      await this.#stopPump();
      throw error;
    }
    this.#routing = routing;
    this.#input = input;
    this.#draining = false;
    this.#context.log.debug({ device: device.name, offload: device.offload }, 'tun steers');
  }

  async update(input: PlanInput, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    refuseUnsupported(input);
    refuseClosedGateway(input);
    if (input.set.scopes.forward) this.#ready().device.passOn();
    this.#steer(input, this.#draining);
    this.#input = input;
  }

  async rebind(points: readonly BoundPoint[]): Promise<void> {
    // A point keeps its port while any of its sockets lives; the pump knows the port and nothing else of it.
    this.#context.log.debug({ points: points.map((point) => `${point.id}:${point.port}`) }, 'points were bound again');
  }

  async verify(signal: AbortSignal): Promise<readonly Drift[]> {
    signal.throwIfAborted();
    const { device } = this.#ready();
    const fault = device.fault();
    return [
      ...(fault === undefined
        ? []
        : [{ object: `device ${device.name}`, expected: 'up, with our addresses', found: fault }]),
      ...this.#started().flatMap((each) => each.verify()),
    ];
  }

  async repair(drift: readonly Drift[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (drift.length === 0) return;
    const { device } = this.#ready();
    if (drift.some(({ object }) => object === `device ${device.name}`)) {
      if (device.exists) device.mend();
      else {
        const old = await device.replace();
        this.#post({ type: 'device', fd: device.fd });
        // The pump lets go of the old one before it reads its next packet; nobody else may get its number before.
        setTimeout(() => libc.close(old), RELEASE).unref();
      }
    }
    // Routes go with the device, so they are always looked at.
    for (const each of this.#started()) each.repair();
  }

  async drain(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (!this.#input) return;
    this.#post({ type: 'draining' });
    this.#steer(this.#input, true);
    this.#draining = true;
  }

  async stop(): Promise<void> {
    try {
      await this.#changes.undoTo(0);
      await this.#stopPump();
    } finally {
      process.off('exit', this.#onExit);
      if (this.#provisioned) {
        // The workers may still end flows that waited: not by writing to whatever gets that number next.
        for (const table of heldTables(this.#provisioned.specs)) table.wake = -1;
        libc.close(this.#provisioned.wakeFd);
      }
      this.#provisioned = undefined;
      this.#routing = undefined;
      this.#input = undefined;
    }
  }

  counters(): Readonly<Record<string, number>> {
    return this.#provisioned?.counters.read() ?? {};
  }

  get #natAddresses(): number {
    return this.#options['nat-addresses'] ?? NAT_ADDRESSES;
  }

  #ready(): Provisioned {
    if (!this.#provisioned) throw new TypeError('The interceptor is not provisioned.');
    return this.#provisioned;
  }

  #started(): readonly LiveRouting[] {
    if (!this.#routing) throw new TypeError('The interceptor is not started.');
    return this.#routing;
  }

  #routingOf(input: PlanInput, options: RoutingOptions = {}) {
    return routingOf(input, { id: ID, sources: this.#addresses.sources }, options);
  }

  #steer(input: PlanInput, draining: boolean): void {
    const routing = this.#started();
    const options = { draining, forwardStays: true, placements: placementsOf(routing) };
    updateRouting(routing, this.#routingOf(input, options));
  }

  async #startPump(points: readonly BoundPoint[]): Promise<void> {
    const { device, families, wakeFd, counters } = this.#ready();
    const { sources, nat } = this.#addresses;
    const data: PumpData = {
      fd: device.fd,
      wakeFd,
      families: families.map((family) => ({
        family,
        own: addressToBytes(sources[family]),
        firstAddress: addressToBytes(numberToAddress(family, nat[family].address)),
        addresses: NAT_ADDRESSES,
      })),
      points: points.flatMap(({ network, original, port }) =>
        original.via === 'nat-table' ? [{ ...network, port, table: original.table, held: original.held }] : [],
      ),
      natAddresses: this.#natAddresses,
      firstPort: FIRST_NAT_PORT,
      ports: NAT_PORTS,
      counters: counters.memory,
    };
    this.#pump = await this.#context.pump(PUMP, data);
  }

  async #stopPump(): Promise<void> {
    const pump = this.#pump;
    if (!pump) return;
    this.#pump = undefined;
    const stopped = pump.stop();
    this.#wake();
    await stopped;
  }

  #post(message: ToPump): void {
    this.#pump?.post(message);
    this.#wake();
  }

  #wake(): void {
    if (this.#provisioned) libc.write(this.#provisioned.wakeFd, WAKE, 8);
  }
}

function heldTables(specs: readonly PointSpec[]): readonly HeldTable[] {
  return specs.flatMap(({ original }) =>
    original.via === 'nat-table' && original.held !== undefined ? [new HeldTable(original.held)] : [],
  );
}

/** The device outlives this process when it is killed: what is captured goes there, and nobody reads it. */
function stays(device: Device): HostChange {
  return {
    id: `persistence of ${device.name}`,
    describe: `have the device ${device.name} stay when this process is killed`,
    undoData: { kind: 'device', name: device.name },
    do: () => device.stay(true),
    undo: () => device.stay(false),
  };
}

/** Longer than the pump blocks. Milliseconds. */
const RELEASE = 1000;
