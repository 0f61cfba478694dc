/** Kernel parameters under /proc/sys; those under `net.` are those of the calling thread's network namespace. */
import { readFileSync } from 'node:fs';

/** `net.ipv4.ip_forward` for people, `net/ipv4/ip_forward` where a part holds a dot (`net/ipv4/conf/eth0.7/rp_filter`). */
export function sysctlPath(name: string): string {
  return `/proc/sys/${name.includes('/') ? name : name.replaceAll('.', '/')}`;
}

/** The value without the line end, or `undefined` when this kernel or this user cannot read it. */
export function readSysctl(name: string): string | undefined {
  try {
    return readFileSync(sysctlPath(name), 'utf8').trim();
  } catch {
    return undefined;
  }
}
