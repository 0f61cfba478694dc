/** The servers that the host itself asks: the nameservers of resolv.conf, also while Weir stands in their place. */
import { readFileSync, statSync } from 'node:fs';
import type { DnsListen } from '../config/model.ts';
import { RESOLVED_UPLINKS } from '../dns/resolved.ts';
import { authorOf, parseResolvConf } from '../dns/resolv-conf.ts';
import { backupPath, RESOLV_CONF, type ResolvConfPlace } from '../dns/resolv-conf-claim.ts';
import type { UpstreamServer } from '../dns/upstreams.ts';

/** What libc asks when the file is missing or names no server (resolv.conf(5)). */
const DEFAULT_NAMESERVER = '127.0.0.1';

export class SystemServers {
  readonly #place: ResolvConfPlace;
  readonly #path: string;
  /**
   * Weir's listeners while systemd-resolved asks Weir: to ask it would be to ask in a circle, so that the servers are those
   * that it would ask itself.
   */
  behindResolved: readonly DnsListen[] | undefined;
  #seen: string | undefined;
  #servers: readonly UpstreamServer[] = [];

  constructor(place: ResolvConfPlace) {
    this.#place = place;
    this.#path = place.path ?? RESOLV_CONF;
  }

  /** The servers now; the file is read again when it has changed. */
  current(): readonly UpstreamServer[] {
    const seen = this.#stamp();
    if (seen === this.#seen) return this.#servers;
    this.#seen = seen;
    const { nameservers } = parseResolvConf(this.#read());
    // Of Weir it knows the address only: one that is Weir's is left out, whatever the port.
    const own = this.behindResolved?.map(({ endpoint }) => endpoint.address) ?? [];
    const known = nameservers.filter((address) => !own.includes(address));
    const addresses = known.length > 0 || own.length > 0 ? known : [DEFAULT_NAMESERVER];
    this.#servers = addresses.map((address) => ({ protocol: 'udp', endpoint: { address, port: 53 } }));
    return this.#servers;
  }

  get #source(): string {
    return this.behindResolved === undefined ? this.#path : RESOLVED_UPLINKS;
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
