/** Devices whose packets a process reads and writes. linux/if_tun.h, Documentation/networking/tuntap.rst. */
import { HostChangeError, UnsupportedError } from '../api/errors.ts';
import { O_CLOEXEC, O_RDWR } from './constants.ts';
import { EACCES, EBUSY, ENODEV, ENOENT, EPERM, errnoName } from './errno.ts';
import { errno } from './library.ts';
import * as libc from './libc.ts';

const PATH = '/dev/net/tun';

export const TUNSETIFF = 0x400454ca;
export const TUNSETPERSIST = 0x400454cb;
export const TUNGETFEATURES = 0x800454cf;
export const TUNSETOFFLOAD = 0x400454d0;
export const IFF_TUN = 0x0001;
export const IFF_NO_PI = 0x1000;
export const IFF_VNET_HDR = 0x4000;
export const IFF_TUN_EXCL = 0x8000;
/** Checksums that are left to the reader, and segments of TCP that are not cut. */
export const TUN_F_CSUM = 0x01;
export const TUN_F_TSO4 = 0x02;
export const TUN_F_TSO6 = 0x04;

/** struct ifreq: name, 16 bytes · flags u16. */
const IFREQ_LENGTH = 40;

const REMEDIES = new Map([
  [ENOENT, `Make it (mkdir -p /dev/net; mknod ${PATH} c 10 200), or give the container the device.`],
  [ENODEV, 'Load the module (modprobe tun), or use a kernel with CONFIG_TUN.'],
  [EACCES, `Run Weir as root, or allow its user to open it (chmod 0666 ${PATH}).`],
  [EPERM, `Allow the container the device ${PATH}.`],
]);

/** Opens /dev/net/tun; the caller closes it. @throws UnsupportedError saying what to do. */
export function openTun(flags = 0): number {
  const fd = libc.open(PATH, O_RDWR | O_CLOEXEC | flags, 0);
  if (fd >= 0) return fd;
  const number = errno();
  throw new UnsupportedError({
    problem: `${PATH} cannot be opened: ${errnoName(number)}.`,
    remedy: REMEDIES.get(number) ?? 'Load the module (modprobe tun).',
  });
}

/** The flags that this kernel knows for TUNSETIFF. */
export function tunFeatures(fd: number): number {
  const answer = Uint32Array.of(0);
  return libc.ioctl(fd, TUNGETFEATURES, answer) < 0 ? 0 : (answer[0] as number);
}

/**
 * Makes a device without packet information in front of packets; it lives as long as the descriptor is open.
 * @param flags beside IFF_TUN and IFF_NO_PI; IFF_TUN_EXCL: not when there is one of that name.
 * @param openFlags for open(2), e.g. O_NONBLOCK.
 * @returns the descriptor, which the caller closes.
 * @throws UnsupportedError, HostChangeError; nothing is left then.
 */
export function attachTun(name: string, flags: number, openFlags = 0): number {
  const fd = openTun(openFlags);
  const request = Buffer.alloc(IFREQ_LENGTH);
  request.write(name, 0, 'latin1');
  request.writeUInt16LE(IFF_TUN | IFF_NO_PI | flags, 16);
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
