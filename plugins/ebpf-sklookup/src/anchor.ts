/**
 * The device that our addresses and routes hang on: a tun device through which no packet goes. The kernel removes it, and
 * with it all that hangs on it, when this process ends; unless what is captured must stay blocked then.
 */
import { deviceFault, type HostNumbers, type OwnDevice, refuseTakenSources, switchOn } from '@weir/core';
import { attachTun, checked, IFF_TUN_EXCL, libc, TUNSETPERSIST } from '@weir/core/sys';

/** Names of devices have at most 15 characters, so it is the slot that tells owners apart. */
export function deviceName({ slot }: Pick<HostNumbers, 'slot'>): string {
  return `weirsk${slot}`;
}

export class Anchor {
  readonly #device: OwnDevice;
  readonly #stays: boolean;
  #fd = -1;
  #index = 0;

  /**
   * Makes nothing yet.
   * @param stays the device outlives this process when it is killed.
   */
  constructor(device: OwnDevice, stays: boolean) {
    this.#device = device;
    this.#stays = stays;
  }

  get name(): string {
    return this.#device.name;
  }

  /** Index of the device. */
  get index(): number {
    return this.#index;
  }

  /** Makes the device with its addresses and switches it on. Nothing is left when it throws. */
  async create(): Promise<void> {
    if (this.#fd >= 0) return;
    refuseTakenSources('ebpf-sklookup', this.#device);
    this.#fd = attachTun(this.name, IFF_TUN_EXCL);
    try {
      if (this.#stays) checked(libc.ioctl_number(this.#fd, TUNSETPERSIST, 1), 'ioctl(TUNSETPERSIST)', 'Report this.');
      this.#index = await switchOn(this.#device);
    } catch (error) {
      this.remove();
      throw error;
    }
  }

  /** What is wrong with it, in a few words; `undefined` when nothing is. */
  fault(): string | undefined {
    return deviceFault(this.#device, this.#index);
  }

  /** Removes the device and all that hangs on it. Idempotent. */
  remove(): void {
    if (this.#fd < 0) return;
    if (this.#stays) libc.ioctl_number(this.#fd, TUNSETPERSIST, 0);
    libc.close(this.#fd);
    this.#fd = -1;
  }
}
