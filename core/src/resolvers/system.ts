/** The servers that the host itself asks: the nameservers of resolv.conf, also while Weir stands in their place. */
import { readFileSync, statSync } from 'node:fs';
import type { DnsListen } from '../config/model.ts';
import type { ResolvedReach } from '../dns/reach.ts';
import { RESOLVED_UPLINKS } from '../dns/resolved.ts';
import { authorOf, parseResolvConf } from '../dns/resolv-conf.ts';
import { backupPath, RESOLV_CONF, type ResolvConfPlace } from '../dns/resolv-conf-claim.ts';
import type { UpstreamServer } from '../dns/upstreams.ts';

/** What libc asks when the file is missing or names no server (resolv.conf(5)). */
const DEFAULT_NAMESERVER = '127.0.0.1';

export class SystemServers {
  readonly #place: ResolvConfPlace;
  readonly #path: string;
  /** How the host's queries get to Weir. */
  #reach: ResolvedReach = { kind: 'none', reason: '' };
  /** Addresses of Weir's listeners where it is among the servers. */
  #own: readonly string[] = [];
  #seen: string | undefined;
  #servers: readonly UpstreamServer[] = [];

  constructor(place: ResolvConfPlace) {
    this.#place = place;
    this.#path = place.path ?? RESOLV_CONF;
  }

  /** The host's queries get to Weir in this way, or are about to. */
  claimed(reach: ResolvedReach, listening: readonly DnsListen[]): void {
    this.#reach = reach;
    // Of Weir resolved knows the address only: one that is Weir's is left out, whatever the port.
    this.#own = reach.kind === 'systemd-resolved' ? listening.map(({ endpoint }) => endpoint.address) : [];
    this.#seen = undefined;
  }

  /** The servers now; the file is read again when it has changed. */
  current(): readonly UpstreamServer[] {
    const seen = this.#stamp();
    if (seen === this.#seen) return this.#servers;
    this.#seen = seen;
    const { nameservers } = parseResolvConf(this.#read());
    const others = nameservers.filter((address) => !this.#own.includes(address));
    const known = this.#reach.kind === 'capture' ? withoutStubs(others) : others;
    const addresses = known.length > 0 || this.#own.length > 0 ? known : [DEFAULT_NAMESERVER];
    this.#servers = addresses.map((address) => ({ protocol: 'udp', endpoint: { address, port: 53 } }));
    return this.#servers;
  }

  /** While systemd-resolved stands in between, to ask it would be to ask in a circle: its own servers are asked. */
  get #source(): string {
    const { kind } = this.#reach;
    const behind = kind === 'systemd-resolved' || (this.#reach.kind === 'capture' && this.#reach.viaResolved);
    return behind ? RESOLVED_UPLINKS : this.#path;
  }

  #stamp(): string {
    const stat = statSync(this.#source, { throwIfNoEntry: false });
    return stat === undefined ? '' : `${this.#source} ${stat.ino} ${stat.size} ${stat.mtimeMs} ${stat.ctimeMs}`;
  }

  #read(): string {
    try {
      const text = readFileSync(this.#source, 'latin1');
      const author = authorOf(text);
      if (author?.owner !== this.#place.owner || !author.untouched) return text;
      return readFileSync(backupPath(this.#place.stateDirectory), 'latin1');
    } catch {
      return '';
    }
  }
}

/**
 * A resolver of this host that stands beside others most likely asks them, and what it asks is captured as well: Weir would
 * ask itself through it.
 */
function withoutStubs(addresses: readonly string[]): readonly string[] {
  const others = addresses.filter((address) => !address.startsWith('127.') && address !== '::1');
  return others.length > 0 ? others : addresses;
}
