/**
 * The device that our addresses and routes hang on: a tun device through which no packet goes. The kernel removes it, and
 * with it all that hangs on it, when this process ends; unless what is captured must stay blocked then.
 */
import { addressToNumber, type Family, HostChangeError, UnsupportedError } from '@weir/core';
import {
  checked,
  EACCES,
  EBUSY,
  ENODEV,
  ENOENT,
  EPERM,
  errno,
  errnoName,
  findLink,
  hostAddressAddition,
  libc,
  linkRemoval,
  linkUp,
  linkWithoutOwnAddresses,
  listAddresses,
  listRoutes,
  NETLINK_ROUTE,
  NetlinkError,
  NetlinkSocket,
  O_CLOEXEC,
  O_RDWR,
  RT_TABLE_LOCAL,
} from '@weir/core/sys';
import type { OwnSources } from './own-sources.ts';

const PATH = '/dev/net/tun';

// linux/if_tun.h
const TUNSETIFF = 0x400454ca;
const TUNSETPERSIST = 0x400454cb;
const IFF_TUN = 0x0001;
const IFF_NO_PI = 0x1000;
const IFF_TUN_EXCL = 0x8000;

/** struct ifreq: name, 16 bytes · flags u16. */
const IFREQ_LENGTH = 40;

/** How long the kernel may take to make a route to a new IPv6 address. Milliseconds. */
const ROUTE_TIMEOUT = 2000;
const ROUTE_INTERVAL = 2;

function withSocket<T>(use: (socket: NetlinkSocket) => T): T {
  using socket = new NetlinkSocket(NETLINK_ROUTE);
  return use(socket);
}

/** Opens /dev/net/tun; the caller closes it. @throws UnsupportedError saying what to do. */
export function openTun(): number {
  const fd = libc.open(PATH, O_RDWR | O_CLOEXEC, 0);
  if (fd >= 0) return fd;
  const number = errno();
  const remedies = new Map([
    [ENOENT, `Make it (mkdir -p /dev/net; mknod ${PATH} c 10 200), or give the container the device.`],
    [ENODEV, 'Load the module (modprobe tun), or use a kernel with CONFIG_TUN.'],
    [EACCES, `Run Weir as root, or allow its user to open it (chmod 0666 ${PATH}).`],
    [EPERM, `Allow the container the device ${PATH}.`],
  ]);
  throw new UnsupportedError({
    problem: `${PATH} cannot be opened: ${errnoName(number)}.`,
    remedy: remedies.get(number) ?? 'Load the module (modprobe tun).',
  });
}

/** Makes a device that lives as long as the descriptor, which the caller closes. */
function makeTun(name: string): number {
  const fd = openTun();
  const request = Buffer.alloc(IFREQ_LENGTH);
  request.write(name, 0, 'latin1');
  request.writeUInt16LE(IFF_TUN | IFF_NO_PI | IFF_TUN_EXCL, 16);
  if (libc.ioctl(fd, TUNSETIFF, request) >= 0) return fd;
  const number = errno();
  libc.close(fd);
  if (number === EBUSY) {
    throw new HostChangeError({
      problem: `There is a device ${name} already, and it is not Weir's to take.`,
      remedy: `Remove it (ip link del ${name}), or run \`weir cleanup\`.`,
    });
  }
  if (number === EPERM) {
    throw new UnsupportedError({
      problem: `The device ${name} could not be made: EPERM.`,
      remedy: 'Run Weir as root or give it CAP_NET_ADMIN.',
    });
  }
  throw new HostChangeError({
    problem: `The device ${name} could not be made: ${errnoName(number)}.`,
    remedy: 'Look at `ip link`, and start again.',
  });
}

/** Removes a device that a dead process left to keep things blocked. False when there is none of that name. */
export function removeAnchor(name: string): boolean {
  return withSocket((socket) => {
    const link = findLink(socket, name);
    if (link?.kind !== 'tun') return false;
    const [error] = socket.settle([linkRemoval(link.index)]);
    if (error && !(error instanceof NetlinkError && error.errno === ENODEV)) throw error;
    return true;
  });
}

export class Anchor {
  readonly name: string;
  readonly #sources: OwnSources;
  readonly #families: readonly Family[];
  readonly #stays: boolean;
  #fd = -1;
  #index = 0;

  /**
   * Makes nothing yet.
   * @param stays the device outlives this process when it is killed.
   */
  constructor(name: string, sources: OwnSources, families: readonly Family[], stays: boolean) {
    this.name = name;
    this.#sources = sources;
    this.#families = families;
    this.#stays = stays;
  }

  /** Index of the device. */
  get index(): number {
    return this.#index;
  }

  /** Makes the device with its addresses and switches it on. Nothing is left when it throws. */
  async create(): Promise<void> {
    if (this.#fd >= 0) return;
    this.#refuseTakenAddresses();
    this.#fd = makeTun(this.name);
    try {
      if (this.#stays) checked(libc.ioctl_number(this.#fd, TUNSETPERSIST, 1), 'ioctl(TUNSETPERSIST)', 'Report this.');
      withSocket((socket) => {
        const link = findLink(socket, this.name);
        if (!link) throw new TypeError(`${this.name} is gone.`);
        this.#index = link.index;
        const [refused] = socket.settle([linkWithoutOwnAddresses(link.index)]);
        // A kernel without IPv6 does not know what is meant.
        if (refused && this.#families.includes(6)) throw refused;
        socket.request(linkUp(link.index));
        for (const family of this.#families) socket.request(hostAddressAddition(link.index, this.#sources[family]));
      });
      if (this.#families.includes(6)) await this.#reachable();
    } catch (error) {
      this.remove();
      throw error;
    }
  }

  /** What is wrong with it, in a few words; `undefined` when nothing is. */
  fault(): string | undefined {
    return withSocket((socket) => {
      const link = findLink(socket, this.name);
      if (!link || link.index !== this.#index) return 'missing';
      if (!link.up) return 'down';
      const there = new Set(
        listAddresses(socket)
          .filter(({ device }) => device === link.index)
          .map(({ address }) => address),
      );
      const lost = this.#families.map((family) => this.#sources[family]).filter((address) => !there.has(address));
      return lost.length === 0 ? undefined : `without ${lost.join(' and ')}`;
    });
  }

  /** Removes the device and all that hangs on it. Idempotent. */
  remove(): void {
    if (this.#fd < 0) return;
    if (this.#stays) libc.ioctl_number(this.#fd, TUNSETPERSIST, 0);
    libc.close(this.#fd);
    this.#fd = -1;
  }

  /** The kernel makes the route to a new IPv6 address a little later; without it no answer would find its way. */
  async #reachable(): Promise<void> {
    const own = addressToNumber(this.#sources[6]);
    for (let waited = 0; waited < ROUTE_TIMEOUT; waited += ROUTE_INTERVAL) {
      const local = withSocket((socket) => listRoutes(socket, 6, RT_TABLE_LOCAL));
      if (local.some(({ destination }) => destination.length === 128 && destination.address === own)) return;
      // eslint-disable-next-line no-await-in-loop -- nothing tells when it is there
      await new Promise((resolve) => setTimeout(resolve, ROUTE_INTERVAL));
    }
    throw new HostChangeError({
      problem: `The kernel made no route to ${this.#sources[6]} within ${ROUTE_TIMEOUT / 1000} seconds.`,
      remedy: `Look at \`ip -6 address show dev ${this.name}\`, and start again.`,
    });
  }

  #refuseTakenAddresses(): void {
    const ours = this.#families.map((family) => this.#sources[family]);
    const taken = withSocket((socket) => listAddresses(socket)).find(({ address }) => ours.includes(address));
    if (!taken) return;
    throw new HostChangeError({
      problem: `The address ${taken.address}, from which captured flows are to come, is in use on this host.`,
      remedy: `Set interceptors.ebpf-sklookup.source-ipv${taken.family} to an address that nobody uses.`,
    });
  }
}
