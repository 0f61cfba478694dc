/**
 * The device: point-to-point, with an own address for each family and a prefix of addresses that flows get. The kernel
 * removes it, and with it all that hangs on it, when this process ends; unless what is captured must stay blocked then.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import {
  addressToBytes,
  deviceFault,
  type Family,
  formatPrefix,
  type HostNumbers,
  type OwnDevice,
  refuseTakenSources,
  switchOn,
  UnsupportedError,
} from '@weir/core';
import {
  attachTun,
  checked,
  EEXIST,
  errno,
  errnoName,
  findLink,
  hostAddressAddition,
  IFF_TUN_EXCL,
  IFF_VNET_HDR,
  libc,
  linkSizes,
  linkUp,
  listRoutes,
  type NetlinkSocket,
  O_NONBLOCK,
  readSysctl,
  type Route,
  routeAddition,
  RT_TABLE_MAIN,
  settleAll,
  sysctlPath,
  TUN_F_CSUM,
  TUN_F_TSO4,
  TUN_F_TSO6,
  TUNSETOFFLOAD,
  TUNSETPERSIST,
  withRouteSocket,
} from '@weir/core/sys';
import type { TunAddresses } from './addresses.ts';
import { takesSuperPackets } from './offload-probe.ts';

/** Packets that may wait in the device. */
const QUEUE = 1000;

export type Offload = 'super-packets' | 'checksums' | 'none';

const OFFLOADS: ReadonlyArray<readonly [Offload, number]> = [
  ['super-packets', TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6],
  ['checksums', TUN_F_CSUM],
];

export interface DeviceSetup {
  readonly name: string;
  readonly addresses: TunAddresses;
  readonly families: readonly Family[];
  readonly mtu: number;
  readonly offload: 'auto' | 'off';
  readonly numbers: Pick<HostNumbers, 'protocolId'>;
}

/** Routes by which listeners reach the addresses that flows get. */
export function natRoutes({ addresses, families, numbers }: DeviceSetup, device: number): readonly Route[] {
  return families.map((family) => ({
    type: 'unicast',
    destination: addresses.nat[family],
    table: RT_TABLE_MAIN,
    device,
    source: addresses.sources[family],
    protocol: numbers.protocolId,
  }));
}

export class Device {
  readonly setup: DeviceSetup;
  #fd = -1;
  #index = 0;
  #offload: Offload = 'none';
  #stays = false;
  #passesOn = false;

  /** Makes nothing yet. */
  constructor(setup: DeviceSetup) {
    this.setup = setup;
  }

  get name(): string {
    return this.setup.name;
  }

  get #own(): OwnDevice {
    const { name, families, addresses, mtu } = this.setup;
    return { name, families, sources: addresses.sources, sizes: { mtu, queue: QUEUE } };
  }

  /** Of the device; -1 when there is none. */
  get fd(): number {
    return this.#fd;
  }

  get index(): number {
    return this.#index;
  }

  /** What is left to the pump. */
  get offload(): Offload {
    return this.#offload;
  }

  /** Makes the device with its addresses and switches it on. Nothing is left when it throws. */
  async create(): Promise<void> {
    if (this.#fd >= 0) return;
    refuseTakenSources('tun', this.#own);
    this.#fd = attachTun(this.name, IFF_VNET_HDR | IFF_TUN_EXCL, O_NONBLOCK);
    try {
      this.#index = await switchOn(this.#own, (socket, index) => {
        for (const route of natRoutes(this.setup, index)) socket.request(routeAddition(route, this.name));
      });
      this.#chooseOffload();
      this.#spread();
      if (this.#stays) this.stay(true);
      if (this.#passesOn) this.passOn();
    } catch (error) {
      this.remove();
      throw error;
    }
  }

  /** What is wrong with it, in a few words; `undefined` when nothing is. */
  fault(): string | undefined {
    const fault = deviceFault(this.#own, this.#index);
    if (fault !== undefined) return fault;
    return withRouteSocket((socket) => {
      const missing = natRoutes(this.setup, this.#index)
        .filter(({ destination }) => !this.#hasRoute(socket, destination.family))
        .map(({ destination }) => `the route to ${formatPrefix(destination)}`);
      return missing.length === 0 ? undefined : `without ${missing.join(' and ')}`;
    });
  }

  /**
   * Lets packets of other hosts pass through the device, both ways: answers to them, and theirs that are not taken. Loose
   * checks of sources, since theirs have another way in. The parameters go with the device.
   */
  passOn(): void {
    this.#passesOn = true;
    const own = `net/ipv4/conf/${this.name}`;
    if (readSysctl(`${own}/forwarding`) === '0') writeFileSync(sysctlPath(`${own}/forwarding`), '1');
    const strict = [`${own}/rp_filter`, 'net/ipv4/conf/all/rp_filter'].some((name) => readSysctl(name) === '1');
    if (strict) writeFileSync(sysctlPath(`${own}/rp_filter`), '2');
  }

  /** Whether the device outlives this process. */
  stay(stays: boolean): void {
    this.#stays = stays;
    if (this.#fd < 0) return;
    const result = libc.ioctl_number(this.#fd, TUNSETPERSIST, stays ? 1 : 0);
    // One that somebody has removed already is not there to stay.
    if (stays) checked(result, 'ioctl(TUNSETPERSIST)', 'Report this.');
  }

  /** Removes the device and all that hangs on it. Idempotent. The pump must have let go of the descriptor. */
  remove(): void {
    if (this.#fd < 0) return;
    if (this.#stays) libc.ioctl_number(this.#fd, TUNSETPERSIST, 0);
    libc.close(this.#fd);
    this.#fd = -1;
  }

  /** Puts back what is missing of a device that is still ours. */
  mend(): void {
    const { name, families, addresses, mtu } = this.setup;
    withRouteSocket((socket) => {
      const requests = [
        linkSizes(this.#index, { mtu, queue: QUEUE }),
        linkUp(this.#index),
        ...families.map((family) => hostAddressAddition(this.#index, addresses.sources[family])),
        ...natRoutes(this.setup, this.#index).map((route) => routeAddition(route, name)),
      ];
      settleAll(socket, requests, [EEXIST]);
    });
  }

  /** False when somebody removed it. */
  get exists(): boolean {
    return withRouteSocket((socket) => findLink(socket, this.name)?.index === this.#index);
  }

  /**
   * Another device of that name and those addresses in place of one that is broken.
   * @returns the descriptor of the broken one, for the caller to close when nobody reads from it any more.
   */
  async replace(): Promise<number> {
    const old = this.#fd;
    // The kernel removes a device that has lost its last descriptor; until then the name is taken.
    this.#fd = -1;
    try {
      await this.create();
    } catch (error) {
      this.#fd = old;
      throw error;
    }
    return old;
  }

  #hasRoute(socket: NetlinkSocket, family: Family): boolean {
    const wanted = formatPrefix(this.setup.addresses.nat[family]);
    return listRoutes(socket, family, RT_TABLE_MAIN).some(
      ({ destination, device }) => device === this.#index && formatPrefix(destination) === wanted,
    );
  }

  /**
   * What the pump writes is received on another processor where there is one, while the pump goes on: receive packet
   * steering, Documentation/networking/scaling.rst. A host that does not let its /sys be written goes without.
   */
  #spread(): void {
    const processors = cpus().length;
    if (processors < 2) return;
    try {
      // A /sys that was mounted elsewhere shows another network's devices.
      if (Number(readFileSync(`/sys/class/net/${this.name}/ifindex`, 'utf8')) !== this.#index) return;
      writeFileSync(`/sys/class/net/${this.name}/queues/rx-0/rps_cpus`, processorMask(processors));
    } catch (error) {
      if (!(error instanceof Error && 'code' in error)) throw error;
    }
  }

  /** Some kernels take no packets of many segments, or none whose checksum is left to them: what is refused is not used. */
  #chooseOffload(): void {
    const { offload, families, addresses } = this.setup;
    this.#offload = 'none';
    for (const [kind, flags] of offload === 'off' ? [] : OFFLOADS) {
      if (libc.ioctl_number(this.#fd, TUNSETOFFLOAD, flags) < 0) continue;
      const taken = families.every((family) =>
        takesSuperPackets(this.#fd, {
          family,
          from: addressToBytes(natAddress(addresses, family)),
          to: addressToBytes(addresses.sources[family]),
          segments: kind === 'super-packets',
        }),
      );
      if (taken) {
        this.#offload = kind;
        return;
      }
    }
    if (libc.ioctl_number(this.#fd, TUNSETOFFLOAD, 0) < 0) {
      throw new UnsupportedError({
        problem: `The device ${this.name} takes no setting of its offloads: ${errnoName(errno())}.`,
        remedy: 'Use a newer kernel, or another interceptor.',
      });
    }
  }
}

function natAddress({ nat }: TunAddresses, family: Family): string {
  return formatPrefix({ ...nat[family], length: family === 4 ? 32 : 128 }).split('/')[0] as string;
}

/** A bitmap of the first processors, as /sys takes it: 32 of them in a word, the last word first. */
export function processorMask(processors: number): string {
  const words: string[] = [];
  for (let left = processors; left > 0; left -= 32) {
    words.unshift((left >= 32 ? 0xffff_ffff : 2 ** left - 1).toString(16));
  }
  return words.join(',');
}
