/**
 * systemd-resolved(8), asked through resolvectl(1). Weir becomes the server of a network device of its own, for all names
 * (`~.`): nothing of resolved's own configuration changes, and with the device everything of it goes away. The device is a
 * tun that lives as long as the descriptor, so that also a killed process leaves nothing.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { WeirError } from '../api/errors.ts';
import type { Endpoint } from '../api/flow.ts';
import type { HostChange } from '../api/host.ts';
import * as libc from '../sys/libc.ts';
import {
  findLink,
  siteAddressAddition,
  linkUp,
  linkWithoutOwnAddresses,
  NETLINK_ROUTE,
  NetlinkSocket,
} from '../sys/netlink/index.ts';
import { attachTun } from '../sys/tun.ts';
import { formatEndpoint } from './listen-failure.ts';

/** Where resolved writes the servers that it asks itself. */
export const RESOLVED_UPLINKS = '/run/systemd/resolve/resolv.conf';

/** On the device, because resolved asks nobody through one without an address wider than the link. Nobody is there. */
const DEVICE_ADDRESS = '169.254.84.53';
/** linux/if_tun.h: fail when there is a device of that name. */
const IFF_TUN_EXCL = 0x8000;
/** Milliseconds for one call of resolvectl. */
const CALL = 5000;
/** Domains at most that are named one by one. */
const DOMAINS = 128;
/** How often the device is offered to resolved, which learns of it from the kernel a moment later; 50 ms apart. */
const ATTEMPTS = 40;

export interface ResolvedClaim {
  readonly owner: string;
  /** A listener of Weir's. */
  readonly server: Endpoint;
  /** Names below which Weir is asked, whatever another device says about all names. */
  readonly domains: readonly string[];
}

/** At most 15 characters, and another one for each owner. */
export function resolvedDevice(owner: string): string {
  return `weirdns-${createHash('sha256').update(owner).digest('hex').slice(0, 6)}`;
}

export function resolvedChangeId(owner: string): string {
  return `server of systemd-resolved on ${resolvedDevice(owner)}`;
}

interface Called {
  readonly failed: boolean;
  readonly text: string;
}

function resolvectl(args: readonly string[]): Promise<Called> {
  return new Promise((resolve) => {
    execFile(
      'resolvectl',
      [...args],
      { timeout: CALL, env: { ...process.env, LC_ALL: 'C' } },
      (error, stdout, stderr) => {
        const missing = error?.code === 'ENOENT' ? 'resolvectl is not installed' : error?.message;
        resolve({ failed: error !== null, text: (stderr || stdout || (missing ?? '')).trim() });
      },
    );
  });
}

/** Why resolved cannot be used, or undefined. Asks it, so that it is started where it is started on demand. */
export async function findResolvedObstacle(): Promise<string | undefined> {
  const { failed, text } = await resolvectl(['--no-pager', 'dns']);
  return failed ? `systemd-resolved does not answer (${text.split('\n')[0] || 'resolvectl failed'})` : undefined;
}

/** Has it forget all answers. Where it does not answer there is nothing to forget. */
export async function flushResolved(): Promise<void> {
  await resolvectl(['flush-caches']);
}

/** How the host's programs get to resolved; undefined when they do not. Looks at files only. */
export function waysToResolved(resolvConfPath: string, nsswitchPath = '/etc/nsswitch.conf'): string | undefined {
  const read = (path: string): string => {
    try {
      return readFileSync(path, 'latin1');
    } catch {
      return '';
    }
  };
  const hosts = /^\s*hosts:\s*(.*)$/m.exec(read(nsswitchPath))?.[1] ?? '';
  const sources = hosts.replaceAll(/\[[^\]]*\]/g, ' ').split(/\s+/);
  const resolve = sources.indexOf('resolve');
  const dns = sources.indexOf('dns');
  if (resolve >= 0 && (dns < 0 || resolve < dns)) return '/etc/nsswitch.conf asks systemd-resolved before DNS';
  let link = '';
  try {
    link = readlinkSync(resolvConfPath);
  } catch {
    // No link.
  }
  if (/systemd\/resolve\/(?:stub-)?resolv\.conf$/.test(link)) return `${resolvConfPath} is kept by systemd-resolved`;
  const stub = /^\s*nameserver\s+(127\.0\.0\.5[34])\s*$/m.exec(read(resolvConfPath))?.[1];
  return stub === undefined ? undefined : `${resolvConfPath} names ${stub}, which is systemd-resolved`;
}

function failure(what: string, text: string, cause?: unknown): WeirError {
  return new WeirError('WEIR_RESOLVED', {
    problem: `systemd-resolved could not be pointed at Weir: ${what}: ${text}.`,
    remedy: 'Look at `resolvectl status` and the log of systemd-resolved, or set resolver.reach: none.',
    ...(cause === undefined ? {} : { cause }),
  });
}

async function call(...args: readonly string[]): Promise<void> {
  const { failed, text } = await resolvectl(args);
  if (failed) throw failure(`resolvectl ${args.join(' ')}`, text);
}

/** `~.` for all names, and each of these, so that a device that claims all names too (a VPN) does not answer for them. */
function routingDomains(domains: readonly string[]): readonly string[] {
  return [
    '~.',
    ...[...new Set(domains)]
      .toSorted()
      .slice(0, DOMAINS)
      .map((domain) => `~${domain}`),
  ];
}

export class ResolvedLink {
  readonly #owner: string;
  readonly #device: string;
  #fd = -1;

  constructor(owner: string) {
    this.#owner = owner;
    this.#device = resolvedDevice(owner);
  }

  /** The change of the host that makes Weir the server. Nothing has to be undone by others when Weir is killed. */
  change(claim: ResolvedClaim): HostChange {
    return {
      id: resolvedChangeId(this.#owner),
      describe: `make ${formatEndpoint(claim.server)} the server of systemd-resolved, on the device ${this.#device}`,
      do: () => this.#claim(claim),
      undo: () => this.#release(),
    };
  }

  /** Takes other domains. @throws WeirError WEIR_RESOLVED. */
  async update(domains: readonly string[]): Promise<void> {
    if (this.#fd >= 0) await call('domain', this.#device, ...routingDomains(domains));
  }

  async #claim({ server, domains }: ResolvedClaim): Promise<void> {
    try {
      this.#fd = attachTun(this.#device, IFF_TUN_EXCL);
      this.#switchOn();
      await this.#offer(server);
      await call('domain', this.#device, ...routingDomains(domains));
      await call('default-route', this.#device, 'yes');
      // Weir's zone is not signed, and none of these has a meaning there.
      for (const off of ['dnssec', 'dnsovertls', 'llmnr', 'mdns']) await call(off, this.#device, 'no');
      await call('flush-caches');
    } catch (error) {
      await this.#release();
      throw error;
    }
  }

  #switchOn(): void {
    using netlink = new NetlinkSocket(NETLINK_ROUTE);
    const link = findLink(netlink, this.#device);
    if (link === undefined) throw failure(`the device ${this.#device}`, 'it is gone');
    const requests = [
      linkWithoutOwnAddresses(link.index),
      siteAddressAddition(link.index, DEVICE_ADDRESS),
      linkUp(link.index),
    ];
    const [, address, up] = netlink.settle(requests);
    // The first only keeps IPv6 quiet, where there is any.
    const refused = address ?? up;
    if (refused !== undefined) throw refused;
  }

  async #offer(server: Endpoint): Promise<void> {
    const text = formatEndpoint(server);
    let last = '';
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const { failed, text: said } = await resolvectl(['dns', this.#device, text]);
      if (!failed) return;
      last = said;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw failure(`resolvectl dns ${this.#device} ${text}`, last);
  }

  async #release(): Promise<void> {
    if (this.#fd < 0) return;
    libc.close(this.#fd);
    this.#fd = -1;
    // The answers of the device go with it; the ones it may have left elsewhere do so now.
    await flushResolved();
  }
}
