/** IP packets made at random, structure first: mostly right, so that what is behind the first check is reached too. */
import { VNET_HEADER } from '../src/packet-path.ts';
import { type Ends, packetOf, type PacketOptions, TCP, UDP } from './packets.ts';
import { FIRST_PORT, LISTENERS, NAT, OWN } from './path.ts';

const ADDRESSES = {
  4: [OWN[4], NAT[4], '169.254.85.5', '203.0.113.7', '198.51.100.1', '224.0.0.1', '0.0.0.0', '127.0.0.1', '10.1.0.2'],
  6: [OWN[6], NAT[6], 'fd64:7765:6972:fffe::5', '2001:db8::7', '2001:db8:1::1', 'ff02::1', '::', '::1', 'fe80::1'],
} as const;
const PORTS = [0, 1, 53, 80, 443, FIRST_PORT, FIRST_PORT + 1, LISTENERS.tcp, LISTENERS.udp, 49_152, 65_535] as const;
const EXTENSIONS = [0, 43, 44, 50, 51, 59, 60, 135, 139, 140];

function generator(start: number): (limit: number) => number {
  let state = start >>> 0;
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * limit);
  };
}

export class RandomPackets {
  /** A whole number from 0 up to the limit, without it. */
  readonly below: (limit: number) => number;

  constructor(seed: number) {
    this.below = generator(seed);
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }

  #bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256));
  }

  #ends(family: 4 | 6): Ends {
    // What our listeners send, and what hardly ever comes up by chance.
    if (this.below(5) === 0) {
      const source = FIRST_PORT + this.below(60);
      return { from: [OWN[family], this.pick([LISTENERS.tcp, LISTENERS.udp])], to: [NAT[family], source] };
    }
    return {
      from: [this.pick(ADDRESSES[family]), this.pick(PORTS)],
      to: [this.pick(ADDRESSES[family]), this.pick(PORTS)],
    };
  }

  /** Mostly right, so that what is behind the first check is reached too. */
  #options(family: 4 | 6): PacketOptions {
    const often = this.below(12) !== 0;
    return {
      protocol: often ? this.pick([TCP, TCP, UDP]) : this.below(256),
      flags: this.below(256),
      sequence: this.below(2 ** 32),
      acknowledge: this.below(2 ** 32),
      payload: this.#bytes(this.pick([0, 0, 1, 7, 64, 1400])),
      partial: this.below(2) === 0,
      ...(this.below(6) === 0 ? { gsoSize: this.below(65_536) } : {}),
      ...(family === 4 && this.below(5) === 0 ? { options: this.#bytes(4 * (1 + this.below(10))) } : {}),
      ...(family === 4 && this.below(5) === 0 ? { fragment: this.below(65_536), id: this.below(8) } : {}),
      ...(family === 6 && this.below(3) === 0
        ? {
            extensions: Array.from({ length: 1 + this.below(12) }, () => {
              const extension = this.#bytes(8 * (1 + this.below(3)));
              if (this.below(4) !== 0) extension[1] = extension.length / 8 - 1;
              if (this.below(4) === 0) extension[2] = 201;
              return [this.below(3) === 0 ? this.pick(EXTENSIONS) : this.pick([0, 60]), extension] as const;
            }),
          }
        : {}),
      unchecked: this.below(10) === 0,
    };
  }

  /** @returns the packet, and whether its checksums are still right. */
  next(): { readonly packet: Uint8Array; readonly whole: boolean } {
    if (this.below(50) === 0) return { packet: this.#bytes(this.below(200)), whole: false };
    const family = this.pick([4, 6] as const);
    const options = this.#options(family);
    const made = packetOf(this.#ends(family), options);
    const isPlain =
      options.options === undefined &&
      options.extensions === undefined &&
      options.fragment === undefined &&
      (options.protocol === TCP || options.protocol === UDP) &&
      !options.unchecked;
    if (this.below(3) !== 0) return { packet: made, whole: isPlain };
    const damaged = this.below(3) === 0 ? made.slice(0, this.below(made.length + 1)) : made;
    for (let n = this.below(4); n > 0 && damaged.length > 0; n--) {
      // The headers are where a damaged byte does something.
      damaged[this.below(Math.min(damaged.length, VNET_HEADER + 80))] = this.pick([0, 1, 4, 255, this.below(256)]);
    }
    return { packet: damaged, whole: false };
  }
}
